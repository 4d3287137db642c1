namespace Vcmm.Spec;

/// <summary>I14: where a device sees something before a step and after it, in one association, that leads to the same place.</summary>
internal static class BreakBeforeMake
{
    public static string? OfStep(WorldStep step)
    {
        (World before, Operation operation, Observation seen, World after) = step;
        // What a hook does are steps of their own.
        if (ReferenceEquals(before.Reservations, after.Reservations) || !seen.Acts.IsEmpty) return null;
        foreach ((ObjectId id, VcmState vcm) in before.Vcms)
        {
            if (vcm.IsFreed) continue;
            foreach (Mapping mapping in before.MappingsOf(id))
            {
                for (ulong address = mapping.Range.First; ; address += World.PageBytes)
                {
                    if (after.MeaningOf(id, address) is { } now && now.Target != mapping.At(address).Target)
                        return $"{operation}: 0x{address:x} of {id} meant {mapping.At(address)} and means {now}, and was not unbacked between";
                    if (mapping.Range.Last - address < World.PageBytes) break;
                }
            }
        }

        return null;
    }
}

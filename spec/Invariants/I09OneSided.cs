namespace Vcmm.Spec;

/// <summary>I9: what costs the CPU nothing changes nothing that a process sees.</summary>
internal static class OneSided
{
    public static string? OfStep(WorldStep step)
    {
        (World before, Operation operation, _, World after) = step;
        if (before.Cpu.ProcessCount == 0 || ReferenceEquals(before.Reservations, after.Reservations) || before.MayCostCpu(operation)) return null;
        foreach (ObjectId process in before.Processes)
        {
            if (before.ActiveVcmOf(process) is not { } vcm) continue;
            if (!before.MappingsOf(vcm).SequenceEqual(after.MappingsOf(vcm))) return $"{operation} may cost the CPU nothing and has changed what {process} sees";
        }

        return null;
    }
}

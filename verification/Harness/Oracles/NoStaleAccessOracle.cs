using Harness.Running;
using IommuSim;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I4: what the IOTLB holds is what the model maps now, or what waits for a flush. Only where the IOTLB can be looked into; elsewhere devices find out.</summary>
public sealed class NoStaleAccessOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        if (look.Subject.Insides is not { } insides) yield break;
        foreach (IotlbEntry entry in insides.Iotlb)
        {
            if (entry.Fault != VtdFaultReason.None)
            {
                if (CheckAbsent(look, entry) is { } stale) yield return stale;
                continue;
            }

            look.Counts.Check(Invariant.NoStaleAccess);
            string observed = $"the IOTLB holds {entry.Range} -> {entry.Address} under {entry.Domain}";
            if (!look.Domains.TryGetValue(entry.Domain, out DomainUse? use))
            {
                yield return new(Invariant.Isolation, observed, "nothing is held for a domain without devices");
                continue;
            }

            ObjectId vcm = use.Vcm;
            if (entry.Pasid is { } pasid && !use.Pasids.Contains(pasid.Value)) yield return new(Invariant.Isolation, $"{observed} and {pasid}", $"nothing is held for a PASID that no device has in {vcm}");
            if (use.Nested is { } nested)
            {
                if (!NestedEntries.IsLawful(look, nested, entry.Range, entry.Address, entry.Read, entry.Write)) yield return new(Invariant.NoStaleAccess, observed, $"{nested.Guest}'s table and that of {vcm} give {NestedEntries.Text(look, nested, entry.Range)}");
                continue;
            }

            bool isFirstStage = entry.Stage == TranslationStage.FirstStage;
            var cached = new Mapping(
                new(entry.Range.First.Value, entry.Range.Last.Value),
                new(entry.Address.Value, entry.Read, entry.Write, entry.Execute && isFirstStage, !entry.User));
            if (FirstStale(look, vcm, cached) is { } address)
                yield return new(Invariant.NoStaleAccess, observed, $"0x{address:x} of {vcm} means {look.World.MeaningOf(vcm, address)?.ToString() ?? "nothing"}");
        }
    }

    /// <summary>The first address of what is cached that neither means that nor waits for a flush; null: there is none.</summary>
    internal static ulong? FirstStale(Look look, ObjectId vcm, Mapping cached)
    {
        ulong? address = FirstStale(look.MappingsOf(vcm), cached);
        if (address is null || look.World.Quarantine.IsEmpty) return address;
        List<Mapping> waiting = [.. look.World.StaleOf(vcm)];
        while (address is { } at)
        {
            int index = waiting.FindIndex(mapping => mapping.Range.Contains(at) && IsSame(mapping.At(at), cached.At(at)));
            if (index < 0) return at;
            if (waiting[index].Range.Last >= cached.Range.Last) return null;
            ulong next = waiting[index].Range.Last + 1;
            address = FirstStale(look.MappingsOf(vcm), new(new(next, cached.Range.Last), cached.At(next)));
        }

        return null;
    }

    /// <summary>The first address of what is cached that does not mean that; null: all of it does.</summary>
    private static ulong? FirstStale(IReadOnlyList<Mapping> mappings, Mapping cached)
    {
        ulong address = cached.Range.First;
        foreach (Mapping mapping in mappings)
        {
            if (mapping.Range.Last < address) continue;
            if (!mapping.Range.Contains(address) || !IsSame(mapping.At(address), cached.At(address))) return address;
            if (mapping.Range.Last >= cached.Range.Last) return null;
            address = mapping.Range.Last + 1;
        }

        return address;
    }

    /// <summary>Whether the two lead to the same place with the same rights. How caches are used the IOTLB does not tell.</summary>
    private static bool IsSame(Translation one, Translation other) => one with { Cache = default } == other with { Cache = default };

    /// <summary>In caching mode: that an address is absent is not held once it is mapped.</summary>
    private static Violation? CheckAbsent(Look look, IotlbEntry entry)
    {
        // A back that the hardware would neither confirm nor let be undone stands, and may be found absent a while longer.
        if (look.HardwareHasFailed || !look.Domains.TryGetValue(entry.Domain, out DomainUse? use) || use.Nested is not null) return null;
        look.Counts.Check(Invariant.TablesAreTruth);
        Translation? meaning = look.World.MeaningOf(use.Vcm, entry.Range.First.Value);
        return meaning is { Read: true, Write: true, SupervisorOnly: false }
            ? new(Invariant.TablesAreTruth, $"the IOTLB holds that {entry.Range} gives {entry.Fault} under {entry.Domain}", $"it means {meaning}")
            : null;
    }
}

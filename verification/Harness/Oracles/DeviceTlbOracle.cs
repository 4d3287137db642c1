using Harness.Running;
using IommuSim;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>
/// I4, I8: what the TLB of a device holds is what the model maps now in the address space that it is for, or what waits for a flush; for
/// an address space that has ended it holds nothing.
/// </summary>
public sealed class DeviceTlbOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        for (int number = 0; number < look.World.Devices.Length; number++)
        {
            ObjectId device = look.World.Devices[number];
            foreach (DeviceTlbEntry entry in look.Subject.TlbOf(number))
            {
                look.Counts.Check(Invariant.NoStaleAccess);
                string observed = $"the TLB of {device} holds {entry.Range} -> {entry.Address}{(entry.Pasid is { } pasid ? $" for {pasid}" : "")}";
                if (look.World.ActiveAssociationOf(device, entry.Pasid?.Value) is not { } association)
                    yield return new(Invariant.Isolation, observed, "nothing is held for an address space that has ended");
                else if (association.Guest is not null)
                {
                    if (!NestedEntries.IsLawful(look, association, entry.Range, entry.Address, entry.Read, entry.Write)) yield return new(Invariant.NoStaleAccess, observed, $"{association.Guest}'s table and that of {association.Vcm} give {NestedEntries.Text(look, association, entry.Range)}");
                }
                else if (association.Vcm is var vcm && FirstStale(look, vcm, entry) is { } address)
                    yield return new(Invariant.NoStaleAccess, observed, $"0x{address:x} of {vcm} means {look.World.MeaningOf(vcm, address)?.ToString() ?? "nothing"}");
            }
        }
    }

    /// <summary>The first address of the entry that gives the device more than it has, or had and waits for a flush; null: there is none.</summary>
    private static ulong? FirstStale(Look look, ObjectId vcm, in DeviceTlbEntry entry)
    {
        ulong address = entry.Range.First.Value;
        while (true)
        {
            if (LastLawful(look, vcm, entry, address) is not { } last) return address;
            if (last >= entry.Range.Last.Value) return null;
            address = last + 1;
        }
    }

    /// <summary>How far, from an address on, one mapping permits what the entry says; null: not there.</summary>
    private static ulong? LastLawful(Look look, ObjectId vcm, DeviceTlbEntry entry, ulong address)
    {
        foreach (Mapping mapping in look.MappingsOf(vcm).Concat(look.World.StaleOf(vcm)))
        {
            if (!mapping.Range.Contains(address)) continue;
            Translation permitted = mapping.At(address);
            bool isLawful = permitted.Target == entry.Address.Value + (address - entry.Range.First.Value) && (permitted.Read || !entry.Read) && (permitted.Write || !entry.Write);
            if (isLawful) return mapping.Range.Last;
        }

        return null;
    }
}

using Harness.Running;
using IommuSim;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>
/// I5: what the walk caches and the PASID cache point at is a table of the region whose domain it is. That nothing which is freed can be reached is
/// checked at each free, by <see cref="WatchedFrames"/>.
/// </summary>
public sealed class FrameSafetyOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        if (look.Subject.Insides is not { } insides) yield break;
        foreach (WalkCacheEntry entry in insides.WalkCache)
        {
            if (entry.Fault != VtdFaultReason.None) continue;
            look.Counts.Check(Invariant.FrameSafety);
            string observed = $"the walk cache points at {entry.Table} for {entry.Range} under {entry.Domain}";
            if (!look.Domains.TryGetValue(entry.Domain, out DomainUse? use)) yield return new(Invariant.FrameSafety, observed, "nothing is held for a domain without devices");
            else if (look.Subject.QuarantinedTables.Pages.Contains(entry.Table)) continue;
            // Tables of guests are pages of the region.
            else if (use.Nested is not null && look.MappingsOf(use.Vcm).Concat(look.World.StaleOf(use.Vcm)).Any(mapping => entry.Table.Value >= mapping.Translation.Target && entry.Table.Value - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First)) continue;
            else if (look.TableBelow(use.Root)?.Pages.Contains(entry.Table) != true) yield return new(Invariant.FrameSafety, observed, $"one of the tables of {use.Vcm}");
        }

        foreach (PasidCacheEntry entry in insides.PasidCache)
        {
            look.Counts.Check(Invariant.FrameSafety);
            string observed = $"the PASID cache leads {entry.Source} with {entry.Pasid} to {entry.Root} under {entry.Domain}";
            if (!look.Domains.TryGetValue(entry.Domain, out DomainUse? use))
            {
                yield return new(Invariant.Isolation, observed, "nothing is held for a domain without devices");
                continue;
            }

            if (!use.Pasids.Contains(entry.Pasid.Value)) yield return new(Invariant.Isolation, observed, $"nothing is held for a PASID that no device has in {use.Vcm}");
            if (use.Root != entry.Root) yield return new(Invariant.FrameSafety, observed, $"the table of {use.Vcm} is at {use.Root}");
        }
    }
}

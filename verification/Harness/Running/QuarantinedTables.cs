using Harness.Oracles;
using Platform;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>The table pages that unbacks in deferred regions have unlinked and that wait for a flush: walk caches may still lead to them.</summary>
/// <remarks>The model knows no tables, so they are seen: what was in a region's table before an unback that waits, and is not after it.</remarks>
public sealed class QuarantinedTables
{
    private readonly Dictionary<ObjectId, IReadOnlyList<PhysAddr>> _former = [];
    private readonly HashSet<PhysAddr> _pages = [];

    /// <summary>The pages.</summary>
    public IReadOnlySet<PhysAddr> Pages => _pages;

    /// <summary>An operation was done.</summary>
    /// <param name="before">The model before it.</param>
    /// <param name="look">The machine after it.</param>
    public void Note(World before, Look look)
    {
        World after = look.World;
        // A flush takes all that waited, the oldest among them.
        if (!before.Quarantine.IsEmpty && (after.Quarantine.IsEmpty || after.Quarantine[0].Number != before.Quarantine[0].Number)) _pages.Clear();
        Quarantined? added = after.Quarantine.IsEmpty || (!before.Quarantine.IsEmpty && before.Quarantine[^1].Number == after.Quarantine[^1].Number) ? null : after.Quarantine[^1];
        foreach ((ObjectId vcm, VcmState state) in after.Vcms)
        {
            if (!state.IsDeferred) continue;
            IReadOnlyList<PhysAddr> now = [.. after.TablesOf(vcm).SelectMany(kind => look.TableOf(vcm, kind)?.Pages ?? [])];
            if (added is not null && after.Reservations[added.Reservation].Vcm == vcm) _pages.UnionWith(_former.GetValueOrDefault(vcm, []).Except(now));
            _former[vcm] = now;
        }
    }
}

using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Invalidation: who must forget what, and what may be freed after it.
public sealed partial class Vcm
{
    private const int MostOnStack = 64;

    private VcmmError UnmapFromAll(IovaRange range, IPageTable[] tables, InvalidationGather gather)
    {
        foreach (IPageTable table in tables) table.Unmap(range, gather);
        return Finish(tables, gather);
    }

    /// <summary>Invalidates, waits, and only then frees what was unlinked; puts it back if the hardware fails.</summary>
    private VcmmError Finish(IPageTable[] tables, InvalidationGather gather)
    {
        // The entries were written, and fenced, before this is read. A domain that is not in it yet becomes reachable for
        // the hardware only after that: see Activate.
        VcmmError error = gather.Ranges.IsEmpty
            ? VcmmError.None
            : Invalidate(Volatile.Read(ref _activeDomains), gather.Ranges, gather.LeavesOnly, absentOnly: false);
        foreach (IPageTable table in tables)
        {
            if (error == VcmmError.None) table.Release(gather);
            else table.Relink(gather);
        }

        gather.Clear();
        return error;
    }

    /// <summary>Makes those forget who may have cached that the range was absent.</summary>
    private VcmmError InvalidateAbsent(IovaRange range) =>
        Invalidate(Volatile.Read(ref _activeDomains), [range], leavesOnly: false, absentOnly: true);

    /// <summary>One call, and so one wait, for each IOMMU: its domains stand side by side.</summary>
    private static VcmmError Invalidate(ActiveDomain[] domains, ReadOnlySpan<IovaRange> ranges, bool leavesOnly, bool absentOnly)
    {
        int most = domains.Length * ranges.Length;
        Span<Invalidation> commands = most <= MostOnStack ? stackalloc Invalidation[MostOnStack] : new Invalidation[most];
        VcmmError error = VcmmError.None;
        for (int first = 0, next; first < domains.Length; first = next)
        {
            IIommu iommu = domains[first].Iommu;
            int count = 0;
            for (next = first; next < domains.Length && domains[next].Iommu == iommu; next++)
            {
                foreach (IovaRange range in ranges) commands[count++] = new(domains[next].Id, range, leavesOnly);
            }

            if (absentOnly && !iommu.CachesAbsent) continue;
            VcmmError failed = iommu.Invalidate(commands[..count]);
            if (failed != VcmmError.None) error = failed;
        }

        return error;
    }
}

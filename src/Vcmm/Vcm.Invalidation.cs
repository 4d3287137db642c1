using System.Runtime.ExceptionServices;
using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Invalidation: who must forget what, and what may be freed after it.
public sealed partial class Vcm
{
    private const int MostOnStack = 64;

    private VcmmError UnmapFromAll(IovaRange range, IPageTable[] tables, InvalidationGather gather)
    {
        try
        {
            foreach (IPageTable table in tables) table.Unmap(range, gather);
        }
        catch
        {
            Relink(tables, gather);
            throw;
        }

        return Finish(tables, gather);
    }

    /// <summary>Invalidates, waits, and only then frees what was unlinked; puts it back if the hardware fails.</summary>
    private VcmmError Finish(IPageTable[] tables, InvalidationGather gather)
    {
        // The entries were written, and fenced, before this is read. A domain that is not in it yet becomes reachable for
        // the hardware only after that: see Activate.
        VcmmError error = VcmmError.HardwareFailure;
        try
        {
            error = gather.Ranges.IsEmpty
                ? VcmmError.None
                : Invalidate(Volatile.Read(ref _activeDomains), gather.Ranges, gather.LeavesOnly, absentOnly: false);
        }
        finally
        {
            // Also where a port throws.
            if (error != VcmmError.None) Relink(tables, gather);
        }

        if (error == VcmmError.None) Release(tables, gather);
        return error;
    }

    private static void Release(IPageTable[] tables, InvalidationGather gather)
    {
        try
        {
            foreach (IPageTable table in tables) table.Release(gather);
        }
        finally
        {
            gather.Clear();
        }
    }

    private static void Relink(IPageTable[] tables, InvalidationGather gather)
    {
        try
        {
            foreach (IPageTable table in tables) table.Relink(gather);
        }
        finally
        {
            gather.Clear();
        }
    }

    /// <summary>Makes those forget who may have cached that the range was absent.</summary>
    private VcmmError InvalidateAbsent(IovaRange range) =>
        Invalidate(Volatile.Read(ref _activeDomains), [range], leavesOnly: false, absentOnly: true);

    /// <summary>
    /// One call, and so one wait, for each IOMMU: its domains stand side by side. All are told, whichever fails; what the first that
    /// throws has thrown comes out after that.
    /// </summary>
    private static VcmmError Invalidate(ActiveDomain[] domains, ReadOnlySpan<IovaRange> ranges, bool leavesOnly, bool absentOnly)
    {
        int most = domains.Length * ranges.Length;
        Span<Invalidation> commands = most <= MostOnStack ? stackalloc Invalidation[MostOnStack] : new Invalidation[most];
        VcmmError error = VcmmError.None;
        ExceptionDispatchInfo? thrown = null;
        for (int first = 0, next; first < domains.Length; first = next)
        {
            IIommu iommu = domains[first].Iommu;
            int count = 0;
            for (next = first; next < domains.Length && domains[next].Iommu == iommu; next++)
            {
                foreach (IovaRange range in ranges) commands[count++] = new(domains[next].Id, range, leavesOnly);
            }

            if (absentOnly && !iommu.CachesAbsent) continue;
            try
            {
                VcmmError failed = iommu.Invalidate(commands[..count]);
                if (failed != VcmmError.None) error = failed;
            }
            catch (Exception exception)
            {
                thrown ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        thrown?.Throw();
        return error;
    }
}

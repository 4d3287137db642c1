using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>The invalidation comes before the entries are cleared, so that a walk in between caches them again.</summary>
internal sealed class InvalidateFirst(IIommu inner) : FaultyIommu(inner)
{
    private readonly List<ClearLate> _tables = [];

    public override VcmmError TryCreateTable(IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(frames, out IPageTable? right);
        table = null;
        if (error != VcmmError.None) return error;
        var late = new ClearLate(right!);
        _tables.Add(late);
        table = late;
        return VcmmError.None;
    }

    public override VcmmError Invalidate(DomainId domain, IovaRange range, bool leavesOnly)
    {
        VcmmError error = Inner.Invalidate(domain, range, leavesOnly);
        foreach (ClearLate table in _tables) table.ClearNow(range);
        return error;
    }

    /// <summary>Puts off each unmap until it is told. Good for ranges that unlink no table.</summary>
    private sealed class ClearLate(IPageTable right) : IPageTable
    {
        private readonly List<IovaRange> _putOff = [];

        public TableFormat Format => right.Format;

        public PhysAddr Root => right.Root;

        public Iova LastAddress => right.LastAddress;

        public int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments) => right.CountMissingTables(first, segments);

        public void Map(Iova first, ReadOnlySpan<PhysRange> segments, Access access, TablePagePool pages) =>
            right.Map(first, segments, access, pages);

        public void Unmap(IovaRange range, UnmapGather gather)
        {
            lock (_putOff) _putOff.Add(range);
        }

        public void ClearNow(IovaRange range)
        {
            lock (_putOff)
            {
                if (!_putOff.Remove(range)) return;
            }

            right.Unmap(range, new UnmapGather());
        }

        public void Relink(UnmapGather gather) => right.Relink(gather);

        public void Release(UnmapGather gather)
        {
            // No domain was active, so nobody invalidated.
            IovaRange[] left;
            lock (_putOff)
            {
                left = [.. _putOff];
                _putOff.Clear();
            }

            foreach (IovaRange range in left) right.Unmap(range, new UnmapGather());
            right.Release(gather);
        }

        public bool TryWalk(Iova address, out Translation translation) => right.TryWalk(address, out translation);

        public IEnumerable<Leaf> Leaves() => right.Leaves();

        public IEnumerable<PhysAddr> TablePages() => right.TablePages();

        public void Free() => right.Free();
    }
}

using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Harness.Running;

/// <summary>
/// An IOMMU whose tables tell of what changes in them, as a kernel tells those that walk a process's tables: after the entries were
/// changed, and before the memory behind them and the tables are given to others.
/// </summary>
/// <param name="inner">What does the work.</param>
/// <param name="changed">Given the root of a table and addresses that no longer mean what they did.</param>
public sealed class NotifyingIommu(IIommu inner, Action<PhysAddr, IovaRange> changed) : PassingIommu(inner)
{
    /// <inheritdoc/>
    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out table);
        if (table is not null) table = new Table(table, changed, Inner.CachesAbsent);
        return error;
    }

    private sealed class Table(IPageTable inner, Action<PhysAddr, IovaRange> changed, bool cachesAbsent) : PassingTable(inner)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
        {
            Inner.Map(first, segments, attributes, pages);
            if (!cachesAbsent) return;
            ulong byteCount = 0;
            foreach (PhysRange segment in segments) byteCount += segment.ByteCount;
            changed(Root, IovaRange.FromLength(first, byteCount));
        }

        public override void Release(InvalidationGather gather)
        {
            foreach (IovaRange range in gather.Ranges) changed(Root, range);
            Inner.Release(gather);
        }
    }
}

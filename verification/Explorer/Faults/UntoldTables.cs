using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>Tables that are not told of what is mapped: they stay empty.</summary>
internal sealed class UntoldTables(IIommu inner) : PassingIommu(inner)
{
    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out IPageTable? right);
        table = right is null ? null : new Untold(right);
        return error;
    }

    private sealed class Untold(IPageTable right) : PassingTable(right)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
        {
        }

        public override void Unmap(IovaRange range, InvalidationGather gather)
        {
        }
    }
}

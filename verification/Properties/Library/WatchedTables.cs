using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>An IOMMU whose tables are in memory that a test follows.</summary>
internal sealed class WatchedTables<TFormat>(IIommu inner, Ram ram, MemoryWatch watch) : PassingIommu(inner)
    where TFormat : struct, IPageTableFormat
{
    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = PageTable<TFormat, WatchedMemory>.TryCreate(new(ram, watch), frames, format, out PageTable<TFormat, WatchedMemory>? created);
        table = created;
        return error;
    }
}

using Harness.Passing;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>What can be wrong in how it is told what devices used and wrote to.</summary>
internal static class UseFaults
{
    private static readonly Topology Noting = new() { Mode = RemappingMode.Scalable, Devices = 2, TracksUse = true };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a collection that clears and does not invalidate", Invariant.TablesAreTruth, 8,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new Silent(table)) })
        {
            Topology = Noting,
        },
        new("a collection that leaves one of two tables out", Invariant.TablesAreTruth, 7,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => table.Format.Encoding == X86FirstStage.Encoding ? new Blind(table) : table) })
        {
            Topology = Noting,
        },
        new("a collection that takes what was read for written", Invariant.TablesAreTruth, 7,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new Undecided(table)) })
        {
            Topology = Noting,
        },
    ];

    private sealed class Silent(IPageTable inner) : PassingTable(inner)
    {
        public override void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather) =>
            Inner.CollectDirty(range, clear, dirty, new());
    }

    private sealed class Blind(IPageTable inner) : PassingTable(inner)
    {
        public override void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather)
        {
        }
    }

    private sealed class Undecided(IPageTable inner) : PassingTable(inner)
    {
        public override void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather)
        {
            if (clear) Inner.CollectDirty(range, clear, new List<IovaRange>(), gather);
            Inner.CollectAccessed(range, clear: false, dirty, gather);
        }
    }
}

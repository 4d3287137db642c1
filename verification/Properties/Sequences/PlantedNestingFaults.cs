using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>What can be wrong where guests' tables are nested in regions.</summary>
internal static class PlantedNestingFaults
{
    private static readonly Topology Nesting = new() { Mode = RemappingMode.Scalable, Devices = 2, Nesting = true };

    private static readonly Topology WithTlb = Nesting with { Devices = new(Harness.Scenarios.DeviceKind.Ats) };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a guest's device that has the addresses of the region", Invariant.SharedTable, 7, new() { Iommu = static iommu => new WithoutNested(iommu) }) { Topology = Nesting },
        new("a guest's table under the domain id of the region's", Invariant.Isolation, 9, new() { Iommu = static iommu => new SharesDomain(iommu) }) { Topology = Nesting },
        new("an unback that leaves what guests' tables led to", Invariant.NoStaleAccess, 12, new() { Iommu = static iommu => new ForgetsGuests(iommu) }) { Topology = Nesting },
        new("a guest's invalidation that nobody hears", Invariant.NoStaleAccess, 14, new() { Iommu = static iommu => new Deaf(iommu) }) { Topology = Nesting },
        OfCommands("a TLB that is told of the region's addresses and has its guest's", 12, WithTlb, static (command, knows) => IsAllOfTlb(command, knows) ? command with { High = 0 } : command),
    ];

    // "Device-TLB Invalidate": the address is in bits 63:12, and if the size flag is set the lowest clear bit of it says how much; all but the highest set is everything.
    private const ulong Everything = long.MaxValue & ~0xFFFUL;

    private static bool IsAllOfTlb(QueueCommand command, Knows knows) => command.IsOfDevice && (command.High & ~0xFFFUL) == Everything && knows.IsChanging;

    /// <summary>A driver that gives other commands where guests' tables are.</summary>
    private static PlantedFault OfCommands(string name, int mostSteps, Topology topology, Func<QueueCommand, Knows, QueueCommand> edit)
    {
        Knows? knows = null;
        return new(name, Invariant.NoStaleAccess, mostSteps, new() { Iommu = iommu => knows = new(iommu) })
        {
            Topology = topology,
            Bench = bench => new EditsCommands(bench, commands =>
            {
                for (int i = 0; i < commands.Length && knows is not null; i++) commands[i] = edit(commands[i], knows);
            }),
        };
    }

    /// <summary>Knows which domain ids are of guests' tables, and when a region that such a one is in is changed.</summary>
    private class Knows(IIommu inner) : PassingIommu(inner)
    {
        public HashSet<uint> Domains { get; } = [];

        /// <summary>Whether what is told now is that a region has changed, and it has guests' tables.</summary>
        public bool IsChanging { get; private set; }

        public override VcmmError AttachNested(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested)
        {
            Domains.Add(domain.Value);
            return Inner.AttachNested(device, pasid, domain, table, nested);
        }

        public override void ReleaseDomain(DomainId domain)
        {
            Domains.Remove(domain.Value);
            Inner.ReleaseDomain(domain);
        }

        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
        {
            foreach (Invalidation command in commands) IsChanging |= Domains.Contains(command.Domain.Value);
            VcmmError error = Inner.Invalidate(commands);
            IsChanging = false;
            return error;
        }
    }

    private sealed class WithoutNested(IIommu inner) : PassingIommu(inner)
    {
        public override VcmmError AttachNested(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested) => Inner.Attach(device, pasid, domain, table);
    }

    private sealed class SharesDomain(IIommu inner) : PassingIommu(inner)
    {
        private readonly Dictionary<PhysAddr, DomainId> _regions = [];

        public override VcmmError Attach(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table)
        {
            _regions[table.Root] = domain;
            return Inner.Attach(device, pasid, domain, table);
        }

        public override VcmmError AttachNested(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested) =>
            Inner.AttachNested(device, pasid, _regions.GetValueOrDefault(table.Root, domain), table, nested);

        public override void ReleaseDomain(DomainId domain)
        {
            foreach ((PhysAddr root, DomainId own) in _regions)
            {
                if (own == domain) _regions.Remove(root);
            }

            Inner.ReleaseDomain(domain);
        }
    }

    /// <summary>What changes in a region is told to those alone that have its addresses.</summary>
    private sealed class ForgetsGuests(IIommu inner) : Knows(inner)
    {
        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
        {
            var heard = new List<Invalidation>();
            foreach (Invalidation command in commands)
            {
                if (!Domains.Contains(command.Domain.Value)) heard.Add(command);
            }

            return heard.Count == 0 ? VcmmError.None : Inner.Invalidate([.. heard]);
        }
    }

    private sealed class Deaf(IIommu inner) : PassingIommu(inner)
    {
        public override VcmmError InvalidateNested(DomainId domain, IovaRange range) => VcmmError.None;
    }
}

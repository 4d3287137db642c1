using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>Faults that only devices meet which are not plain ones.</summary>
internal static class PlantedDeviceFaults
{
    private const ulong PageGroupResponse = 9;

    private static readonly Topology WithDirect = new() { Devices = new(DeviceKind.Direct, DeviceKind.Plain) };
    private static readonly Topology WithTlbs = new() { Mode = RemappingMode.Scalable, Devices = new(DeviceKind.Paging, DeviceKind.Ats) };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a device without an IOMMU that is let into a region that is not one-to-one", Invariant.TablesAreTruth, 2,
            new() { NoIommu = static none => new AnyRegion(none) })
        {
            Topology = WithDirect,
        },
        new("a device without an IOMMU of which it is said that it cannot write", Invariant.Permission, 3,
            new() { NoIommu = static none => new OtherTables(none, static table => new ExpressesAll(table)) })
        {
            Topology = WithDirect,
        },
        new("a device without an IOMMU whose memory is another than it was told", Invariant.TablesAreTruth, 5, SubjectParts.Own)
        {
            Topology = WithDirect,
            Bench = static bench => new OffByAPage(bench),
            // Where it reads what nobody gave it.
            OrElse = Invariant.Isolation,
        },
        new("a table of devices without an IOMMU that keeps what is unbacked", Invariant.SharedTable, 8,
            new() { NoIommu = static none => new OtherTables(none, static table => new KeepsMapped(table)) })
        {
            Topology = WithDirect,
            // Where the region has no other table.
            OrElse = Invariant.TablesAreTruth,
        },
        new("an unback that does not reach the TLBs of devices", Invariant.NoStaleAccess, 8, SubjectParts.Own)
        {
            Topology = WithTlbs,
            Bench = static bench => EditsCommands.Forgetting(bench, static (low, _) => new QueueCommand(low, 0).IsOfDevice),
            // Where the call is a deactivation.
            OrElse = Invariant.Isolation,
        },
        new("an unback that reaches the TLBs of devices before the IOTLB", Invariant.NoStaleAccess, 8, SubjectParts.Own)
        {
            Topology = WithTlbs,
            Bench = EditsCommands.DevicesFirst,
        },
        new("hardware that takes a stranger for a device", Invariant.Isolation, 8, SubjectParts.Own)
        {
            Topology = new() { Devices = new(DeviceKind.Wild, DeviceKind.Plain) },
            Bench = static bench => new TakesStrangers(bench),
            // Where it is blocked: the record names the device.
            OrElse = Invariant.FaultExact,
        },
        new("a page request that is never answered", Invariant.Progress, 7,
            new() { Iommu = static iommu => new Answers(iommu, static (_, _, _) => VcmmError.None) })
        {
            Topology = WithTlbs,
        },
        new("a page request whose answer is lost", Invariant.Progress, 7, SubjectParts.Own)
        {
            Topology = WithTlbs,
            Bench = static bench => EditsCommands.Forgetting(bench, static (low, _) => new QueueCommand(low, 0).Type == PageGroupResponse),
        },
        new("a page request that is answered and not backed", Invariant.Progress, 8,
            new() { Around = static (o, run) => o is BackPart { Memory.Number: >= Scenario.FirstMemoryOfHooks } ? new(Outcome.None) : run(o) })
        {
            Topology = WithTlbs,
        },
        new("a page request that is refused and tried again", Invariant.Progress, 7,
            new() { Iommu = static iommu => new Answers(iommu, static (inner, fault, _) => inner.EndFault(fault, retry: true)) })
        {
            Topology = WithTlbs,
        },
        new("a page request that is to be tried again and fails", Invariant.FaultExact, 8,
            new() { Iommu = static iommu => new Answers(iommu, static (inner, fault, _) => inner.EndFault(fault, retry: false)) })
        {
            Topology = WithTlbs,
            // Where it was backed.
            OrElse = Invariant.TablesAreTruth,
        },
    ];

    /// <summary>Its format has another name, by which the library does not know that nothing translates.</summary>
    private sealed class AnyRegion(IIommu inner) : PassingIommu(inner)
    {
        private static readonly TableFormat Other = new("bus", 1, 1u << 1);

        public override IReadOnlyList<TableFormat> Formats => [Other];

        public override bool CanTranslate(TableFormat format, IovaRange range) => format == Other;

        public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table) => Inner.TryCreateTable(IdentityTable.Format, frames, out table);
    }

    private sealed class ExpressesAll(IPageTable inner) : PassingTable(inner)
    {
        public override bool CanExpress(MappingAttributes attributes) => true;

        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) =>
            Inner.Map(first, segments, attributes with { Access = attributes.Access | Access.ReadWrite }, pages);
    }

    private sealed class KeepsMapped(IPageTable inner) : PassingTable(inner)
    {
        public override void Unmap(IovaRange range, InvalidationGather gather) => gather.Add(range);
    }

    /// <summary>Machines that let an access under an id that nobody has through as one of the device that made it.</summary>
    private sealed class TakesStrangers(IBench inner) : IBench
    {
        public string Describe(Topology topology) => inner.Describe(topology);

        public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology));

        public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

        public void Dispose() => inner.Dispose();

        private sealed class Machine(IVtdMachine right) : IVtdMachine
        {
            public IVtdMachine Right => right;

            public string Name => right.Name;

            public PhysRange Window => right.Window;

            public IPhysicalMemory Memory => right.Memory;

            public IMmio Registers => right.Registers;

            public IReadOnlyList<IDmaDevice> Devices { get; } = [.. right.Devices.Select(static device => device is IStrayDevice stray ? new Device(stray) : device)];

            public void Dispose() => right.Dispose();
        }

        private sealed class Device(IStrayDevice right) : IStrayDevice
        {
            public StreamId Id => right.Id;

            public IDmaDevice Stray => right;

            public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => right.Read(address, destination, pasid);

            public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => right.Write(address, source, pasid);
        }
    }

    private sealed class Answers(IIommu inner, Func<IIommu, DeviceFault, bool, VcmmError> how) : PassingIommu(inner)
    {
        public override VcmmError EndFault(in DeviceFault fault, bool retry) => how(Inner, fault, retry);
    }

    /// <summary>Machines where the bus of a device without an IOMMU begins a page further on.</summary>
    private sealed class OffByAPage(IBench inner) : IBench
    {
        public string Describe(Topology topology) => inner.Describe(topology);

        public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology), topology.Devices);

        public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

        public void Dispose() => inner.Dispose();

        private sealed class Machine(IVtdMachine right, DeviceList kinds) : IVtdMachine
        {
            public IVtdMachine Right => right;

            public string Name => right.Name;

            public PhysRange Window => right.Window;

            public IPhysicalMemory Memory => right.Memory;

            public IMmio Registers => right.Registers;

            public IReadOnlyList<IDmaDevice> Devices { get; } =
                [.. right.Devices.Zip(kinds, static (device, kind) => kind == DeviceKind.Direct ? new Device(device) : device)];

            public void Dispose() => right.Dispose();
        }

        private sealed class Device(IDmaDevice right) : IDmaDevice
        {
            public StreamId Id => right.Id;

            public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => right.Read(address + World.PageBytes, destination, pasid);

            public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => right.Write(address + World.PageBytes, source, pasid);
        }
    }
}

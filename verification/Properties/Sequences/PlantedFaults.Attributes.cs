using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>What can be wrong in privilege, security and cache policy.</summary>
internal static class AttributeFaults
{
    private static readonly Topology Scalable = new() { Mode = RemappingMode.Scalable, Devices = 2 };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a table that lets everybody into supervisor-only pages", Invariant.TablesAreTruth, 5,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new OtherAttributes(table, static attributes => attributes with { SupervisorOnly = false })) })
        {
            Topology = Scalable,
        },
        new("a table that caches what must not be", Invariant.TablesAreTruth, 5,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new OtherAttributes(table, static attributes => attributes with { Cache = default })) })
        {
            Topology = Scalable,
            // Where the region has a table, too, that says nothing of caches.
            OrElse = Invariant.SharedTable,
        },
        new("a table that takes on what it cannot protect", Invariant.Permission, 4,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new TakesAnything(table)) }),
        new("a driver that gives requests supervisor privilege", Invariant.Permission, 8, SubjectParts.Own)
        {
            Topology = Scalable,
            Bench = static bench => new Privileged(bench),
            // Where the access was granted once, and narrowed away.
            OrElse = Invariant.NoStaleAccess,
        },
    ];

    private sealed class OtherAttributes(IPageTable inner, Func<MappingAttributes, MappingAttributes> change) : PassingTable(inner)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) =>
            Inner.Map(first, segments, change(attributes), pages);

        public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather) => Inner.Protect(range, change(attributes), gather);
    }

    private sealed class TakesAnything(IPageTable inner) : PassingTable(inner)
    {
        public override bool CanExpress(MappingAttributes attributes) => Inner.CanExpress(Without(attributes));

        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) =>
            Inner.Map(first, segments, Without(attributes), pages);

        public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather) => Inner.Protect(range, Without(attributes), gather);

        private static MappingAttributes Without(MappingAttributes attributes) => attributes with { SupervisorOnly = false, Secure = false };
    }

    /// <summary>Machines on which, before a device does anything, its context and PASID entries say that its requests have supervisor privilege.</summary>
    private sealed class Privileged(IBench inner) : IBench
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

            public IReadOnlyList<IDmaDevice> Devices { get; } = [.. right.Devices.Select(device => new Device(device, right))];

            public void Dispose() => right.Dispose();
        }

        private sealed class Device(IDmaDevice right, IVtdMachine machine) : IPrivilegedDevice
        {
            // VT-d specification, "Scalable-Mode Root Entry", "Scalable-Mode Context Entry" (RID_PRIV is bit 84), "Scalable-Mode PASID
            // Directory Entry", "Scalable-Mode PASID Table Entry" (SRE is bit 128).
            private const ulong RootAddress = 0x20, Frame = ~0xFFFUL, RidPrivilege = 1UL << 20, SupervisorEnable = 1, ContextBytes = 32;

            public StreamId Id => right.Id;

            public IDmaDevice Privileged => ((IPrivilegedDevice)right).Privileged;

            public bool Read(Iova address, Span<byte> destination, Pasid? pasid)
            {
                Promote();
                return right.Read(address, destination, pasid);
            }

            public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid)
            {
                Promote();
                return right.Write(address, source, pasid);
            }

            private void Promote()
            {
                ulong root = Read((machine.Registers.Read64((uint)RootAddress) & Frame) + (Id.Value >> 7) * sizeof(ulong));
                if ((root & 1) == 0) return;
                ulong context = (root & Frame) + (Id.Value & 0x7F) * ContextBytes;
                ulong directory = Read(context);
                if ((directory & 1) == 0) return;
                ulong table = Read(directory & Frame);
                if ((table & 1) == 0 || (Read(table & Frame) & 1) == 0) return;
                Set(context + sizeof(ulong), RidPrivilege);
                Set((table & Frame) + 2 * sizeof(ulong), SupervisorEnable);
            }

            private ulong Read(ulong address) => machine.Memory.Read64(new(address));

            private void Set(ulong address, ulong bits) => machine.Memory.Write64(new(address), Read(address) | bits);
        }
    }
}

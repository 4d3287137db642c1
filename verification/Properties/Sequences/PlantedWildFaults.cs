using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>Faults that only a device meets which goes across the ends of pages, or goes on while it is detached.</summary>
internal static class PlantedWildFaults
{
    private static readonly Topology WithWild = new() { Devices = new(DeviceKind.Wild, DeviceKind.Plain) };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a machine that looks at the first page only of what is read across two", Invariant.Isolation, 7, SubjectParts.Own)
        {
            Topology = WithWild,
            Bench = static bench => new LooksAtFirstPage(bench),
            // Where what lies behind the first page is the region's own, or was.
            OrElse = Invariant.TablesAreTruth,
        },
        new("a machine that goes on to the second page when it was refused at the first", Invariant.FaultExact, 7, SubjectParts.Own)
        {
            Topology = WithWild,
            Bench = static bench => new GoesOn(bench),
        },
        new("a detach that leads through the table of another region", Invariant.Isolation, 12,
            new() { Iommu = static iommu => new LeadsThroughAnother(iommu) })
        {
            Topology = WithWild,
        },
    ];

    /// <summary>Machines whose devices of the kind that misbehaves are other ones.</summary>
    private abstract class OtherWild(IBench inner) : IBench
    {
        public string Describe(Topology topology) => inner.Describe(topology);

        public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology), this);

        public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

        public void Dispose() => inner.Dispose();

        /// <summary>A device reads across the end of a page.</summary>
        protected abstract bool ReadAcross(IDmaDevice right, IPhysicalMemory memory, Iova address, Span<byte> destination, Pasid? pasid);

        private sealed class Machine(IVtdMachine right, OtherWild bench) : IVtdMachine
        {
            public IVtdMachine Right => right;

            public string Name => right.Name;

            public PhysRange Window => right.Window;

            public IPhysicalMemory Memory => right.Memory;

            public IMmio Registers => right.Registers;

            public IReadOnlyList<IDmaDevice> Devices { get; } = [.. right.Devices.Select(device => device is IStrayDevice stray ? new Device(stray, right.Memory, bench) : device)];

            public void Dispose() => right.Dispose();
        }

        private sealed class Device(IStrayDevice right, IPhysicalMemory memory, OtherWild bench) : IStrayDevice
        {
            public StreamId Id => right.Id;

            public IDmaDevice Stray => right.Stray;

            public bool Read(Iova address, Span<byte> destination, Pasid? pasid) =>
                destination.Length > sizeof(ulong) ? bench.ReadAcross(right, memory, address, destination, pasid) : right.Read(address, destination, pasid);

            public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => right.Write(address, source, pasid);
        }
    }

    /// <summary>All of it comes from behind the first page.</summary>
    private sealed class LooksAtFirstPage(IBench inner) : OtherWild(inner)
    {
        protected override bool ReadAcross(IDmaDevice right, IPhysicalMemory memory, Iova address, Span<byte> destination, Pasid? pasid)
        {
            if (!right.Read(address, destination[..sizeof(ulong)], pasid)) return false;
            if (Stamps.WhereRead(destination) is { } first) memory.Read(new(first + sizeof(ulong)), destination[sizeof(ulong)..]);
            return true;
        }
    }

    private sealed class GoesOn(IBench inner) : OtherWild(inner)
    {
        protected override bool ReadAcross(IDmaDevice right, IPhysicalMemory memory, Iova address, Span<byte> destination, Pasid? pasid)
        {
            bool isDone = right.Read(address, destination[..sizeof(ulong)], pasid);
            return right.Read(address + sizeof(ulong), destination[sizeof(ulong)..], pasid) && isDone;
        }
    }

    /// <summary>The entry of the device leads to another table before it leads nowhere.</summary>
    private sealed class LeadsThroughAnother(IIommu inner) : PassingIommu(inner)
    {
        private readonly Dictionary<DomainId, IPageTable> _tables = [];

        public override VcmmError Attach(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table)
        {
            _tables[domain] = table;
            return Inner.Attach(device, pasid, domain, table);
        }

        public override VcmmError Detach(StreamId device, Platform.Pasid? pasid, DomainId domain)
        {
            VcmmError error = Inner.Detach(device, pasid, domain);
            foreach ((DomainId other, IPageTable table) in _tables)
            {
                if (error != VcmmError.None || other == domain || Inner.Attach(device, pasid, other, table) != VcmmError.None) continue;
                return Inner.Detach(device, pasid, other);
            }

            return error;
        }

        public override void ReleaseDomain(DomainId domain)
        {
            _tables.Remove(domain);
            Inner.ReleaseDomain(domain);
        }
    }
}

using Harness.Running;
using Harness.Scenarios;
using IommuSim;
using Platform;

namespace Harness.Foreign;

/// <summary>The simulator, as a machine that can stand beside a foreign one.</summary>
public sealed class SimulatedVtd : IVtdMachine
{
    private static readonly StreamId Nobody = StreamId.Pci(0, 31, 7);

    // Fewer than a scenario uses pages.
    private const int FirstSlot = 4, TlbEntries = 8;
    private readonly RamBlock _ram;
    private readonly bool _ownsRam;
    private readonly NonCoherentMemory<Ram> _caches;

    /// <summary>A machine with memory at the same addresses and devices of the same ids as <see cref="QemuVtd"/> has.</summary>
    /// <param name="devices">What each is.</param>
    /// <param name="options">The remapping unit.</param>
    /// <param name="ram">Memory to use, at <see cref="MemoryRange"/>, which stays the caller's; null: its own, all zero.</param>
    /// <param name="isCoherent">Whether the remapping unit sees at once what software writes.</param>
    /// <param name="eagerness">Of 100 steps, after how many the unit does something of its own accord.</param>
    public SimulatedVtd(DeviceList devices, VtdOptions options, RamBlock? ram = null, bool isCoherent = true, int eagerness = 0)
    {
        _ram = ram ?? new(Window);
        _ownsRam = ram is null;
        // Words for lines: what lies beside something that was cleaned is not cleaned with it.
        _caches = new(_ram.Port, sizeof(ulong));
        IsCoherent = isCoherent;
        if (eagerness != 0) Eager = new(_ram.Port, options, isCoherent ? null : _caches, eagerness);
        Iommu = new(_caches.Walker, options, new(Eager));
        Eager?.Drive(Iommu);
        Devices = [.. devices.Select((kind, index) => Make(kind, StreamId.Pci(0, FirstSlot + index, 0)))];
    }

    /// <inheritdoc/>
    public string Name => "simulator";

    /// <summary>Whether the remapping unit sees at once what software writes.</summary>
    public bool IsCoherent { get; }

    /// <inheritdoc/>
    public PhysRange Window => MemoryRange;

    /// <summary>Where the machine has memory.</summary>
    public static PhysRange MemoryRange { get; } = new(new(16UL << 20), new((64UL << 20) - 1));

    /// <inheritdoc/>
    public IPhysicalMemory Memory => IsCoherent ? _ram.Port : _caches.Processor;

    /// <summary>The memory as devices have it.</summary>
    public NonCoherentPort<Ram> DeviceMemory => _caches.Device;

    /// <summary>The remapping unit itself.</summary>
    public VtdIommu<NonCoherentPort<Ram>, EagerSteps> Iommu { get; }

    /// <summary>What the unit does of its own accord; null: nothing.</summary>
    public EagerHardware? Eager { get; }

    /// <inheritdoc/>
    public IMmio Registers => Iommu;

    /// <inheritdoc/>
    public IReadOnlyList<IDmaDevice> Devices { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_ownsRam) _ram.Dispose();
    }

    /// <inheritdoc/>
    public bool TryListen(Action<InterruptMessage> listener)
    {
        Iommu.Interrupt += listener;
        return true;
    }

    /// <inheritdoc/>
    public IReadOnlyList<DeviceTlbEntry> TlbOf(int device) => Devices[device] is Ats ats ? ats.Tlb : [];

    /// <summary>The first word of a range, of whole words, that the unit reads otherwise than software has it; null: there is none.</summary>
    public (PhysAddr At, ulong Written, ulong Read)? FindUnseen(PhysRange range)
    {
        if (IsCoherent || _caches.IsClean(range)) return null;
        PhysAddr at = range.First;
        while (_caches.Walker.Read64(at) == _caches.Processor.Read64(at)) at += sizeof(ulong);
        return (at, _caches.Processor.Read64(at), _caches.Walker.Read64(at));
    }

    private IDmaDevice Make(DeviceKind kind, StreamId id) => kind switch
    {
        DeviceKind.Direct => new Direct(new(_ram.Port), id),
        DeviceKind.Ats or DeviceKind.Paging => new Ats(new(Iommu, DeviceMemory, id, new() { PageRequests = kind == DeviceKind.Paging, Refetches = true, TlbEntries = TlbEntries })),
        DeviceKind.Queue => new Queued(new(new(Iommu, DeviceMemory, id)), id),
        DeviceKind.ScatterGather => new Gathering(new(new(Iommu, DeviceMemory, id)), id),
        DeviceKind.Wild => new Wild(new(Iommu, DeviceMemory, id)),
        _ => new Device(new(Iommu, DeviceMemory, id)),
    };

    private static PasidPrefix? Prefix(Pasid? pasid, bool isPrivileged = false) => pasid is { } given ? new(new(given.Value), isPrivileged) : null;

    private sealed class Device(BusMaster<NonCoherentPort<Ram>, EagerSteps> master, bool isPrivileged = false) : IPrivilegedDevice
    {
        public StreamId Id => master.Source;

        public IDmaDevice Privileged => new Device(master, isPrivileged: true);

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => master.Read(address, destination, Prefix(pasid, isPrivileged)).Ok;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => master.Write(address, source, Prefix(pasid, isPrivileged)).Ok;
    }

    /// <summary>A device whose transfers go through its queue.</summary>
    private sealed class Queued(DmaQueue<NonCoherentPort<Ram>, EagerSteps> queue, StreamId id) : IDmaDevice
    {
        public StreamId Id => id;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid)
        {
            byte[] bytes = new byte[destination.Length];
            bool isOk = Run(new(address, DeviceAccess.Read, bytes, Prefix(pasid)));
            bytes.CopyTo(destination);
            return isOk;
        }

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => Run(new(address, DeviceAccess.Write, source.ToArray(), Prefix(pasid)));

        private bool Run(DmaRequest request)
        {
            queue.TryPost(request);
            queue.RunAll();
            return request.Result!.Value.Ok;
        }
    }

    /// <summary>A device that moves everything in two parts.</summary>
    private sealed class Gathering(ScatterGatherEngine<NonCoherentPort<Ram>, EagerSteps> engine, StreamId id) : IDmaDevice
    {
        public StreamId Id => id;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => engine.Gather(Halves(address, destination.Length), destination, Prefix(pasid)).Ok;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => engine.Scatter(Halves(address, source.Length), source, Prefix(pasid)).Ok;

        private static DmaElement[] Halves(Iova address, int byteCount) =>
            [new(address, byteCount / 2), new(new(unchecked(address.Value + (ulong)(byteCount / 2))), byteCount - byteCount / 2)];
    }

    /// <summary>A device that does what it is told, also what it must not.</summary>
    private sealed class Wild(MisbehavingDevice<NonCoherentPort<Ram>, EagerSteps> device) : IStrayDevice
    {
        public StreamId Id => device.Own.Source;

        public IDmaDevice Stray { get; } = new Device(device.As(Nobody));

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => device.Own.Read(address, destination, Prefix(pasid)).Ok;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => device.Own.Write(address, source, Prefix(pasid)).Ok;
    }

    /// <summary>A device with a TLB. What it does at once it does without asking for pages.</summary>
    private sealed class Ats(AtsDevice<NonCoherentPort<Ram>, EagerSteps> device) : IPagingDevice
    {
        public StreamId Id => device.Source;

        public IReadOnlyList<DeviceTlbEntry> Tlb => device.Tlb;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid)
        {
            int byteCount = destination.Length;
            DmaTransfer transfer = AtOnce(() => BeginRead(address, byteCount, pasid));
            transfer.Data.CopyTo(destination);
            return transfer.Outcome == AccessOutcome.Completed;
        }

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid)
        {
            byte[] bytes = source.ToArray();
            return AtOnce(() => BeginWrite(address, bytes, pasid)).Outcome == AccessOutcome.Completed;
        }

        public DmaTransfer BeginRead(Iova address, int byteCount, Pasid? pasid) => device.Read(address, byteCount, Prefix(pasid));

        public DmaTransfer BeginWrite(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => device.Write(address, source, Prefix(pasid));

        private DmaTransfer AtOnce(Func<DmaTransfer> begin)
        {
            device.PageRequestsEnabled = false;
            try
            {
                return begin();
            }
            finally
            {
                device.PageRequestsEnabled = true;
            }
        }
    }

    /// <summary>A device without an IOMMU; the id tells it from the others, and no bus carries it.</summary>
    private sealed class Direct(DirectDevice<Ram, NoSteps> device, StreamId id) : IDmaDevice
    {
        public StreamId Id => id;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => device.Read(At(address, pasid), destination).Ok;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => device.Write(At(address, pasid), source).Ok;

        private static PhysAddr At(Iova address, Pasid? pasid) =>
            pasid is null ? new(address.Value) : throw new BadInputException("a device without an IOMMU sends no PASID");
    }
}

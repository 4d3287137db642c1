using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Scheduling;
using Harness.Foreign;
using Harness.Scenarios;
using IommuSim;
using IommuSim.Devices;
using Platform;
using Vcmm;

namespace Explorer.Scripts;

/// <summary>Moves bytes by way of a device.</summary>
/// <param name="address">Where.</param>
/// <param name="writes">Whether to memory.</param>
/// <param name="bytes">What is written, or what is read.</param>
/// <param name="prefix">The PASID of the requests; null: they have none.</param>
/// <returns>Null if they were moved, else why not.</returns>
internal delegate string? DeviceMove(Iova address, bool writes, Span<byte> bytes, PasidPrefix? prefix);

/// <summary>
/// A device of a script. What it keeps, its TLB, is one, whoever plays it; everything else is made anew for each thread that does. As <see cref="IDmaDevice"/>
/// it is at work before and after the schedule, and asks for no page then.
/// </summary>
internal sealed class ScriptDevice : IStrayDevice, IPrivilegedDevice
{
    // As the devices of sequences have them.
    private const int TlbEntries = 8;

    private readonly VtdIommu<ControlledMemory, ControlledSteps> _iommu;
    private readonly Func<IMemoryObserver, ControlledMemory> _memory;
    private readonly DeviceKind _kind;
    private readonly ControlledSteps _steps;
    private readonly DeviceSides _sides;
    private readonly PagingDevices _paging;

    /// <summary>A device behind the IOMMU.</summary>
    /// <param name="iommu">The IOMMU.</param>
    /// <param name="memory">The memory, as somebody has it.</param>
    /// <param name="kind">What it is.</param>
    /// <param name="id">Its requester id.</param>
    /// <param name="steps">The steps of one that has no IOMMU.</param>
    /// <param name="paging">What those do that ask for pages.</param>
    public ScriptDevice(
        VtdIommu<ControlledMemory, ControlledSteps> iommu, Func<IMemoryObserver, ControlledMemory> memory, DeviceKind kind, StreamId id, ControlledSteps steps, PagingDevices paging)
    {
        _paging = paging;
        _sides = kind == DeviceKind.Paging ? new() { SideAt = paging.SideAt } : new();
        _steps = steps;
        _iommu = iommu;
        _memory = memory;
        _kind = kind;
        Id = id;
        if (kind is DeviceKind.Ats or DeviceKind.Paging)
            Ats = new(iommu, memory(_sides), id, new() { PageRequests = kind == DeviceKind.Paging, Refetches = true, TlbEntries = TlbEntries });
    }

    /// <summary>Under which id no device is.</summary>
    public static StreamId Nobody { get; } = StreamId.Pci(0, 31, 7);

    /// <inheritdoc/>
    public StreamId Id { get; }

    /// <summary>The device with its TLB; null: it has none.</summary>
    public AtsDevice<ControlledMemory, ControlledSteps>? Ats { get; }

    /// <inheritdoc/>
    public IDmaDevice Stray => new AtRest(Nobody, Make(Nobody, new DeviceSides()), isPrivileged: false);

    /// <inheritdoc/>
    public IDmaDevice Privileged => new AtRest(Id, Make(Id, new DeviceSides()), isPrivileged: true);

    /// <inheritdoc/>
    public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => new AtRest(Id, Make(Id, new DeviceSides()), isPrivileged: false).Read(address, destination, pasid);

    /// <inheritdoc/>
    public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => new AtRest(Id, Make(Id, new DeviceSides()), isPrivileged: false).Write(address, source, pasid);

    /// <summary>What the calling thread has the device do, in one address space.</summary>
    /// <param name="source">Under which requester id.</param>
    /// <param name="side">What it is held to.</param>
    /// <param name="hasHook">Whether it has a hook all the while.</param>
    public DeviceMove Play(StreamId source, DeviceSide side, bool hasHook)
    {
        if (Ats is null) return Make(source, side);
        if (_kind == DeviceKind.Paging) return _paging.Play(Ats, side, hasHook);
        DeviceMove move = MoveOf(Ats);
        return (address, writes, bytes, prefix) =>
        {
            _sides.Play(side);
            return move(address, writes, bytes, prefix);
        };
    }

    private DeviceMove Make(StreamId source, IMemoryObserver side)
    {
        if (Ats is not null) return MoveOf(Ats);
        if (_kind == DeviceKind.Direct) return MoveOf(new DirectDevice<ControlledMemory, ControlledSteps>(_memory(side), _steps));
        var master = new BusMaster<ControlledMemory, ControlledSteps>(_iommu, _memory(side), source);
        return _kind switch
        {
            DeviceKind.Queue => MoveOf(new DmaQueue<ControlledMemory, ControlledSteps>(master)),
            DeviceKind.ScatterGather => MoveOf(new ScatterGatherEngine<ControlledMemory, ControlledSteps>(master)),
            _ => (address, writes, bytes, prefix) => Say(writes ? master.Write(address, bytes, prefix) : master.Read(address, bytes, prefix)),
        };
    }

    private static string? Say(DmaResult result) => result.Ok ? null : $"{result.Reason}";

    private static DeviceMove MoveOf(DirectDevice<ControlledMemory, ControlledSteps> device) => (address, writes, bytes, _) =>
        Say(writes ? device.Write(new(address.Value), bytes) : device.Read(new(address.Value), bytes));

    private static DeviceMove MoveOf(DmaQueue<ControlledMemory, ControlledSteps> queue) => (address, writes, bytes, prefix) =>
    {
        byte[] buffer = bytes.ToArray();
        var request = new DmaRequest(address, writes ? DeviceAccess.Write : DeviceAccess.Read, buffer, prefix);
        queue.TryPost(request);
        queue.RunAll();
        buffer.CopyTo(bytes);
        return Say(request.Result!.Value);
    };

    private static DeviceMove MoveOf(ScatterGatherEngine<ControlledMemory, ControlledSteps> engine) => (address, writes, bytes, prefix) =>
    {
        int half = bytes.Length / 2;
        DmaElement[] halves = [new(address, half), new(address + (ulong)half, bytes.Length - half)];
        return Say((writes ? engine.Scatter(halves, bytes, prefix) : engine.Gather(halves, bytes, prefix)).Transfer);
    };

    private static DeviceMove MoveOf(AtsDevice<ControlledMemory, ControlledSteps> device) => (address, writes, bytes, prefix) =>
    {
        device.PageRequestsEnabled = false;
        DmaTransfer transfer = writes ? device.Write(address, bytes, prefix) : device.Read(address, bytes.Length, prefix);
        device.PageRequestsEnabled = true;
        if (transfer.Outcome != AccessOutcome.Completed) return $"{transfer.Reason}";
        if (!writes) transfer.Data.CopyTo(bytes);
        return null;
    };

    private sealed class AtRest(StreamId id, DeviceMove move, bool isPrivileged) : IDmaDevice
    {
        public StreamId Id => id;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => move(address, false, destination, Prefix(pasid)) is null;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => move(address, true, source.ToArray(), Prefix(pasid)) is null;

        private PasidPrefix? Prefix(Pasid? pasid) => pasid is { } given ? new(new(given.Value), isPrivileged) : null;
    }
}

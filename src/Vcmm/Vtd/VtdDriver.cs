using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>How a <see cref="VtdDriver{TMemory}"/> works.</summary>
public sealed record VtdDriverOptions
{
    /// <summary>How it waits for the hardware; default: spin, and give up after a second.</summary>
    public IWaitPolicy WaitPolicy { get; init; } = new SpinUntilDeadline(TimeProvider.System, TimeSpan.FromSeconds(1));
}

/// <summary>A driver for Intel VT-d in legacy mode: second-stage translation, queued invalidation.</summary>
/// <typeparam name="TMemory">The memory that holds its tables and its queue.</typeparam>
/// <remarks>
/// <para><b>Threads.</b> As <see cref="IIommu"/>.</para>
/// <para><b>Source.</b> Intel Virtualization Technology for Directed I/O; the sections are named where a rule is used.</para>
/// </remarks>
public sealed class VtdDriver<TMemory> : IIommu
    where TMemory : struct, IPhysicalMemory
{
    [LockRank(LockRank.Domains)]
    private readonly object _domainGate = new();
    [LockRank(LockRank.Faults)]
    private readonly object _faultGate = new();
    private readonly TMemory _memory;
    private readonly IMmio _registers;
    private readonly IFrameSource _frames;
    private readonly VtdCapabilities _capabilities;
    private readonly GlobalCommand _command;
    private readonly InvalidationQueue<TMemory> _queue;
    private readonly ContextTables<TMemory> _contexts;
    private readonly PhysAddr[] _queueFrames;
    private readonly Stack<DomainId> _releasedDomains = new();
    private uint _nextDomain = 1;
    private uint _nextFaultRecord;

    private VtdDriver(TMemory memory, IMmio registers, IFrameSource frames, VtdCapabilities capabilities, VtdDriverOptions options, PhysAddr[] owned)
    {
        _memory = memory;
        _registers = registers;
        _frames = frames;
        _capabilities = capabilities;
        _command = new(registers, options.WaitPolicy);
        _contexts = new(memory, frames, owned[0]);
        _queueFrames = owned[1..];
        _queue = new(memory, registers, _command, capabilities, options.WaitPolicy, owned[1], owned[2]);
        Formats = [FormatOf(capabilities)];
    }

    /// <inheritdoc/>
    public IReadOnlyList<TableFormat> Formats { get; }

    /// <inheritdoc/>
    public uint PasidCount => 0;

    /// <summary>The interrupt address range: requests to it are interrupts and are never remapped.</summary>
    /// <remarks><b>Source.</b> VT-d specification, "Handling Requests to Interrupt Address Range".</remarks>
    public IReadOnlyList<IovaRange> ReservedRegions { get; } = [new(new(0xFEE0_0000), new(0xFEEF_FFFF))];

    /// <inheritdoc/>
    public bool CachesAbsent => _capabilities.CachingMode;

    /// <summary>The architecture's version: major in bits 7:4, minor in bits 3:0.</summary>
    public uint HardwareVersion => _registers.Read32(VtdRegisters.Version);

    /// <summary>Takes an IOMMU into use: empty tables, queue running, translation on. No device can reach memory after this.</summary>
    /// <param name="memory">Where tables and queue are; the IOMMU must see it at the same addresses.</param>
    /// <param name="registers">The IOMMU's register page.</param>
    /// <param name="frames">Gives the frames: three, and one for each bus that has a device attached.</param>
    /// <param name="options">How the driver works.</param>
    /// <param name="driver">The running driver.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if the hardware has no queued invalidation, walks neither three nor four levels, or
    /// needs its write buffer flushed; <see cref="VcmmError.NoMemory"/>; <see cref="VcmmError.HardwareFailure"/> if it does
    /// not answer.
    /// </returns>
    public static VcmmError TryStart(TMemory memory, IMmio registers, IFrameSource frames, VtdDriverOptions options, out VtdDriver<TMemory>? driver)
    {
        ArgumentNullException.ThrowIfNull(registers);
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentNullException.ThrowIfNull(options);
        driver = null;
        var capabilities = new VtdCapabilities(registers.Read64(VtdRegisters.Capability), registers.Read64(VtdRegisters.ExtendedCapability));
        if (!capabilities.QueuedInvalidation || capabilities.NeedsWriteBufferFlush) return VcmmError.NoDevice;
        if (!capabilities.ThreeLevels && !capabilities.FourLevels) return VcmmError.NoDevice;

        // The root table, the queue, and the queue's status words.
        var owned = new PhysAddr[3];
        for (int i = 0; i < owned.Length; i++)
        {
            VcmmError error = frames.TryAllocate(FrameAllocator.FrameBytes, out owned[i]);
            if (error != VcmmError.None)
            {
                for (int j = 0; j < i; j++) frames.Free(owned[j]);
                return error;
            }

            memory.ZeroFrame(owned[i]);
        }

        var started = new VtdDriver<TMemory>(memory, registers, frames, capabilities, options, owned);
        if (!started.TryEnable())
        {
            started.FreeFrames();
            return VcmmError.HardwareFailure;
        }

        driver = started;
        return VcmmError.None;
    }

    /// <summary>Takes an IOMMU into use.</summary>
    /// <exception cref="VcmmException">As <see cref="TryStart"/>.</exception>
    public static VtdDriver<TMemory> Start(TMemory memory, IMmio registers, IFrameSource frames, VtdDriverOptions? options = null)
    {
        VcmmException.ThrowIf(TryStart(memory, registers, frames, options ?? new(), out VtdDriver<TMemory>? driver), nameof(Start));
        return driver!;
    }

    /// <summary>Switches translation and queue off and gives the frames back. Every device has been detached.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.HardwareFailure"/>: the hardware does not stop; the frames stay taken.</exception>
    public void Stop()
    {
        bool stopped = _command.TryClear(VtdRegisters.TranslationEnable) && _command.TryClear(VtdRegisters.QueuedInvalidationEnable);
        if (!stopped) throw new VcmmException(VcmmError.HardwareFailure, "the IOMMU does not stop");
        FreeFrames();
    }

    /// <inheritdoc/>
    /// <remarks><b>Source.</b> VT-d specification, "Fault Recording Registers" and "Fault Reason Encodings".</remarks>
    public bool TryTakeFault(out DeviceFault fault)
    {
        lock (_faultGate)
        {
            uint record = RecordOffset(_nextFaultRecord);
            if (_registers.Read64(record + 8) >> 63 == 0)
            {
                // The hardware may have begun elsewhere, at the record that FSTS.FRI names; without a fault that one is empty too.
                _nextFaultRecord = (_registers.Read32(VtdRegisters.FaultStatus) >> 8 & 0xFF) % _capabilities.FaultRecordCount;
                record = RecordOffset(_nextFaultRecord);
            }

            ulong high = _registers.Read64(record + 8);
            ulong low = _registers.Read64(record);
            fault = default;
            if (high >> 63 == 0) return false;
            fault = new(
                new StreamId((uint)(high & 0xFFFF)),
                null,
                new Iova(low & ~0xFFFUL),
                (high >> 62 & 1) != 0 ? Access.Read : Access.Write,
                (uint)(high >> 32 & 0xFF));
            // Writing F, in the record's last word, clears it.
            _registers.Write32(record + 12, 1u << 31);
            _nextFaultRecord = (_nextFaultRecord + 1) % _capabilities.FaultRecordCount;
            return true;
        }
    }

    /// <summary>Whether faults were lost because all records were full; clears that. Read the records first.</summary>
    public bool TakeFaultOverflow()
    {
        lock (_faultGate)
        {
            if ((_registers.Read32(VtdRegisters.FaultStatus) & VtdRegisters.PrimaryFaultOverflow) == 0) return false;
            _registers.Write32(VtdRegisters.FaultStatus, VtdRegisters.PrimaryFaultOverflow);
            return true;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: no access waits.</exception>
    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException($"{fault} does not wait");

    /// <inheritdoc/>
    public bool CanIdentify(StreamId device) => device.Value <= 0xFFFF;

    /// <summary>The last device address that it translates; addresses start at 0.</summary>
    public Iova LastAddress => new((1UL << Math.Min(_capabilities.AddressBits, 12 + 9 * Formats[0].LevelCount)) - 1);

    /// <inheritdoc/>
    public bool CanTranslate(TableFormat format, IovaRange range) => range.Last.Value <= LastAddress.Value;

    /// <inheritdoc/>
    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => PageTable<VtdSecondStage, TMemory>.Adopt(_memory, format, root);

    /// <inheritdoc/>
    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = PageTable<VtdSecondStage, TMemory>.TryCreate(_memory, frames, format, out PageTable<VtdSecondStage, TMemory>? created);
        table = created;
        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryCreateDomain(out DomainId domain)
    {
        lock (_domainGate)
        {
            if (_releasedDomains.TryPop(out domain)) return VcmmError.None;
            // Id 0 tags what hardware in caching mode caches of absent context entries: "Caching Mode" in the specification.
            if (_nextDomain >= _capabilities.DomainCount) return VcmmError.NoSpace;
            domain = new(_nextDomain++);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public void ReleaseDomain(DomainId domain)
    {
        lock (_domainGate) _releasedDomains.Push(domain);
    }

    /// <inheritdoc/>
    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        _memory.Fence();
        VcmmError error = _contexts.TrySet(device, ContextEntry.SecondStage(table.Root, domain, table.Format.LevelCount));
        if (error != VcmmError.None || !CachesAbsent) return error;

        // An absent context entry may be cached, under domain id 0: "Caching Mode" in the specification.
        error = _queue.Submit([InvalidationDescriptor.ContextOfDevice(device, new(0)), InvalidationDescriptor.IotlbOfDomain(_capabilities, domain)]);
        if (error == VcmmError.None) return VcmmError.None;
        // Undone only if the hardware can be made to forget; otherwise the entry stands, and a later call meets the failure.
        return Detach(device, pasid, domain) == VcmmError.None ? error : VcmmError.None;
    }

    /// <inheritdoc/>
    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        ContextEntry entry = _contexts.Clear(device);
        // "Context-cache invalidation ... followed by IOTLB invalidation": in this order, or a walk in between caches again.
        VcmmError error = _queue.Submit(
            [InvalidationDescriptor.ContextOfDevice(device, domain), InvalidationDescriptor.IotlbOfDomain(_capabilities, domain)]);
        if (error != VcmmError.None) _contexts.TrySet(device, entry);
        return error;
    }

    /// <inheritdoc/>
    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Span<InvalidationDescriptor> descriptors = stackalloc InvalidationDescriptor[commands.Length];
        for (int i = 0; i < commands.Length; i++)
            descriptors[i] = InvalidationDescriptor.IotlbOfRange(_capabilities, commands[i].Domain, commands[i].Range, commands[i].LeavesOnly);
        return _queue.Submit(descriptors);
    }

    private static TableFormat FormatOf(VtdCapabilities capabilities) => new(
        VtdSecondStage.Encoding,
        capabilities.FourLevels ? 4 : 3,
        1u << 1 | (capabilities.TwoMegabyteLeaves ? 1u << 2 : 0) | (capabilities.OneGigabyteLeaves ? 1u << 3 : 0));

    private bool TryEnable()
    {
        _registers.Write64(VtdRegisters.RootTableAddress, _contexts.Root.Value);
        return _command.TrySet(VtdRegisters.SetRootTablePointer)
            && _queue.TryStart()
            && _command.TrySet(VtdRegisters.TranslationEnable);
    }

    private void FreeFrames()
    {
        _contexts.Free();
        foreach (PhysAddr frame in _queueFrames) _frames.Free(frame);
    }

    private uint RecordOffset(uint index) => _capabilities.FaultRecordOffset + index * VtdRegisters.FaultRecordBytes;
}

using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>A driver for Intel VT-d: legacy or scalable mode, invalidation through a queue or, in legacy mode, through registers.</summary>
/// <typeparam name="TMemory">The memory that holds its tables and its queues.</typeparam>
/// <remarks>
/// <para><b>Address spaces.</b> In scalable mode a device has one for its requests without a PASID and one for each PASID.
/// The hardware takes the entry of PASID 0 for the former (RID_PASID), and refuses requests that name it.</para>
/// <para><b>Devices with TLBs of their own</b> are made known by <see cref="TryEnableAts"/>. Where they ask for pages, their accesses
/// wait: <see cref="TryTakeFault"/> gives them, <see cref="EndFault"/> ends them, and so does a detach. A request that finds the queue
/// full is not lost: the device asks again.</para>
/// <para><b>Cost.</b> A change of a table costs at most four commands for each range, domain and, with first-stage tables,
/// PASID under which the domain is attached, as many for each of the domain's devices that has a TLB, and one wait for all of them. Where first-stage
/// tables are nested a change of the second-stage one costs a device with a TLB all that it has there, by one command.</para>
/// <para><b>Threads.</b> As <see cref="IIommu"/>.</para>
/// <para><b>Source.</b> Intel Virtualization Technology for Directed I/O; the sections are named where a rule is used.</para>
/// </remarks>
public sealed partial class VtdDriver<TMemory> : IIommu
    where TMemory : struct, IPhysicalMemory
{
    private readonly TMemory _memory;
    private readonly IMmio _registers;
    private readonly IFrameSource _frames;
    private readonly VtdCapabilities _capabilities;
    private readonly bool _isScalable;
    private readonly bool _usesQueue;
    private readonly GlobalCommand _command;
    private readonly IInvalidations _invalidations;
    private readonly IDeviceTables _tables;
    private readonly FaultRecords _faults;
    private readonly DeviceTlbs _tlbs = new();
    private readonly PageRequestQueue<TMemory>? _pageRequests;
    private readonly PhysAddr[] _otherFrames;
    private readonly bool _tracksUse;

    private VtdDriver(
        TMemory memory, IMmio registers, IFrameSource frames, VtdCapabilities capabilities, VtdDriverOptions options, TableFormat[] formats, PhysAddr[] owned)
    {
        _memory = memory;
        _registers = registers;
        _frames = frames;
        _capabilities = capabilities;
        _isScalable = options.Scalable;
        _tracksUse = options.TracksUse && capabilities.SecondStageAccessedDirty;
        _command = new(registers, options.WaitPolicy);
        _faults = new(registers, capabilities);
        _events = new(registers);
        _otherFrames = owned[1..];
        _usesQueue = UsesQueue(capabilities, options);
        _invalidations = _usesQueue
            ? new InvalidationQueue<TMemory>(memory, registers, _command, capabilities, options.WaitPolicy, owned[1], owned[2], _tlbs, _isScalable)
            : new InvalidationRegisters(registers, _command, capabilities, options.WaitPolicy);
        if (options.PageRequestQueueBytes != 0)
            _pageRequests = new(memory, registers, _invalidations, PhysRange.FromLength(owned[3], options.PageRequestQueueBytes));
        PasidCount = _isScalable ? Math.Min(capabilities.PasidCount, options.MaximumPasidCount) : 0;
        _tables = _isScalable
            ? new ScalableTables<TMemory>(
                memory, frames, owned[0], capabilities, PasidCount, _tracksUse)
            : new ContextTables<TMemory>(memory, frames, owned[0], capabilities.MostSecondStageLevels);
        Formats = formats;
    }

    /// <summary>Second-stage tables first, of four levels before others; then, in scalable mode, first-stage tables.</summary>
    public IReadOnlyList<TableFormat> Formats { get; }

    /// <summary>In legacy mode none. PASID 0 cannot be attached: the hardware takes its entry for requests without a PASID.</summary>
    public uint PasidCount { get; }

    /// <summary>The interrupt address range: requests to it are interrupts and are never remapped.</summary>
    /// <remarks><b>Source.</b> VT-d specification, "Handling Requests to Interrupt Address Range".</remarks>
    public IReadOnlyList<IovaRange> ReservedRegions { get; } = [new(new(0xFEE0_0000), new(0xFEEF_FFFF))];

    /// <inheritdoc/>
    public bool CachesAbsent => _capabilities.CachingMode;

    /// <summary>The architecture's version: major in bits 7:4, minor in bits 3:0.</summary>
    public uint HardwareVersion => _registers.Read32(VtdRegisters.Version);

    /// <summary>Takes an IOMMU into use: empty tables, caches that have forgotten everything, translation on. No device can reach memory after this.</summary>
    /// <param name="memory">Where tables and queue are; the IOMMU must see it at the same addresses.</param>
    /// <param name="registers">The IOMMU's register page.</param>
    /// <param name="frames">
    /// Gives the frames: three, or one without an invalidation queue, and those of the page request queue; one for each bus, in scalable mode each half of a bus, that has a device attached; and in
    /// scalable mode a directory for each device (see <see cref="VtdDriverOptions.MaximumPasidCount"/>) and one for each 64
    /// PASIDs of which some were attached.
    /// </param>
    /// <param name="options">How the driver works.</param>
    /// <param name="driver">The running driver.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if an option is outside its range; <see cref="VcmmError.NoDevice"/> if the hardware has no
    /// scalable mode with queued invalidation or page requests (with draining) where they are asked for, walks no tables that the
    /// driver makes, or needs its write buffer flushed; <see cref="VcmmError.NoMemory"/>; <see cref="VcmmError.HardwareFailure"/>
    /// if it does not answer.
    /// </returns>
    public static VcmmError TryStart(TMemory memory, IMmio registers, IFrameSource frames, VtdDriverOptions options, out VtdDriver<TMemory>? driver)
    {
        ArgumentNullException.ThrowIfNull(registers);
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentNullException.ThrowIfNull(options);
        driver = null;
        if (!options.IsValid) return VcmmError.Invalid;
        var capabilities = new VtdCapabilities(registers.Read64(VtdRegisters.Capability), registers.Read64(VtdRegisters.ExtendedCapability));
        if (capabilities.NeedsWriteBufferFlush) return VcmmError.NoDevice;
        // The registers know neither PASIDs nor the TLBs of devices: "Register-based Invalidation Interface".
        if (options.Scalable && (!capabilities.ScalableMode || !capabilities.QueuedInvalidation)) return VcmmError.NoDevice;
        if (options.PageRequestQueueBytes != 0 && !capabilities.PageRequests) return VcmmError.NoDevice;
        TableFormat[] formats = VtdFormats.Of(capabilities, options.Scalable);
        if (formats.Length == 0) return VcmmError.NoDevice;

        // The root table, and where there are queues the queue, the queue's status words, and the page request queue.
        var owned = new PhysAddr[!UsesQueue(capabilities, options) ? 1 : options.PageRequestQueueBytes == 0 ? 3 : 4];
        for (int i = 0; i < owned.Length; i++)
        {
            ulong byteCount = i == 3 ? options.PageRequestQueueBytes : FrameAllocator.FrameBytes;
            VcmmError error = frames.TryAllocate(byteCount, out owned[i]);
            if (error != VcmmError.None)
            {
                for (int j = 0; j < i; j++) frames.Free(owned[j]);
                return error;
            }

            memory.ZeroFrames(owned[i], byteCount);
        }

        var started = new VtdDriver<TMemory>(memory, registers, frames, capabilities, options, formats, owned);
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
        _events.DisableAll();
        _pageRequests?.Stop();
        FreeFrames();
    }

    /// <summary>
    /// Says that a device has a TLB of its own, and whether it asks for pages. Call it before an address space of the device is
    /// attached, and enable ATS and PRI in the device's configuration space after that: the attachment lets it ask.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="capability">What its configuration space says.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if the hardware takes no translation requests, or has no invalidation queue in use, or page requests where the device makes
    /// them: there must be a queue for them (<see cref="VtdDriverOptions.PageRequestQueueBytes"/>);
    /// <see cref="VcmmError.Invalid"/> if the id or the depth is outside its range; <see cref="VcmmError.Busy"/> if it is known
    /// already, or an address space of it is attached.
    /// </returns>
    /// <remarks>
    /// An invalidation of a domain then reaches the TLBs of the domain's devices too: for each at most as many commands again as
    /// for the domain, in the same wait. <b>Threads.</b> As <see cref="Attach"/>.
    /// <para><b>Source.</b> VT-d specification, "Support For Device-TLBs".</para>
    /// </remarks>
    public VcmmError TryEnableAts(StreamId device, AtsCapability capability)
    {
        ArgumentNullException.ThrowIfNull(capability);
        if (!CanIdentify(device) || capability.InvalidateQueueDepth is < 1 or > 32) return VcmmError.Invalid;
        if (!_capabilities.DeviceTlbs || !_usesQueue || (capability.PageRequests && _pageRequests is null)) return VcmmError.NoDevice;
        return !_tables.IsAttached(device) && _tlbs.TryEnable(device, capability) ? VcmmError.None : VcmmError.Busy;
    }

    /// <summary>Says that a device has a TLB of its own.</summary>
    /// <exception cref="VcmmException">As <see cref="TryEnableAts"/>.</exception>
    public void EnableAts(StreamId device, AtsCapability capability) => VcmmException.ThrowIf(TryEnableAts(device, capability), nameof(EnableAts));

    /// <inheritdoc/>
    /// <remarks>
    /// First those that the hardware recorded, then those that wait in the page request queue. Behind the last of the former an invalidation queue that stands still at an
    /// error is started anew, and the hardware waited for: its error keeps the event up, so that no fault would interrupt, and whoever takes all has missed none.
    /// <b>Source.</b> VT-d specification, "Fault Recording Registers", "Fault Status Register", "Fault Reason Encodings" and "Recoverable Fault Reporting".
    /// </remarks>
    public bool TryTakeFault(out DeviceFault fault)
    {
        if (_faults.TryTake(out fault, out bool hasStopped)) return true;
        if (hasStopped && _invalidations.TryClearErrors() && _faults.TryTake(out fault, out _)) return true;
        return _pageRequests?.TryTake(out fault) ?? false;
    }

    /// <summary>
    /// Whether faults were lost, because all records were full, since this was last asked. From then until all records have been taken
    /// (<see cref="TryTakeFault"/>) the hardware records nothing. Any thread may call.
    /// </summary>
    public bool TakeFaultOverflow() => _faults.TakeOverflow();

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The access does not wait, or was not taken from this IOMMU.</exception>
    /// <remarks><b>Source.</b> VT-d specification, "Servicing Recoverable Faults" and "Page Group Response Descriptor".</remarks>
    public VcmmError EndFault(in DeviceFault fault, bool retry)
    {
        if (!fault.IsStalled || _pageRequests is null) throw new InvalidOperationException($"{fault} does not wait");
        return _pageRequests.End(fault, retry);
    }

    private static bool UsesQueue(VtdCapabilities capabilities, VtdDriverOptions options) => capabilities.QueuedInvalidation && options.QueuedInvalidation;

    private bool TryEnable()
    {
        MaskFormerEvents();
        // In scalable mode the queue is set up first: the hardware takes its descriptors' width from there ("Queued
        // Invalidation Interface"), and the mode must not change under translations ("Root Table Address Register").
        if (_isScalable && (!TryLeaveOtherMode() || !_invalidations.TryStart())) return false;
        _pageRequests?.Start();
        _registers.Write64(VtdRegisters.RootTableAddress, _tables.RootPointer);
        return _command.TrySet(VtdRegisters.SetRootTablePointer)
            && (_isScalable || _invalidations.TryStart())
            && _invalidations.TryForgetEverything()
            && _command.TrySet(VtdRegisters.TranslationEnable);
    }

    /// <summary>Whoever had the hardware before may have left its interrupts on: they would go where he listened.</summary>
    private void MaskFormerEvents()
    {
        _events.MaskFormer(VtdEvent.Fault);
        if (_capabilities.QueuedInvalidation) _events.MaskFormer(VtdEvent.InvalidationCompletion);
        if (_capabilities.PageRequests) _events.MaskFormer(VtdEvent.PageRequest);
    }

    private bool TryLeaveOtherMode()
    {
        bool isOn = _command.IsSet(VtdRegisters.TranslationEnable);
        ulong mode = _registers.Read64(VtdRegisters.RootTableAddress) & VtdRegisters.TranslationTableMode;
        return !isOn || mode == VtdRegisters.ScalableTranslation || _command.TryClear(VtdRegisters.TranslationEnable);
    }

    private void FreeFrames()
    {
        _tables.Free();
        foreach (PhysAddr frame in _otherFrames) _frames.Free(frame);
    }
}

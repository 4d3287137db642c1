using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    private const ulong LowHalf = 0xFFFF_FFFF;
    private const ulong HighHalf = ~LowHalf;
    private readonly EventRegisters _completionEvent;

    // Set under _gate; an access looks at them without it.
    private volatile Settings _settings = new(TranslationEnabled: false, default);

    // Under _gate.
    private ulong _enableChanged;
    private bool _rootSet;
    private ulong _rootChanged;
    private ulong _rootTableAddress;
    private ulong _contextCommand;
    private ulong _invalidateAddress;
    private ulong _invalidateCommand;
    private bool _hasRoomAgain;

    /// <inheritdoc/>
    public uint Read32(uint offset)
    {
        CheckOffset(offset, sizeof(uint));
        lock (_gate)
        {
            ulong granule = Load(offset & ~7u);
            return (uint)((offset & 4) == 0 ? granule & LowHalf : granule >> 32);
        }
    }

    /// <inheritdoc/>
    public ulong Read64(uint offset)
    {
        CheckOffset(offset, sizeof(ulong));
        lock (_gate) return Load(offset);
    }

    /// <inheritdoc/>
    public void Write32(uint offset, uint value)
    {
        CheckOffset(offset, sizeof(uint));
        bool isHigh = (offset & 4) != 0;
        Write(offset & ~7u, isHigh ? (ulong)value << 32 : value, isHigh ? HighHalf : LowHalf);
    }

    /// <inheritdoc/>
    public void Write64(uint offset, ulong value)
    {
        CheckOffset(offset, sizeof(ulong));
        Write(offset, value, ulong.MaxValue);
    }

    private static void CheckOffset(uint offset, uint byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, VtdRegisters.PageBytes - byteCount);
        if (offset % byteCount != 0) throw new ArgumentOutOfRangeException(nameof(offset), offset, $"not a multiple of {byteCount}");
    }

    private void Write(uint granule, ulong value, ulong lanes)
    {
        bool rings, hasRoom;
        lock (_gate)
        {
            rings = Store(granule, value, lanes) && _queue.IsRunning;
            hasRoom = _hasRoomAgain;
            _hasRoomAgain = false;
        }

        if (rings) Ring();
        if (hasRoom) AskAgain();
        SendMessages();
    }

    private ulong Load(uint granule) => granule switch
    {
        VtdRegisters.Version => 0x10,
        VtdRegisters.Capability => _options.Capability,
        VtdRegisters.ExtendedCapability => _options.ExtendedCapability,
        VtdRegisters.GlobalCommand => (ulong)GlobalStatus << 32,
        VtdRegisters.RootTableAddress => _rootTableAddress,
        VtdRegisters.ContextCommand => LoadContextCommand(),
        VtdRegisters.FaultStatus => (ulong)_faults.Status << 32,
        VtdRegisters.FaultEventControl => _faults.Event.ControlAndData,
        VtdRegisters.FaultEventAddress => _faults.Event.Address,
        VtdRegisters.QueueHead => _queue.Consumer,
        VtdRegisters.QueueTail => _queue.Producer,
        VtdRegisters.QueueAddress => _queueAddress,
        VtdRegisters.CompletionStatus => (ulong)_completionEvent.Line.Conditions << 32,
        // Without a queue all of its registers but this one have never been anything but 0.
        VtdRegisters.CompletionEventControl => _options.QueuedInvalidation ? _completionEvent.ControlAndData : 0,
        VtdRegisters.CompletionEventAddress => _completionEvent.Address,
        VtdRegisters.QueueErrorRecord => _faults.ErrorRecord,
        >= VtdRegisters.PageRequestHead and <= VtdRegisters.PageRequestEventAddress when _options.HasPageRequests => LoadPageRequests(granule),
        VtdRegisters.InvalidateAddress => _invalidateAddress,
        VtdRegisters.InvalidateCommand => LoadInvalidateCommand(),
        >= VtdRegisters.FaultRecords => _faults.Load(granule - VtdRegisters.FaultRecords),
        _ => 0,
    };

    /// <summary>
    /// GSTS_REG. A new setting of TES and RTPS is reported when the accesses that went by the old one are over
    /// (Global Command Register, TE and SRTP).
    /// </summary>
    private uint GlobalStatus
    {
        get
        {
            bool isSettled = !_caches.InFlight.AnyBefore(_enableChanged);
            bool enabled = _settings.TranslationEnabled == isSettled;
            bool rootSet = _rootSet && !_caches.InFlight.AnyBefore(_rootChanged);
            return (enabled ? VtdRegisters.TranslationEnable : 0)
                | (rootSet ? VtdRegisters.SetRootTablePointer : 0)
                | (_queue.IsOn ? VtdRegisters.QueuedInvalidationEnable : 0);
        }
    }

    /// <summary>CCMD_REG: ICC reads set until the accesses that the invalidation must wait for are over.</summary>
    private ulong LoadContextCommand()
    {
        if (_caches.IsDrained) _contextCommand &= ~VtdRegisters.Bit63;
        return _contextCommand;
    }

    /// <summary>IOTLB_REG: IVT reads set until the accesses that the invalidation must wait for are over.</summary>
    private ulong LoadInvalidateCommand()
    {
        if (_caches.IsDrained) _invalidateCommand &= ~VtdRegisters.Bit63;
        return _invalidateCommand;
    }

    /// <summary>Writes the lanes of a granule; true if the queue may have something to consume after it.</summary>
    private bool Store(uint granule, ulong value, ulong lanes)
    {
        switch (granule)
        {
            case VtdRegisters.GlobalCommand when (lanes & LowHalf) != 0:
                Command((uint)(value & LowHalf));
                return true;
            case VtdRegisters.RootTableAddress:
                _rootTableAddress = Merge(_rootTableAddress, value, lanes);
                break;
            case VtdRegisters.ContextCommand:
                // Software must not touch a command that is under way; what it writes then is lost.
                if ((LoadContextCommand() & VtdRegisters.Bit63) != 0) break;
                _contextCommand = Merge(_contextCommand, value, lanes);
                if ((lanes & _contextCommand & VtdRegisters.Bit63) != 0) CommandContexts();
                break;
            case VtdRegisters.FaultStatus:
                if (!_faults.ClearStatus((uint)(value >> 32))) break;
                CheckTail();
                return true;
            case VtdRegisters.FaultEventControl:
                _faults.Event.StoreControlAndData(Merge(_faults.Event.ControlAndData, value, lanes));
                break;
            case VtdRegisters.FaultEventAddress:
                _faults.Event.StoreAddress(Merge(_faults.Event.Address, value, lanes));
                break;
            case >= VtdRegisters.QueueTail and <= VtdRegisters.CompletionEventAddress when !_options.QueuedInvalidation:
                break;
            case VtdRegisters.QueueTail when (lanes & LowHalf) != 0:
                MoveTail(value & lanes & 0x7_FFFF);
                return true;
            case VtdRegisters.QueueAddress when !_queue.IsOn:
                PlaceQueue(Merge(_queueAddress, value, lanes));
                break;
            case VtdRegisters.CompletionStatus when (lanes & value & 1UL << 32) != 0:
                _completionEvent.Line.Serve(VtdRegisters.WaitCompleted);
                break;
            case VtdRegisters.CompletionEventControl:
                _completionEvent.StoreControlAndData(Merge(_completionEvent.ControlAndData, value, lanes));
                break;
            case VtdRegisters.CompletionEventAddress:
                _completionEvent.StoreAddress(Merge(_completionEvent.Address, value, lanes));
                break;
            case >= VtdRegisters.PageRequestHead and <= VtdRegisters.PageRequestEventAddress when _options.HasPageRequests:
                StorePageRequests(granule, value, lanes);
                break;
            case VtdRegisters.InvalidateAddress:
                _invalidateAddress = Merge(_invalidateAddress, value, lanes);
                break;
            case VtdRegisters.InvalidateCommand:
                if ((LoadInvalidateCommand() & VtdRegisters.Bit63) != 0) break;
                _invalidateCommand = Merge(_invalidateCommand, value, lanes);
                if ((lanes & _invalidateCommand & VtdRegisters.Bit63) != 0) CommandIotlb();
                break;
            // Survives as `> VtdRegisters.FaultRecords`: equivalent, what is first is the low half of a record, which takes nothing
            case >= VtdRegisters.FaultRecords:
                _faults.Store(granule - VtdRegisters.FaultRecords, value & lanes);
                break;
        }

        return false;
    }

    /// <summary>There is none of these registers without page requests.</summary>
    private ulong LoadPageRequests(uint granule) => granule switch
    {
        VtdRegisters.PageRequestHead => _pageRequests.Head,
        VtdRegisters.PageRequestTail => _pageRequests.Tail,
        VtdRegisters.PageRequestAddress => _pageRequests.Address,
        VtdRegisters.PageRequestStatus => (ulong)_pageRequests.Status << 32,
        VtdRegisters.PageRequestEventControl => _pageRequests.Event.ControlAndData,
        VtdRegisters.PageRequestEventAddress => _pageRequests.Event.Address,
        _ => 0,
    };

    private void StorePageRequests(uint granule, ulong value, ulong lanes)
    {
        switch (granule)
        {
            case VtdRegisters.PageRequestHead:
                _pageRequests.Head = Merge(_pageRequests.Head, value, lanes);
                break;
            case VtdRegisters.PageRequestTail:
                _pageRequests.Tail = Merge(_pageRequests.Tail, value, lanes);
                break;
            case VtdRegisters.PageRequestAddress:
                _pageRequests.Address = Merge(_pageRequests.Address, value, lanes);
                break;
            case VtdRegisters.PageRequestStatus:
                _hasRoomAgain = _pageRequests.ClearStatus((uint)((value & lanes) >> 32));
                break;
            case VtdRegisters.PageRequestEventControl:
                _pageRequests.Event.StoreControlAndData(Merge(_pageRequests.Event.ControlAndData, value, lanes));
                break;
            case VtdRegisters.PageRequestEventAddress:
                _pageRequests.Event.StoreAddress(Merge(_pageRequests.Event.Address, value, lanes));
                break;
        }
    }

    private static ulong Merge(ulong old, ulong value, ulong lanes) => (old & ~lanes) | (value & lanes);

    /// <summary>
    /// GCMD_REG. TE and QIE are states: each write says what they are from now on. SRTP acts once. WBF asks for a write
    /// buffer flush, which is done at once as the unit has no write buffer (CAP.RWBF is clear).
    /// </summary>
    private void Command(uint value)
    {
        if ((value & VtdRegisters.SetRootTablePointer) != 0)
        {
            _caches.BeginChange();
            Set(_settings.TranslationEnabled, new(_rootTableAddress));
            _rootSet = true;
            _rootChanged = _caches.EndChange();
        }

        SwitchQueue(_options.QueuedInvalidation && (value & VtdRegisters.QueuedInvalidationEnable) != 0);
        bool enabled = (value & VtdRegisters.TranslationEnable) != 0;
        if (enabled == _settings.TranslationEnabled) return;
        _caches.BeginChange();
        Set(enabled, _settings.Root);
        _enableChanged = _caches.EndChange();
        if (!enabled) _faults.ResetIndex();
    }

    /// <summary>
    /// CCMD_REG, register-based invalidation. While the queue is on, and outside of legacy mode, software must use that instead;
    /// the command then does nothing, and CAIG says so.
    /// </summary>
    private void CommandContexts()
    {
        var granularity = (Granularity)(_contextCommand >> 61 & 3);
        if (_queue.IsOn || _settings.Root.Mode != 0) granularity = Granularity.Reserved;
        if (granularity == Granularity.Reserved)
        {
            _contextCommand = Merge(_contextCommand, 0, VtdRegisters.Bit63 | 3UL << 59);
            return;
        }

        _caches.InvalidateContexts(
            granularity,
            new((ushort)(_contextCommand & 0xFFFF & ~_options.BeyondDomainId)),
            (ushort)(_contextCommand >> 16 & 0xFFFF),
            (int)(_contextCommand >> 32 & 3),
            isScalable: false);
        _contextCommand = Merge(_contextCommand, (ulong)granularity << 59, 3UL << 59);
    }

    /// <summary>IOTLB_REG, register-based invalidation; IAIG says what was done, 0 for nothing.</summary>
    private void CommandIotlb()
    {
        var granularity = (Granularity)(_invalidateCommand >> 60 & 3);
        var pages = new PageSelection(_invalidateAddress);
        bool isMaskTooLarge = granularity == Granularity.Selective && pages.AddressMask > _options.MaximumAddressMask;
        if (_queue.IsOn || _settings.Root.Mode != 0 || isMaskTooLarge) granularity = Granularity.Reserved;
        if (granularity == Granularity.Reserved)
        {
            _invalidateCommand = Merge(_invalidateCommand, 0, VtdRegisters.Bit63 | 3UL << 57);
            return;
        }

        _caches.InvalidateIotlb(
            granularity,
            new((ushort)(_invalidateCommand >> 32 & 0xFFFF & ~_options.BeyondDomainId)),
            pages,
            drainReads: (_invalidateCommand & 1UL << 49) != 0,
            drainWrites: (_invalidateCommand & 1UL << 48) != 0);
        _invalidateCommand = Merge(_invalidateCommand, (ulong)granularity << 57, 3UL << 57);
    }

    /// <summary>What software has set for all accesses; those that have begun go on with what they saw.</summary>
    /// <param name="TranslationEnabled">GSTS.TES.</param>
    /// <param name="Root">The root table that the unit was given.</param>
    private sealed record Settings(bool TranslationEnabled, RootPointer Root)
    {
        /// <summary>Whether requests without PASID are translated as legacy mode does.</summary>
        public bool IsPlain { get; init; }
    }

    private void Set(bool translationEnabled, RootPointer root)
    {
        bool isPlain = translationEnabled && root.Mode == 0 && root.Check(_options, hasPasid: false) == VtdFaultReason.None;
        _settings = new(translationEnabled, root) { IsPlain = isPlain };
    }
}

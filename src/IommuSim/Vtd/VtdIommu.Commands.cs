using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    // Held over a whole command, so that commands take effect one after the other; taken before _gate, never after it.
    private readonly object _commandGate = new();
    private bool _executing;

    // The queue, under _gate.
    private bool _queueEnabled;
    private ulong _queueAddress;
    private ulong _queueHead;
    private ulong _queueTail;
    private ulong _queueGeneration;
    private bool _tailRefused;
    private bool _waitCompleted;

    // The first of the devices that have not answered an invalidation of their TLBs since the last wait.
    private ushort? _unanswered;

    // Set under _gate; the end of an access looks at it without it.
    private volatile bool _waitHeld;

    // Both are powers of two.
    private ulong QueueBytes => 4096UL << (int)(_queueAddress & 7);

    /// <summary>IQA_REG.DW.</summary>
    private bool IsWide => (_queueAddress & 1 << 11) != 0;

    private ulong DescriptorBytes => IsWide ? InvalidationDescriptor.WideBytes : InvalidationDescriptor.Bytes;

    private bool IsTailValid => _queueTail < QueueBytes && (_queueTail & (DescriptorBytes - 1)) == 0;

    /// <summary>
    /// Which types of descriptors are valid: in scalable and in abort-dma mode only wide ones are, in legacy mode wide ones where the unit has
    /// one of those to switch to.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Hardware Handling of Queued Invalidation Interface Errors, List of Valid
    /// Descriptor Types for Each Mode; Invalidation Queue Error Record Register, IQEI.</remarks>
    private DescriptorSet ValidDescriptors
    {
        get
        {
            if (!_settings.Root.IsModeValid(_options) || (IsWide && !_options.HasWideDescriptors)) return DescriptorSet.None;
            if (_settings.Root.Mode == 0) return DescriptorSet.Legacy;
            return IsWide ? DescriptorSet.Scalable : DescriptorSet.None;
        }
    }

    private bool HasPending => IsTailValid && _queueHead != _queueTail;

    private PhysAddr HeadAddress => new((_queueAddress & PageLevels.FrameMask) | _queueHead);

    private bool IsQueueRunning => _queueEnabled && !_faults.StopsQueue;

    /// <summary>
    /// Consumes the descriptor at the head of the invalidation queue.
    /// </summary>
    /// <returns>
    /// False if nothing could be consumed: none is pending, the queue is off or stopped by an error (also by this call), or
    /// a wait descriptor has to let an access end first. In the last case the doorbell rings when it has.
    /// </returns>
    /// <remarks><b>Source.</b> Intel VT-d specification, Queued Invalidation Interface.</remarks>
    public bool ProcessNextCommand() => Process(most: 1) == 1;

    /// <summary>Consumes descriptors until <see cref="ProcessNextCommand"/> answers false.</summary>
    /// <returns>How many were consumed.</returns>
    public int ProcessCommands() => Process(int.MaxValue);

    private int Process(int most)
    {
        int count = ProcessAlone(most);
        SendMessages();
        return count;
    }

    private int ProcessAlone(int most)
    {
        lock (_commandGate)
        {
            // A step of a command that itself asks for the next one: it is not its turn.
            if (_executing) return 0;
            _executing = true;
            try
            {
                int count = 0;
                while (count < most)
                {
                    int consumed = FetchAndExecute(most - count);
                    if (consumed == 0) break;
                    count += consumed;
                }

                return count;
            }
            finally
            {
                _executing = false;
            }
        }
    }

    /// <summary>Consumes the descriptor at the head, and where no step is announced the invalidations after it that follow on.</summary>
    /// <returns>How many, at most <paramref name="most"/>.</returns>
    private int FetchAndExecute(int most)
    {
        // Without the lock: the head is moved by this thread alone, unless the generation moves, too; who moves the tail rings after it.
        ulong generation = Volatile.Read(ref _queueGeneration);
        if (!IsQueueRunning || !HasPending) return 0;
        PhysAddr at = HeadAddress;
        bool isWide = IsWide;
        DescriptorSet valid = ValidDescriptors;
        _steps.At(SimStep.CommandFetch, at.Value);
        DescriptorKind kind = Fetch(at, isWide, valid, out InvalidationDescriptor descriptor);
        _steps.At(SimStep.CommandExecute, descriptor.Low);
        if (kind == DescriptorKind.Wait) return Wait(descriptor, generation) ? 1 : 0;
        return Execute(kind, descriptor, generation, most);
    }

    private DescriptorKind Fetch(PhysAddr at, bool isWide, DescriptorSet valid, out InvalidationDescriptor descriptor) =>
        TryFetch(at, isWide, out descriptor) ? descriptor.Classify(_options, valid) : DescriptorKind.Unreachable;

    private bool TryFetch(PhysAddr at, bool isWide, out InvalidationDescriptor descriptor)
    {
        descriptor = default;
        if (!_memory.TryRead64(at, out ulong low) || !_memory.TryRead64(new(at.Value | 8), out ulong high)) return false;
        descriptor = new(low, high);
        if (!isWide) return true;
        if (!_memory.TryRead64(new(at.Value | 16), out ulong third) || !_memory.TryRead64(new(at.Value | 24), out ulong fourth)) return false;
        descriptor = new(low, high, third | fourth);
        return true;
    }

    private int Execute(DescriptorKind kind, InvalidationDescriptor descriptor, ulong generation, int most)
    {
        lock (_gate)
        {
            if (generation != _queueGeneration || !IsQueueRunning) return 0;
            if (TryInvalidate(kind, descriptor)) return 1 + FollowOn(most - 1);
            switch (kind)
            {
                case DescriptorKind.DeviceTlb:
                    if (!_caches.InvalidateDeviceTlb(descriptor.Source, pasid: null, isOfAllPasids: false, descriptor.DevicePages))
                        _unanswered ??= descriptor.Source;
                    break;
                case DescriptorKind.PasidDeviceTlb:
                    if (!_caches.InvalidateDeviceTlb(descriptor.PasidDevice, descriptor.Pasid, descriptor.IsOfAllPasids, descriptor.PasidDevicePages))
                        _unanswered ??= descriptor.PasidDevice;
                    break;
                case DescriptorKind.PageGroupResponse:
                    _caches.Counts.PageGroupResponses++;
                    break;
                default:
                    StopQueue(WhyInvalid(kind, descriptor));
                    return 0;
            }

            AdvanceHead();
        }

        // The device may at once do what it was waiting for, and that takes the unit's locks.
        if (kind == DescriptorKind.PageGroupResponse) Deliver(descriptor.Response);
        else LetRefetch(kind == DescriptorKind.DeviceTlb ? descriptor.Source : descriptor.PasidDevice);
        return 1;
    }

    /// <summary>The invalidations at the head, under the lock that is held already: to take it for each costs more than they do.</summary>
    private int FollowOn(int most)
    {
        // Somebody else may want the lock.
        const int MostUnderOneLock = 32;
        // A step would have to be announced, and no lock be held then.
        if (typeof(TSteps) != typeof(NoSteps)) return 0;
        DescriptorSet valid = ValidDescriptors;
        int count = 0;
        _caches.Hold();
        try
        {
            while (count < most && count < MostUnderOneLock && HasPending
                && TryInvalidate(Fetch(HeadAddress, IsWide, valid, out InvalidationDescriptor descriptor), descriptor)) count++;
        }
        finally
        {
            _caches.Release();
        }

        return count;
    }

    /// <summary>An invalidation of the unit's own caches, which takes nothing but the lock. False if it is something else.</summary>
    private bool TryInvalidate(DescriptorKind kind, in InvalidationDescriptor descriptor)
    {
        switch (kind)
        {
            case DescriptorKind.Context:
                _caches.InvalidateContexts(
                    descriptor.Granularity, descriptor.DomainOf(_options), descriptor.Source, descriptor.FunctionMask, _settings.Root.IsScalable);
                break;
            case DescriptorKind.PasidCache:
                _caches.InvalidatePasids(descriptor.PasidGranularity, descriptor.DomainOf(_options), descriptor.Pasid);
                break;
            case DescriptorKind.PasidIotlb:
                _caches.InvalidatePasidIotlb(descriptor.Granularity, VtdTags.Of(descriptor.DomainOf(_options), descriptor.Pasid.Value), descriptor.Pages);
                break;
            case DescriptorKind.Iotlb:
                _caches.InvalidateIotlb(
                    descriptor.Granularity, descriptor.DomainOf(_options), descriptor.Pages, descriptor.DrainReads, descriptor.DrainWrites);
                break;
            default:
                return false;
        }

        AdvanceHead();
        return true;
    }

    /// <summary>
    /// Invalidation wait: completes when everything before it has, accesses in flight included, and with PD when the page
    /// requests on their way are in their queue. Where a device has not answered, that is seen here: its time is over.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Hardware Handling of Queued Invalidation Interface Errors, Device-TLB Invalidation
    /// Response Time-out: the wait is aborted, and the head stays at it.</remarks>
    private bool Wait(InvalidationDescriptor descriptor, ulong generation)
    {
        lock (_gate)
        {
            if (generation != _queueGeneration || !IsQueueRunning) return false;
            if (_unanswered is { } late)
            {
                _unanswered = null;
                _caches.Counts.InvalidationTimeouts++;
                _faults.SetTimeout(late);
                return false;
            }

            if (MustHold(descriptor))
            {
                // Say it, then look again: an access that ends meanwhile sees what was said, or is seen to be over.
                _waitHeld = true;
                Interlocked.MemoryBarrierProcessWide();
                if (MustHold(descriptor))
                {
                    _caches.Counts.WaitsHeld++;
                    return false;
                }

                _waitHeld = false;
            }
        }

        if (descriptor.StatusWrite)
        {
            _steps.At(SimStep.StatusWrite, descriptor.StatusAddress.Value);
            // A posted write to where no memory is goes nowhere; the unit does not learn of it.
            if (_memory.Contains(new(descriptor.StatusAddress, new(descriptor.StatusAddress.Value | 3))))
                _memory.Write32(descriptor.StatusAddress, descriptor.StatusData);
        }

        lock (_gate)
        {
            if (generation != _queueGeneration) return false;
            _caches.Counts.Waits++;
            AdvanceHead();
            if (descriptor.InterruptFlag && !_waitCompleted)
            {
                _waitCompleted = true;
                _completionEvent.Raise();
            }

            return true;
        }
    }

    private bool MustHold(in InvalidationDescriptor descriptor) =>
        !_caches.IsDrained || (descriptor.DrainPageRequests && _caches.InFlight.AnyPageRequest);

    private void AdvanceHead() => _queueHead = (_queueHead + DescriptorBytes) & (QueueBytes - 1);

    /// <summary>
    /// FSTS.IQE: the head stays at the descriptor. When software has put a valid one in its place and cleared IQE, the
    /// queue goes on.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Hardware Handling of Queued Invalidation Interface Errors.</remarks>
    private void StopQueue(QueueErrorInfo info)
    {
        _caches.Counts.QueueErrors++;
        _faults.SetQueueError(info);
    }

    private QueueErrorInfo WhyInvalid(DescriptorKind kind, in InvalidationDescriptor descriptor)
    {
        if (kind == DescriptorKind.Unreachable) return QueueErrorInfo.FetchFailed;
        DescriptorSet valid = ValidDescriptors;
        if (valid == DescriptorSet.None) return _settings.Root.IsModeValid(_options) ? QueueErrorInfo.WidthInvalid : QueueErrorInfo.ModeInvalid;
        return descriptor.HasKnownType(_options, valid) ? QueueErrorInfo.Reserved : QueueErrorInfo.TypeInvalid;
    }

    private void MoveTail(ulong value)
    {
        _queueTail = value;
        _tailRefused = false;
        CheckTail();
    }

    /// <summary>A tail outside the queue, or between two descriptors, is a queue error, once for each time it is written.</summary>
    private void CheckTail()
    {
        if (!IsQueueRunning || IsTailValid || _tailRefused) return;
        _tailRefused = true;
        StopQueue(_queueTail < QueueBytes ? QueueErrorInfo.TailMisaligned : QueueErrorInfo.TailInvalid);
    }

    private void SwitchQueue(bool enabled)
    {
        if (enabled == _queueEnabled) return;
        _queueEnabled = enabled;
        _queueGeneration++;
        _waitHeld = false;
        _unanswered = null;
        // IQH_REG is 0 while queued invalidation is off.
        _queueHead = 0;
        _tailRefused = false;
        CheckTail();
    }
}

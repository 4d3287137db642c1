using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    private readonly CommandRing _queue;

    // IQA_REG and more of the queue, under _gate.
    private ulong _queueAddress;
    private bool _tailRefused;

    // The first of the devices that have not answered an invalidation of their TLBs since the last wait.
    private ushort? _unanswered;

    // Set under _gate; the end of an access looks at it without it.
    private volatile bool _waitHeld;

    /// <summary>IQA_REG.DW.</summary>
    private bool IsWide => IsWideAt(_queueAddress);

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
        int count = _queue.Consume(this, most);
        SendMessages();
        return count;
    }

    /// <summary>Consumes the descriptor at the head, and where no step is announced the invalidations after it that follow on.</summary>
    /// <returns>How many, at most <paramref name="most"/>.</returns>
    int ICommandConsumer.ConsumeNext(int most)
    {
        // Without the lock: the head is moved by this thread alone, unless the generation moves, too; who moves the tail rings after it.
        ulong generation = _queue.Generation;
        if (!_queue.IsRunning || !_queue.HasPending) return 0;
        PhysAddr at = _queue.NextAddress;
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
            if (!_queue.IsStill(generation)) return 0;
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

            _queue.Advance();
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
            // Survives as `count > …` and as `count <= MostUnderOneLock`: performance only, what does not follow on is consumed under a lock of its
            // own, and nobody depends on where the limit is
            while (count < most && count < MostUnderOneLock && _queue.HasPending
                && TryInvalidate(Fetch(_queue.NextAddress, IsWide, valid, out InvalidationDescriptor descriptor), descriptor)) count++;
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

        _queue.Advance();
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
            if (!_queue.IsStill(generation)) return false;
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

                // Survives as `true`: performance only, the end of the next access then rings for nothing
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
            if (generation != _queue.Generation) return false;
            _caches.Counts.Waits++;
            _queue.Advance();
            if (descriptor.InterruptFlag) _completionEvent.Line.Raise(VtdRegisters.WaitCompleted);
            return true;
        }
    }

    private bool MustHold(in InvalidationDescriptor descriptor) =>
        !_caches.IsDrained || (descriptor.DrainPageRequests && _caches.InFlight.AnyPageRequest);

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
        _queue.Producer = value;
        _tailRefused = false;
        CheckTail();
    }

    /// <summary>A tail outside the queue, or between two descriptors, is a queue error, once for each time it is written.</summary>
    private void CheckTail()
    {
        ulong tail = _queue.Producer;
        if (!_queue.IsRunning || _queue.Layout.IsEntry(tail) || _tailRefused) return;
        _tailRefused = true;
        StopQueue(_queue.Layout.IsWithin(tail) ? QueueErrorInfo.TailMisaligned : QueueErrorInfo.TailInvalid);
    }

    private void SwitchQueue(bool enabled)
    {
        if (enabled == _queue.IsOn) return;
        // IQH_REG is 0 while queued invalidation is off.
        _queue.Switch(enabled, consumer: 0);
        _waitHeld = false;
        _unanswered = null;
        _tailRefused = false;
        CheckTail();
    }

    /// <summary>IQA_REG: bits 10:3 are reserved.</summary>
    private void PlaceQueue(ulong address)
    {
        _queueAddress = address & ~0x7F8UL;
        _queue.Place(QueueAt(_queueAddress));
    }

    private static bool IsWideAt(ulong address) => (address & 1 << 11) != 0;

    /// <summary>The queue that IQA_REG says: 4 KiB times two to QS, at a multiple of 4 KiB.</summary>
    private static RingLayout QueueAt(ulong address)
    {
        int descriptorLog2 = IsWideAt(address) ? InvalidationDescriptor.WideBytesLog2 : InvalidationDescriptor.BytesLog2;
        return new(new(address & PageLevels.FrameMask), 12 + (int)(address & 7) - descriptorLog2, descriptorLog2, RingPositions.ByteOffset);
    }
}

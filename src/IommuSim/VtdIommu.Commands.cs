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
    private bool _waitHeld;
    private bool _waitCompleted;

    private ulong QueueBytes => 4096UL << (int)(_queueAddress & 7);

    private bool IsTailValid => _queueTail < QueueBytes && _queueTail % InvalidationDescriptor.Bytes == 0;

    private bool IsQueueRunning => _queueEnabled && !_faults.QueueError;

    /// <summary>
    /// Consumes the descriptor at the head of the invalidation queue.
    /// </summary>
    /// <returns>
    /// False if nothing could be consumed: none is pending, the queue is off or stopped by an error (also by this call), or
    /// a wait descriptor has to let an access end first. In the last case the doorbell rings when it has.
    /// </returns>
    /// <remarks><b>Source.</b> Intel VT-d specification, Queued Invalidation Interface.</remarks>
    public bool ProcessNextCommand()
    {
        lock (_commandGate)
        {
            // A step of a command that itself asks for the next one: it is not its turn.
            if (_executing) return false;
            _executing = true;
            try
            {
                return FetchAndExecute();
            }
            finally
            {
                _executing = false;
            }
        }
    }

    /// <summary>Consumes descriptors until <see cref="ProcessNextCommand"/> answers false.</summary>
    /// <returns>How many were consumed.</returns>
    public int ProcessCommands()
    {
        int count = 0;
        while (ProcessNextCommand()) count++;
        return count;
    }

    private bool FetchAndExecute()
    {
        PhysAddr at;
        ulong generation;
        bool isWide;
        lock (_gate)
        {
            if (!IsQueueRunning || !IsTailValid || _queueHead == _queueTail) return false;
            at = new((_queueAddress & VtdEntries.FrameMask) | _queueHead);
            isWide = (_queueAddress & 1 << 11) != 0;
            generation = _queueGeneration;
        }

        _steps.At(SimStep.CommandFetch, at.Value);
        ulong high = 0;
        bool fetched = _memory.TryRead64(at, out ulong low) && _memory.TryRead64(new(at.Value | 8), out high);
        var descriptor = new InvalidationDescriptor(low, high);
        // IQA_REG.DW asks for 256-bit descriptors, which only scalable mode has.
        DescriptorKind kind = fetched && !isWide ? descriptor.Classify(_options) : DescriptorKind.Invalid;
        _steps.At(SimStep.CommandExecute, low);
        return kind == DescriptorKind.Wait ? Wait(descriptor, generation) : Execute(kind, descriptor, generation);
    }

    private bool Execute(DescriptorKind kind, InvalidationDescriptor descriptor, ulong generation)
    {
        lock (_gate)
        {
            if (generation != _queueGeneration || !IsQueueRunning) return false;
            switch (kind)
            {
                case DescriptorKind.Context:
                    _caches.InvalidateContexts(
                        descriptor.Granularity, descriptor.Domain, descriptor.Source, descriptor.FunctionMask);
                    break;
                case DescriptorKind.Iotlb:
                    _caches.InvalidateIotlb(
                        descriptor.Granularity, descriptor.Domain, descriptor.Pages, descriptor.DrainReads, descriptor.DrainWrites);
                    break;
                default:
                    StopQueue();
                    return false;
            }

            AdvanceHead();
            return true;
        }
    }

    /// <summary>Invalidation wait: completes when everything before it has, accesses in flight included.</summary>
    private bool Wait(InvalidationDescriptor descriptor, ulong generation)
    {
        lock (_gate)
        {
            if (generation != _queueGeneration || !IsQueueRunning) return false;
            if (!_caches.IsDrained)
            {
                // Said under the same lock as the end of an access is, so that the end cannot slip past unseen.
                _waitHeld = true;
                _caches.Counts.WaitsHeld++;
                return false;
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

    private void AdvanceHead() => _queueHead = (_queueHead + InvalidationDescriptor.Bytes) % QueueBytes;

    /// <summary>
    /// FSTS.IQE: the head stays at the descriptor. When software has put a valid one in its place and cleared IQE, the
    /// queue goes on.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Hardware Handling of Queued Invalidation Interface Errors.</remarks>
    private void StopQueue()
    {
        _caches.Counts.QueueErrors++;
        _faults.SetQueueError();
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
        StopQueue();
    }

    private void SwitchQueue(bool enabled)
    {
        if (enabled == _queueEnabled) return;
        _queueEnabled = enabled;
        _queueGeneration++;
        _waitHeld = false;
        // IQH_REG is 0 while queued invalidation is off.
        _queueHead = 0;
        _tailRefused = false;
        CheckTail();
    }
}

using Platform;
using Vcmm.Allocation;

namespace Vcmm.Vtd;

/// <summary>The invalidation queue: commands in, completion out.</summary>
/// <remarks>
/// <para>Each submission ends with one wait descriptor, whose status word belongs to the descriptor's place in the queue. A
/// place is used again only after its waiter has seen its status, so that no waiter can take another's completion, or one of
/// the round before, for its own.</para>
/// <para>Scalable mode takes descriptors of 256 bits: those of 128 bits are invalid there ("Invalidation Queue Address
/// Register": DW). A frame then holds half as many.</para>
/// <para>After an error or a time-out the queue is started anew with everything invalidated, so that all who wait are done.</para>
/// <para><b>Threads.</b> Any number at once. The lock is held to fill the queue and to start it anew, not to wait for commands.</para>
/// <para><b>Source.</b> VT-d specification, "Queued Invalidation Interface".</para>
/// </remarks>
internal sealed class InvalidationQueue<TMemory> : IInvalidations
    where TMemory : struct, IPhysicalMemory
{
    /// <summary>The place that stays empty, so that a full queue does not look like an empty one, and that of the wait.</summary>
    private const int PlacesBesideCommands = 2;

    private readonly int _descriptorLog2;
    private readonly uint _entryCount;
    private readonly bool _isScalable;

    [LockRank(LockRank.Queue)]
    private readonly object _gate = new();
    private readonly TMemory _memory;
    private readonly IMmio _registers;
    private readonly GlobalCommand _command;
    private readonly IWaitPolicy _policy;
    private readonly VtdCapabilities _capabilities;
    private readonly DeviceTlbs _tlbs;
    private readonly PhysAddr _queue;
    private readonly PhysAddr _status;
    private readonly bool[] _awaited;
    private uint _tail;
    private uint _lastSequence;
    private uint _restarts;
    private bool _isBroken;
    private bool _interrupts;

    /// <param name="memory">Where the queue is.</param>
    /// <param name="registers">The IOMMU's.</param>
    /// <param name="command">Its global command register.</param>
    /// <param name="capabilities">What it can do.</param>
    /// <param name="policy">How long to wait for it.</param>
    /// <param name="queue">A frame for the descriptors.</param>
    /// <param name="status">A frame for the status words, one for each descriptor.</param>
    /// <param name="tlbs">The devices that hold translations too.</param>
    /// <param name="isScalable">Whether the hardware translates in scalable mode.</param>
    public InvalidationQueue(
        TMemory memory,
        IMmio registers,
        GlobalCommand command,
        VtdCapabilities capabilities,
        IWaitPolicy policy,
        PhysAddr queue,
        PhysAddr status,
        DeviceTlbs tlbs,
        bool isScalable)
    {
        _isScalable = isScalable;
        _descriptorLog2 = isScalable ? 5 : 4;
        _entryCount = (uint)(FrameAllocator.FrameBytes >> _descriptorLog2);
        _awaited = new bool[_entryCount];
        _memory = memory;
        _registers = registers;
        _command = command;
        _capabilities = capabilities;
        _policy = policy;
        _queue = queue;
        _status = status;
        _tlbs = tlbs;
    }

    /// <inheritdoc/>
    public int Capacity => (int)_entryCount - PlacesBesideCommands;

    /// <inheritdoc/>
    public bool TryStart()
    {
        lock (_gate)
        {
            // Whoever had the queue before wrote its tail.
            long begun = _policy.Begin();
            for (int attempt = 1; !IsIdle() && _policy.KeepWaiting(begun, attempt); attempt++)
            {
            }

            return TryEnable();
        }
    }

    /// <inheritdoc/>
    public bool TryForgetEverything()
    {
        lock (_gate) return TryInvalidateEverything();
    }

    /// <inheritdoc/>
    public VcmmError Submit(ReadOnlySpan<InvalidationDescriptor> commands, bool drainsPageRequests = false, bool isLostByRestart = false)
    {
        try
        {
            return SubmitAndWait(commands, drainsPageRequests, isLostByRestart);
        }
        catch
        {
            // How far a port that throws has let it come is not known: the queue starts anew before it is used again.
            Volatile.Write(ref _isBroken, true);
            throw;
        }
    }

    /// <inheritdoc/>
    public void TellWhenDone(bool interrupts)
    {
        lock (_gate) _interrupts = interrupts;
    }

    /// <inheritdoc/>
    public bool TryAcknowledgeCompletion()
    {
        uint status = _registers.Read32(VtdRegisters.CompletionStatus);
        if (status == uint.MaxValue || (status & VtdRegisters.WaitCompleted) == 0) return false;
        // Before anybody looks: what completes after the look interrupts again.
        _registers.Write32(VtdRegisters.CompletionStatus, VtdRegisters.WaitCompleted);
        _policy.GivenBack();
        return true;
    }

    /// <inheritdoc/>
    public bool TryClearErrors()
    {
        lock (_gate)
        {
            // Whoever waits may have been first.
            return (_registers.Read32(VtdRegisters.FaultStatus) & VtdRegisters.InvalidationErrors) == 0 || TryRestart();
        }
    }

    private VcmmError SubmitAndWait(ReadOnlySpan<InvalidationDescriptor> commands, bool drainsPageRequests, bool isLostByRestart)
    {
        uint restarts = Volatile.Read(ref _restarts);
        long begun = _policy.Begin();
        Ticket ticket;
        VcmmError error;
        for (int attempt = 1; !TryEnqueue(commands, drainsPageRequests, out ticket); attempt++)
        {
            if (Volatile.Read(ref _isBroken)) return VcmmError.HardwareFailure;
            // Full for longer than the hardware may take.
            if (_policy.KeepWaiting(begun, attempt)) continue;
            error = Recover(restarts);
            return isLostByRestart ? VcmmError.HardwareFailure : error;
        }

        error = Wait(ticket);
        return error == VcmmError.None && isLostByRestart && Volatile.Read(ref _restarts) != ticket.Restarts ? VcmmError.HardwareFailure : error;
    }

    private bool TryEnqueue(ReadOnlySpan<InvalidationDescriptor> commands, bool drainsPageRequests, out Ticket ticket)
    {
        lock (_gate)
        {
            ticket = default;
            // Survives as `true`: equivalent, a ticket of no start is out of date, and waiting for it fails as well
            if (_isBroken && !TryRestart()) return false;
            uint waitIndex = (_tail + (uint)commands.Length) % _entryCount;
            if (FreeEntries() <= commands.Length || _awaited[waitIndex]) return false;
            ticket = Write(commands, waitIndex, drainsPageRequests);
            return true;
        }
    }

    private uint FreeEntries()
    {
        // Hardware that is gone reads as all ones, beyond the field too.
        uint head = (uint)((_registers.Read64(VtdRegisters.InvalidationQueueHead) >> _descriptorLog2) % _entryCount);
        // One entry stays empty: a full queue must not look like an empty one.
        return (head + _entryCount - _tail - 1) % _entryCount;
    }

    private Ticket Write(ReadOnlySpan<InvalidationDescriptor> commands, uint waitIndex, bool drainsPageRequests = false)
    {
        // Survives as `_lastSequence - 1`: equivalent, any number that was not used lately will do
        _lastSequence = unchecked(_lastSequence + 1);
        var ticket = new Ticket(waitIndex, _lastSequence, _restarts);
        _awaited[waitIndex] = true;
        PhysAddr status = StatusOf(waitIndex);
        _memory.Write32(status, ~ticket.Sequence);
        foreach (InvalidationDescriptor command in commands)
            Append(command.IsFence ? command with { High = StatusOf(_tail).Value } : command);
        InvalidationDescriptor wait = InvalidationDescriptor.Wait(status, ticket.Sequence, drainsPageRequests);
        Append(_interrupts ? wait.Interrupting : wait);
        // The hardware must find the descriptors when it sees the tail.
        _memory.Fence();
        _registers.Write64(VtdRegisters.InvalidationQueueTail, (ulong)_tail << _descriptorLog2);
        return ticket;
    }

    private void Append(InvalidationDescriptor descriptor)
    {
        PhysAddr entry = _queue + ((ulong)_tail << _descriptorLog2);
        _memory.Write64(entry, descriptor.Low);
        _memory.Write64(entry + 8, descriptor.High);
        _memory.Clean(PhysRange.FromLength(entry, 1UL << _descriptorLog2));
        _tail = (_tail + 1) % _entryCount;
    }

    private VcmmError Wait(Ticket ticket)
    {
        long begun = _policy.Begin();
        PhysAddr status = StatusOf(ticket.WaitIndex);
        for (int attempt = 1; ; attempt++)
        {
            if (Volatile.Read(ref _restarts) != ticket.Restarts) return OutcomeOfRestart();
            if (_memory.Read32(status) == ticket.Sequence) break;
            if ((_registers.Read32(VtdRegisters.FaultStatus) & VtdRegisters.InvalidationErrors) != 0) return Recover(ticket.Restarts);
            if (!_policy.KeepWaiting(begun, attempt)) return Recover(ticket.Restarts);
        }

        lock (_gate)
        {
            if (_restarts == ticket.Restarts) _awaited[ticket.WaitIndex] = false;
        }

        _policy.GivenBack();
        return VcmmError.None;
    }

    /// <summary>
    /// The hardware reported an error or did not answer in time. One of those who wait starts the queue anew; that the
    /// command failed is said even if the new start succeeds, but then only to the one who found out.
    /// </summary>
    private VcmmError Recover(uint seenRestarts)
    {
        lock (_gate)
        {
            if (_restarts != seenRestarts) return OutcomeOfRestart();
            TryRestart();
            return VcmmError.HardwareFailure;
        }
    }

    /// <summary>A new start that succeeded has invalidated everything, and with it what was waited for.</summary>
    private VcmmError OutcomeOfRestart() => Volatile.Read(ref _isBroken) ? VcmmError.HardwareFailure : VcmmError.None;

    private bool TryRestart()
    {
        AwaitEmpty();
        bool started = TryEnable() && TryInvalidateEverything();
        Volatile.Write(ref _isBroken, !started);
        // Survives as `_restarts - 1`: equivalent, a restart is told from the ones before it by any change
        Volatile.Write(ref _restarts, unchecked(_restarts + 1));
        _policy.GivenBack();
        return started;
    }

    private bool TryEnable()
    {
        if (_command.IsSet(VtdRegisters.QueuedInvalidationEnable) && !_command.TryClear(VtdRegisters.QueuedInvalidationEnable)) return false;
        _registers.Write32(VtdRegisters.FaultStatus, VtdRegisters.InvalidationErrors);
        _tail = 0;
        Array.Clear(_awaited);
        _registers.Write64(VtdRegisters.InvalidationQueueTail, 0);
        _registers.Write64(VtdRegisters.InvalidationQueueAddress, _queue.Value | (_isScalable ? VtdRegisters.WideDescriptors : 0));
        return _command.TrySet(VtdRegisters.QueuedInvalidationEnable);
    }

    /// <summary>A queue is switched off when it is empty, or when waiting for that is pointless.</summary>
    private void AwaitEmpty()
    {
        if (!_command.IsSet(VtdRegisters.QueuedInvalidationEnable)) return;
        long begun = _policy.Begin();
        for (int attempt = 1; FreeEntries() != _entryCount - 1 && _policy.KeepWaiting(begun, attempt); attempt++)
        {
        }
    }

    private bool IsIdle() => !_command.IsSet(VtdRegisters.QueuedInvalidationEnable)
        || _registers.Read64(VtdRegisters.InvalidationQueueHead) == _registers.Read64(VtdRegisters.InvalidationQueueTail);

    private bool TryInvalidateEverything()
    {
        Span<InvalidationDescriptor> commands = stackalloc InvalidationDescriptor[InvalidationGuidance.MostCommands];
        int count = InvalidationGuidance.Everything(_capabilities, _isScalable, commands);
        if (!TryComplete(commands[..count])) return false;
        // Then what devices hold, which they could fetch again from what is before.
        foreach (DeviceTlb tlb in _tlbs.All)
        {
            if (!TryComplete([InvalidationDescriptor.DeviceTlbAll(tlb)])) return false;
        }

        return true;
    }

    /// <summary>Gives commands to a queue that nobody else uses.</summary>
    private bool TryComplete(ReadOnlySpan<InvalidationDescriptor> commands)
    {
        // Whoever waited for page requests to arrive is done with this too.
        Ticket ticket = Write(commands, (_tail + (uint)commands.Length) % _entryCount, _isScalable && _capabilities.PageRequests);
        long begun = _policy.Begin();
        for (int attempt = 1; _memory.Read32(StatusOf(ticket.WaitIndex)) != ticket.Sequence; attempt++)
        {
            if (!_policy.KeepWaiting(begun, attempt)) return false;
        }

        _awaited[ticket.WaitIndex] = false;
        return true;
    }

    private PhysAddr StatusOf(uint index) => _status + index * sizeof(uint);

    /// <param name="WaitIndex">The place of the wait descriptor.</param>
    /// <param name="Sequence">What the hardware will write.</param>
    /// <param name="Restarts">How often the queue had been started when it was submitted.</param>
    private readonly record struct Ticket(uint WaitIndex, uint Sequence, uint Restarts);
}

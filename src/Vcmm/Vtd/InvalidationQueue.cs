using Platform;
using Vcmm.Allocation;

namespace Vcmm.Vtd;

/// <summary>The invalidation queue: commands in, completion out.</summary>
/// <remarks>
/// <para>Each submission ends with one wait descriptor, whose status word belongs to the descriptor's place in the queue. A
/// place is used again only after its waiter has seen its status, so that no waiter can take another's completion, or one of
/// the round before, for its own.</para>
/// <para>After an error or a time-out the queue is started anew with everything invalidated, so that all who wait are done.</para>
/// <para><b>Threads.</b> Any number at once. The lock is held to fill the queue and to start it anew, not to wait for commands.</para>
/// <para><b>Source.</b> VT-d specification, "Queued Invalidation Interface".</para>
/// </remarks>
internal sealed class InvalidationQueue<TMemory>
    where TMemory : struct, IPhysicalMemory
{
    private const int DescriptorLog2 = 4;
    private const uint EntryCount = (uint)(FrameAllocator.FrameBytes >> DescriptorLog2);

    [LockRank(LockRank.Queue)]
    private readonly object _gate = new();
    private readonly TMemory _memory;
    private readonly IMmio _registers;
    private readonly GlobalCommand _command;
    private readonly IWaitPolicy _policy;
    private readonly VtdCapabilities _capabilities;
    private readonly PhysAddr _queue;
    private readonly PhysAddr _status;
    private readonly bool[] _awaited = new bool[EntryCount];
    private uint _tail;
    private uint _lastSequence;
    private uint _restarts;
    private bool _isBroken;

    /// <param name="memory">Where the queue is.</param>
    /// <param name="registers">The IOMMU's.</param>
    /// <param name="command">Its global command register.</param>
    /// <param name="capabilities">What it can do.</param>
    /// <param name="policy">How long to wait for it.</param>
    /// <param name="queue">A frame for the descriptors.</param>
    /// <param name="status">A frame for the status words, one for each descriptor.</param>
    public InvalidationQueue(
        TMemory memory, IMmio registers, GlobalCommand command, VtdCapabilities capabilities, IWaitPolicy policy, PhysAddr queue, PhysAddr status)
    {
        _memory = memory;
        _registers = registers;
        _command = command;
        _capabilities = capabilities;
        _policy = policy;
        _queue = queue;
        _status = status;
    }

    /// <summary>Starts the queue and invalidates everything.</summary>
    public bool TryStart()
    {
        lock (_gate) return TryRestart();
    }

    /// <summary>Gives the commands to the hardware and waits until they are complete.</summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if that is not known to have happened.</returns>
    public VcmmError Submit(ReadOnlySpan<InvalidationDescriptor> commands)
    {
        uint restarts = Volatile.Read(ref _restarts);
        long begun = _policy.Begin();
        Ticket ticket;
        for (int attempt = 1; !TryEnqueue(commands, out ticket); attempt++)
        {
            if (Volatile.Read(ref _isBroken)) return VcmmError.HardwareFailure;
            // Full for longer than the hardware may take.
            if (!_policy.KeepWaiting(begun, attempt)) return Recover(restarts);
        }

        return Wait(ticket);
    }

    private bool TryEnqueue(ReadOnlySpan<InvalidationDescriptor> commands, out Ticket ticket)
    {
        lock (_gate)
        {
            ticket = default;
            // Stryker disable once boolean : equivalent, a ticket of no start is out of date, and waiting for it fails as well
            if (_isBroken && !TryRestart()) return false;
            uint waitIndex = (_tail + (uint)commands.Length) % EntryCount;
            if (FreeEntries() <= commands.Length || _awaited[waitIndex]) return false;
            ticket = Write(commands, waitIndex);
            return true;
        }
    }

    private uint FreeEntries()
    {
        uint head = (uint)(_registers.Read64(VtdRegisters.InvalidationQueueHead) >> DescriptorLog2) % EntryCount;
        // One entry stays empty: a full queue must not look like an empty one.
        return (head + EntryCount - _tail - 1) % EntryCount;
    }

    private Ticket Write(ReadOnlySpan<InvalidationDescriptor> commands, uint waitIndex)
    {
        // Stryker disable once arithmetic : equivalent, any number that was not used lately will do
        _lastSequence = unchecked(_lastSequence + 1);
        var ticket = new Ticket(waitIndex, _lastSequence, _restarts);
        _awaited[waitIndex] = true;
        PhysAddr status = StatusOf(waitIndex);
        _memory.Write32(status, ~ticket.Sequence);
        foreach (InvalidationDescriptor command in commands) Append(command);
        Append(InvalidationDescriptor.Wait(status, ticket.Sequence));
        // The hardware must find the descriptors when it sees the tail.
        _memory.Fence();
        _registers.Write64(VtdRegisters.InvalidationQueueTail, (ulong)_tail << DescriptorLog2);
        return ticket;
    }

    private void Append(InvalidationDescriptor descriptor)
    {
        PhysAddr entry = _queue + ((ulong)_tail << DescriptorLog2);
        _memory.Write64(entry, descriptor.Low);
        _memory.Write64(entry + 8, descriptor.High);
        _memory.Clean(PhysRange.FromLength(entry, 1UL << DescriptorLog2));
        _tail = (_tail + 1) % EntryCount;
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
        bool started = TryEnable() && TryInvalidateEverything();
        Volatile.Write(ref _isBroken, !started);
        // Stryker disable once arithmetic : equivalent, a restart is told from the ones before it by any change
        Volatile.Write(ref _restarts, unchecked(_restarts + 1));
        return started;
    }

    private bool TryEnable()
    {
        if (_command.IsSet(VtdRegisters.QueuedInvalidationEnable))
        {
            // The queue is switched off when it is empty, or when waiting for that is pointless.
            long begun = _policy.Begin();
            for (int attempt = 1; FreeEntries() != EntryCount - 1 && _policy.KeepWaiting(begun, attempt); attempt++)
            {
            }

            if (!_command.TryClear(VtdRegisters.QueuedInvalidationEnable)) return false;
        }

        _registers.Write32(VtdRegisters.FaultStatus, VtdRegisters.InvalidationErrors);
        _tail = 0;
        Array.Clear(_awaited);
        _registers.Write64(VtdRegisters.InvalidationQueueTail, 0);
        _registers.Write64(VtdRegisters.InvalidationQueueAddress, _queue.Value);
        return _command.TrySet(VtdRegisters.QueuedInvalidationEnable);
    }

    private bool TryInvalidateEverything()
    {
        Ticket ticket = Write([InvalidationDescriptor.ContextGlobal, InvalidationDescriptor.IotlbGlobal(_capabilities)], waitIndex: 2);
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

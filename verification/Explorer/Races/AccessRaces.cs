using Explorer.Machines;
using Explorer.Replaying;
using Explorer.Scheduling;
using Explorer.Scheduling.Choosers;
using IommuSim;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm.Spec;

namespace Explorer.Races;

/// <summary>
/// Finds races by what happens before what: two accesses that conflict, neither of which comes before the other by any edge, however far apart they are in the
/// schedule that was run.
/// </summary>
/// <remarks>
/// <para>Entries are read and written as words, and the memory port makes each such access acquire or release: those are edges and no races, but for a store
/// that may be lost. What conflicts is what takes a whole page, to free it or to make it a table, with any use of it by somebody else; and what the two sides
/// of a queue do with one word.</para>
/// <para>Edges: the library's locks and its interlocked and volatile fields (<see cref="Edges"/>); words of tables and the status words of waits; the tail of a
/// queue before what is fetched from it, and what was fetched before its head; what the caches of the hardware are filled with before what is found in them; and the
/// accesses that an invalidation drains before the status of the wait behind it, or before a register says that it is done, those of cores before the end of a shootdown.</para>
/// </remarks>
/// <param name="attempt">The schedule.</param>
/// <param name="isQueue">Whether a word is one of the command queue, or of the queue of page requests.</param>
[SkipRewriting("Looking on adds no steps to the schedule.")]
public sealed class AccessRaces(Attempt attempt, Func<PhysAddr, bool> isQueue)
{
    // VT-d specification, "Register Descriptions".
    private const uint GlobalStatus = 0x1C, QueueHead = 0x80, QueueTail = 0x88, RequestHead = 0xC0, RequestTail = 0xC8;

    // IOTLB Invalidate Register, which is where the simulator's ECAP.IRO says, and in it IVT.
    private const uint InvalidateCommand = 0xF8;
    private const ulong IsUnderWay = 1UL << 63;

    private const int FrameLog2 = 12;

    // Places beside words, which lie at multiples of four, and fields, which have their lowest bit set.
    private const ulong Tail = 2, Head = 6, Requests = 10, Caches = 14;

    private readonly VectorClocks _clocks = VectorClocks.Current;
    private readonly PageMarks _marks = new();
    private readonly Drains _drains = new(VectorClocks.Current);
    private uint _looks;
    private bool _isFound;

    /// <summary>The calling agent's next step is an access to a word.</summary>
    /// <param name="word">At a multiple of eight.</param>
    /// <param name="changes">Whether it may change it.</param>
    public void Next(PhysAddr word, bool changes) => PendingAccess.Announce(word.Value, changes);

    /// <summary>A word was read.</summary>
    public void Load(MemorySide side, PhysAddr word)
    {
        Race? race = null;
        lock (_clocks.Gate)
        {
            if (IsOff(out int agent)) return;
            if (isQueue(word)) race = _marks.NoteInWord(MarkOf(agent, Deed.Fetch, word), _clocks);
            else
            {
                if (side != MemorySide.Processor) race = NoteWalk(agent, word);
                _clocks.Acquire(agent, word.Value);
            }
        }

        Tell(race);
    }

    /// <summary>A word was written.</summary>
    public void Store(MemorySide side, PhysAddr word)
    {
        Race? race;
        lock (_clocks.Gate)
        {
            if (IsOff(out int agent)) return;
            attempt.Passed(Invariant.SharedTable);
            bool isOfQueue = isQueue(word);
            // The hardware puts page requests where software has made room.
            if (isOfQueue && side != MemorySide.Processor) _clocks.Acquire(agent, Requests);
            Mark mark = MarkOf(agent, Deed.Store, word);
            race = _marks.NoteInWord(mark, _clocks) ?? (side == MemorySide.Processor ? _marks.NoteInPage(mark, _clocks) : null);
            if (!isOfQueue) _clocks.Release(agent, word.Value);
            else if (side != MemorySide.Processor) _clocks.Release(agent, Requests);
        }

        Tell(race);
    }

    /// <summary>A word was exchanged, or was not as expected.</summary>
    public void Exchange(MemorySide side, PhysAddr word, bool isDone)
    {
        Race? race = null;
        lock (_clocks.Gate)
        {
            if (IsOff(out int agent)) return;
            // Flags that a walker sets order nothing for who reads them.
            if (side != MemorySide.Processor) race = NoteWalk(agent, word);
            else
            {
                // One that found something else would have been lost, or not, had it come before.
                attempt.Passed(Invariant.SharedTable);
                Mark mark = MarkOf(agent, Deed.Exchange, word);
                race = _marks.NoteInWord(mark, _clocks) ?? _marks.NoteInPage(mark, _clocks);
            }

            _clocks.Acquire(agent, word.Value);
            if (isDone && side == MemorySide.Processor) _clocks.Release(agent, word.Value);
        }

        Tell(race);
    }

    /// <summary>Bytes were moved, of one page.</summary>
    public void Bytes(MemorySide side, PhysAddr address, bool toMemory)
    {
        if (side == MemorySide.Processor && !toMemory) return;
        Race? race;
        lock (_clocks.Gate)
        {
            if (IsOff(out int agent)) return;
            if (side != MemorySide.Processor) Find(agent);
            race = _marks.NoteInPage(MarkOf(agent, side == MemorySide.Processor ? Deed.Fill : Deed.Move, address), _clocks);
        }

        Tell(race);
    }

    /// <summary>A block is given back.</summary>
    public void Free(PhysRange block)
    {
        Race? race = null;
        lock (_clocks.Gate)
        {
            if (IsOff(out int agent)) return;
            for (ulong frame = block.First.Value >> FrameLog2; frame <= block.Last.Value >> FrameLog2; frame++)
                race ??= _marks.NoteInPage(MarkOf(agent, Deed.Free, new(frame << FrameLog2)), _clocks);
        }

        Tell(race);
    }

    /// <summary>A register is about to be written.</summary>
    public void RegisterWrite(uint offset)
    {
        if (offset == QueueTail) _clocks.Release(Tail);
        if (offset == RequestHead) _clocks.Release(Requests);
    }

    /// <summary>A register was written: a command in it has taken effect.</summary>
    public void RegisterWritten(uint offset)
    {
        if (offset == InvalidateCommand) _drains.Begin(isOfCores: false);
    }

    /// <summary>A register was read.</summary>
    public void RegisterRead(uint offset, ulong value)
    {
        if (offset is QueueHead or GlobalStatus) _clocks.Acquire(Head);
        if (offset == RequestTail) _clocks.Acquire(Requests);
        if (offset == InvalidateCommand && (value & IsUnderWay) == 0) _drains.End(isOfCores: false);
    }

    /// <summary>The hardware begins a step.</summary>
    public void Step(SimStep step, ulong detail)
    {
        switch (step)
        {
            case SimStep.CommandFetch:
                _drains.BeginIfTold();
                _clocks.Acquire(Tail);
                break;
            case SimStep.CommandExecute:
                // It was fetched, so its place is free once the head has moved on.
                _clocks.Release(Head);
                if (Drains.IsDrainedBy(detail)) _drains.Tell();
                break;
            case SimStep.StatusWrite:
                _drains.End(isOfCores: false);
                break;
            case SimStep.ContextFill or SimStep.PasidFill or SimStep.WalkCacheFill or SimStep.IotlbFill or SimStep.DeviceTlbFill or SimStep.TlbFill:
                _clocks.Release(Caches);
                break;
            case SimStep.ContextLookup or SimStep.PasidLookup or SimStep.WalkCacheLookup or SimStep.IotlbLookup or SimStep.DeviceTlbLookup or SimStep.TlbLookup:
                // The look itself comes later.
                lock (_clocks.Gate)
                {
                    if (_clocks.Caller() is not VectorClocks.Nobody and var agent) _looks |= 1u << agent;
                }

                break;
        }
    }

    /// <summary>The calling agent is hardware that accesses memory, from here to <see cref="EndAccess"/>.</summary>
    /// <param name="isOfCore">Whether it is a core, which an invalidation of the IOMMU does not drain, and a shootdown does.</param>
    public void BeginAccess(bool isOfCore) => _drains.BeginAccess(isOfCore);

    /// <summary>The access is over.</summary>
    public void EndAccess() => _drains.EndAccess();

    /// <summary>Cores are told to forget.</summary>
    public void BeginShootdown() => _drains.Begin(isOfCores: true);

    /// <summary>All that were told have forgotten.</summary>
    public void EndShootdown() => _drains.End(isOfCores: true);

    private bool IsOff(out int agent)
    {
        agent = _isFound ? VectorClocks.Nobody : _clocks.Caller();
        return agent == VectorClocks.Nobody;
    }

    private Race? NoteWalk(int agent, PhysAddr word)
    {
        Find(agent);
        return _marks.NoteInPage(MarkOf(agent, Deed.Walk, word), _clocks);
    }

    /// <summary>What it has looked for in a cache it has found by now, if anybody had put it there.</summary>
    private void Find(int agent)
    {
        if ((_looks & 1u << agent) == 0) return;
        _looks &= ~(1u << agent);
        _clocks.Acquire(agent, Caches);
    }

    private Mark MarkOf(int agent, Deed deed, PhysAddr address) =>
        new(deed, agent, _clocks.Now(agent), address, Attempt.Call, attempt.Watcher is null ? null : SourceLines.OfCaller());

    private void Tell(Race? found)
    {
        if (found is not { } race) return;
        _isFound = true;
        if (attempt.Watcher is not null) attempt.RaceLines = $"{race.First.Line(_clocks)}, {race.Second.Line(_clocks)}";
        bool isOfQueue = isQueue(race.Second.Address);
        bool isOfWord = race.First.Deed is not (Deed.Free or Deed.Fill) && race.Second.Deed is not (Deed.Free or Deed.Fill);
        attempt.Check(
            isOfQueue ? Invariant.Progress : isOfWord ? Invariant.SharedTable : Invariant.FrameSafety, false,
            () => $"{race.First.Say(_clocks)} and {race.Second.Say(_clocks)}, and nothing orders the two",
            () => isOfQueue ? "the tail or the head register, or a status, between them"
                : isOfWord ? "a lock, or an exchange, between them"
                : "an invalidation that is waited for, or a lock, between them");
    }
}

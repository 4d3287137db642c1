using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm;

// Deferred flush: an unback returns before the hardware has forgotten; what it leaves behind stays in quarantine.
public sealed partial class Vcm
{
    /// <summary>Of what is used again. Innermost; nothing is called while it is held.</summary>
    [LockRank(LockRank.Idle)]
    private readonly object _idleGate = new();

    private readonly Stack<DeferredUnback> _idleDeferrals = new();
    private readonly Stack<RangeHold> _idleHolds = new();

    /// <summary>
    /// Makes the hardware forget what was unbacked in a region with a <see cref="VcmOptions.FlushQueue"/>. When this returns nothing
    /// is reached through it, and its memory and addresses can be had again. In a region without such a queue that is always so.
    /// </summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; then everything stays in quarantine.</returns>
    public VcmmError TryFlush() => Options.FlushQueue?.TryFlush() ?? VcmmError.None;

    /// <summary>Makes the hardware forget what was unbacked in a region with a <see cref="VcmOptions.FlushQueue"/>.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFlush"/>.</exception>
    public void Flush() => VcmmException.ThrowIf(TryFlush(), nameof(Flush));

    internal void LetGo(RangeHold hold)
    {
        RangeHold? next = hold;
        while (next is not null && next.LetGo())
        {
            GiveBack(next.Ranges, next.Range);
            RangeHold? within = next.Within;
            next.Within = null;
            lock (_idleGate) _idleHolds.Push(next);
            next = within;
        }
    }

    internal void Recycle(DeferredUnback deferral)
    {
        lock (_idleGate) _idleDeferrals.Push(deferral);
    }

    /// <summary>Before addresses mean something new, the hardware forgets what they meant.</summary>
    private VcmmError FlushDeferred(ReservationState state) => state.Hold is { IsDeferred: true } ? TryFlush() : VcmmError.None;

    /// <summary>The entries are cleared: either nobody can have cached them, or the queue sees to it.</summary>
    private VcmmError FinishUnback(ReservationState state, ulong offset, ulong byteCount, IPageTable[] tables)
    {
        ActiveDomain[] domains = Volatile.Read(ref _activeDomains);
        if (Options.FlushQueue is not { } queue || domains.Length == 0 || state.Gather.Ranges.IsEmpty) return Finish(tables, state.Gather);

        state.Hold ??= TakeHold(state);
        DeferredUnback deferral = TakeDeferral();
        deferral.Begin(state, tables, domains);
        ulong end = offset + byteCount;
        for (int index = state.Backings.FirstEndingAfter(offset); index != state.Backings.Count && state.Backings[index].Offset < end; index++)
            deferral.Pin(state.Backings[index].Memory);
        VcmmError error = VcmmError.HardwareFailure;
        try
        {
            error = queue.TryAdd(deferral.Invalidations, deferral);
        }
        finally
        {
            // Also where a port throws while room is made: then it was not added.
            if (error != VcmmError.None) deferral.Undo();
        }

        return error;
    }

    private RangeHold TakeHold(ReservationState state)
    {
        RangeHold hold = TakeIdleHold();
        hold.Begin(state.Bound?.Ranges ?? _ranges, state.Range, state.Bound?.Hold);
        return hold;
    }

    private RangeHold TakeIdleHold()
    {
        lock (_idleGate) return _idleHolds.Count != 0 ? _idleHolds.Pop() : new();
    }

    private DeferredUnback TakeDeferral()
    {
        lock (_idleGate) return _idleDeferrals.Count != 0 ? _idleDeferrals.Pop() : new(this);
    }
}

using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>How much may wait for a flush, and how long.</summary>
/// <param name="Capacity">How many unbacks may wait: 1 ….</param>
/// <param name="FlushAtCount">With so many the last of them flushes: 1 … <paramref name="Capacity"/>.</param>
/// <param name="FlushAtMilliseconds">One that has waited so long is flushed by the next unback or poll.</param>
public sealed record FlushBounds(int Capacity, int FlushAtCount, ulong FlushAtMilliseconds);

/// <summary>What one unback in a deferred region left behind until the flush.</summary>
/// <param name="Number">Of all that ever were: 0 ….</param>
/// <param name="Since">When, in milliseconds.</param>
/// <param name="Reservation">What was unbacked; if it ends meanwhile, its addresses stay taken.</param>
/// <param name="Memories">What was behind it; what of it is freed meanwhile is not given back.</param>
/// <param name="Stale">What devices of the region may still see.</param>
public sealed record Quarantined(int Number, ulong Since, ObjectId Reservation, ImmutableArray<ObjectId> Memories, ImmutableArray<Mapping> Stale);

// Deferred flush: what was unbacked may be seen until the hardware has forgotten it, and until then belongs to nobody else.
public sealed partial record World
{
    internal int NextQuarantined { get; init; }

    /// <summary>What waits for a flush, in the order in which it came.</summary>
    public ImmutableList<Quarantined> Quarantine { get; internal init; } = [];

    /// <summary>The time, in milliseconds.</summary>
    public ulong Now { get; internal init; }

    /// <summary>When a flush failed after which none was done; null: none did. The count alone starts no flush then, and age counts from here.</summary>
    public ulong? FlushFailedAt { get; internal init; }

    /// <summary>What a device may still see at an address though it was unbacked; null: nothing.</summary>
    /// <param name="device">The device.</param>
    /// <param name="address">The address.</param>
    /// <param name="pasid">In which of its address spaces; null: without a PASID.</param>
    public Translation? StaleAt(ObjectId device, ulong address, uint? pasid = null)
    {
        if (Quarantine.IsEmpty || ActiveAssociationOf(device, pasid) is not { Guest: null } association) return null;
        foreach (Mapping mapping in StaleOf(association.Vcm))
        {
            if (mapping.Range.Contains(address)) return mapping.At(address);
        }

        return null;
    }

    /// <summary>What devices of a region may still see though it was unbacked.</summary>
    public IEnumerable<Mapping> StaleOf(ObjectId vcm) => Quarantine.Where(waiting => Reservations[waiting.Reservation].Vcm == vcm).SelectMany(waiting => waiting.Stale);

    /// <summary>Whether memory that was freed is not given back yet.</summary>
    public bool IsInQuarantine(ObjectId memory) => Memories[memory].IsFreed && Quarantine.Exists(waiting => waiting.Memories.Contains(memory));

    private Verdict<World> Judge(Flush flush, Observation seen, Surroundings surroundings) => new Refusals()
        .May(Outcome.HardwareFailure, surroundings.HardwareFails && Vcms[flush.Vcm].IsDeferred)
        .Decide(this, seen.Outcome)
        ?? Accept(this);

    private Verdict<World> Judge(PollFlush _, Observation seen, Surroundings surroundings) => new Refusals()
        .May(Outcome.HardwareFailure, surroundings.HardwareFails)
        .Decide(this, seen.Outcome)
        ?? Accept(this);

    private Verdict<World> Judge(AdvanceTime advance, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(this with { Now = Now + advance.Milliseconds });

    /// <summary>The world in which a part of a reservation is about to be unbacked: in a deferred region that a device is active in, it waits.</summary>
    private World Defer(ObjectId id, ulong offset, ulong byteCount)
    {
        ReservationState reservation = Reservations[id];
        if (!Vcms[reservation.Vcm].IsDeferred || !IsActive(reservation.Vcm) || reservation.BackedBytes(offset, byteCount) == 0) return this;
        AddressRange part = RangeOf(reservation, offset, byteCount);
        return this with
        {
            NextQuarantined = NextQuarantined + 1,
            Quarantine = Quarantine.Add(new(
                NextQuarantined,
                Now,
                id,
                [.. reservation.Parts.Where(backed => backed.Before(offset + byteCount)?.After(offset) is not null).Select(backed => backed.Memory).Distinct()],
                [.. MappingsOf(reservation).Where(mapping => mapping.Range.Overlaps(part)).Select(mapping => Clip(mapping, part))])),
        };
    }

    /// <summary>The world in which a region lets a device go: with the last one nothing is cached for it any more.</summary>
    private World Forget(ObjectId vcm) => Quarantine.IsEmpty || IsActive(vcm)
        ? this
        : this with { Quarantine = Quarantine.ConvertAll(waiting => Reservations[waiting.Reservation].Vcm == vcm ? waiting with { Stale = [] } : waiting) };

    private bool IsActive(ObjectId vcm) => Associations.Values.Any(association => association.Vcm == vcm && association.IsActive);

    /// <summary>What nobody may reserve before the flush: of reservations that have ended, and of bounds that such were in and that have ended.</summary>
    private IEnumerable<AddressRange> HeldBack(ObjectId space)
    {
        if (Quarantine.IsEmpty) return [];
        IEnumerable<ReservationState> ended = Quarantine.Select(waiting => Reservations[waiting.Reservation]).Where(reservation => reservation.IsEnded);
        if (space.Kind == ObjectKind.Bound) return ended.Where(reservation => reservation.Bound == space).Select(reservation => reservation.Range).Distinct();
        return ended.Where(reservation => reservation.Vcm == space)
            .Where(reservation => reservation.Bound is not { } bound || Bounds[bound].IsFreed)
            .Select(reservation => reservation.Bound is { } bound ? Bounds[bound].Range : reservation.Range).Distinct();
    }

    /// <summary>
    /// This is the world after a call, in which nothing has been flushed. A flush may come at any time: how much waits was seen. It
    /// must have come where it was asked for or is due, unless the hardware failed.
    /// </summary>
    private Verdict<World> Settle(World before, Operation operation, Observation seen, Surroundings surroundings)
    {
        int most = seen.Outcome == Outcome.None ? MostWaiting(before, operation, surroundings) : Quarantine.Count;
        int left = seen.Quarantined ?? most;
        if (left > Quarantine.Count) return Refuse(Invariant.Conservation, $"{left} unbacks wait for a flush; only {Quarantine.Count} were put there");
        World next = left != Quarantine.Count
            ? this with { Quarantine = Quarantine.RemoveRange(0, Quarantine.Count - left), FlushFailedAt = null }
            : surroundings.HardwareFails && left != 0 ? this with { FlushFailedAt = Now } : this;
        if (left > most && Refuse(Invariant.Conservation, $"{left} unbacks wait for a flush; it is due, so {most} may", next) is { IsAccepted: false } late) return late;
        return operation is AllocateMemory or AllocateContiguous or Bind && seen.Outcome == Outcome.None && next.FindHeldBack(seen.Ranges) is var (chunk, memory)
            ? Refuse(Invariant.FrameSafety, $"it gave {chunk}; that is {memory}'s, which was freed and waits for a flush", next)
            : Accept(next);
    }

    /// <summary>How much may wait after a call that was done.</summary>
    private int MostWaiting(World before, Operation operation, Surroundings surroundings)
    {
        bool isAsked = operation switch
        {
            Flush flush => Vcms[flush.Vcm].IsDeferred,
            // The addresses get another meaning.
            Back back => before.Quarantine.Exists(waiting => waiting.Reservation == back.Reservation),
            BackPart back => before.Quarantine.Exists(waiting => waiting.Reservation == back.Reservation),
            PollFlush => IsOld,
            _ => false,
        };
        if (isAsked) return 0;
        bool isAdded = NextQuarantined != before.NextQuarantined;
        if (!isAdded) return Quarantine.Count;
        // Where there was no room it was made first.
        World added = before.Quarantine.Count == Setup.Flush.Capacity ? this with { Quarantine = [Quarantine[^1]], FlushFailedAt = null } : this;
        bool isDue = added.IsOld || (added.Quarantine.Count >= Setup.Flush.FlushAtCount && added.FlushFailedAt is null);
        return isDue && !surroundings.HardwareFails ? 0 : added.Quarantine.Count;
    }

    private bool IsOld => !Quarantine.IsEmpty && Now - (FlushFailedAt ?? Quarantine[0].Since) >= Setup.Flush.FlushAtMilliseconds;

    private (AddressRange Chunk, ObjectId Memory)? FindHeldBack(ImmutableArray<AddressRange> given)
    {
        foreach (ObjectId memory in Quarantine.SelectMany(waiting => waiting.Memories).Where(IsInQuarantine))
        {
            foreach (AddressRange chunk in Memories[memory].Segments)
            {
                if (!Memories[memory].IsWrapped && given.Any(chunk.Overlaps)) return (chunk, memory);
            }
        }

        return null;
    }

    private static Mapping Clip(Mapping mapping, AddressRange range)
    {
        ulong first = Math.Max(mapping.Range.First, range.First);
        return new(new(first, Math.Min(mapping.Range.Last, range.Last)), mapping.At(first));
    }
}

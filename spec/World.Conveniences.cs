namespace Vcmm.Spec;

// Several steps in one call, done wholly or not at all.
public sealed partial record World
{
    private Verdict<World> Judge(Map map, Observation seen, Surroundings surroundings)
    {
        VcmState vcm = Vcms[map.Vcm];
        MemoryState memory = Memories[map.Memory];
        // In a one-to-one region the memory says where.
        AddressRange? place = vcm.Kind == VcmKind.OneToOne ? RangeOf(memory.Segments[0].First, memory.ByteCount) : null;
        var part = new BackedPart(0, map.Memory, 0, memory.ByteCount);
        bool isShort = HasTable(map.Vcm) && surroundings.FreeBytes < MostTablesAnywhere(map.Vcm, memory.ByteCount) * PageBytes;
        Refusals refusals = Reservable(new(), map.Vcm, memory.ByteCount, map.Attributes)
            .Must(Outcome.Invalid, !IsAlignment(map.Alignment), Invariant.NoOverlap, "the alignment is not a power of two from 4 KiB to 1 GiB")
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.FrameSafety, "the memory was freed")
            .Must(Outcome.Invalid, IsBeyondTables(map.Vcm, memory), Invariant.TablesAreTruth, "the memory lies beyond what tables lead to")
            .Must(Outcome.Invalid, place is { } own && !vcm.Range.Contains(own), Invariant.TablesAreTruth, "the memory's addresses are not in the one-to-one region")
            .Must(Outcome.Invalid, place is { } first && IsAlignment(map.Alignment) && first.First % map.Alignment != 0, Invariant.NoOverlap, "the memory's address is not aligned so")
            .Must(Outcome.Invalid, place is not null && !IsContiguous(memory), Invariant.TablesAreTruth, "the memory is not one range")
            .Must(Outcome.NoSpace, place is { } here && HeldBack(map.Vcm).Any(here.Overlaps), Invariant.NoStaleAccess, "part of the range waits for a flush")
            .Must(Outcome.NoSpace, place is { } range && Taken(map.Vcm).Exists(range.Overlaps), Invariant.NoOverlap, "part of the range is taken");
        if (place is null) Placeable(refusals, map.Vcm, memory.ByteCount, map.Alignment);
        Verdict<World>? decided = refusals
            .May(Outcome.NoMemory, surroundings.MemoryFails || isShort)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome);
        if (decided is { } verdict) return verdict;
        if (WhyNotGiven(map.Vcm, memory.ByteCount, map.Alignment, seen, isElsewhere: place is not null) is { } wrong) return RefuseGiven(map.Vcm, seen, wrong, seen.Ranges is [var elsewhere] ? Mapped(elsewhere) : null);
        AddressRange given = seen.Ranges[0];
        return place is null || place == given
            ? Accept(Mapped(given))
            : Refuse(Invariant.TablesAreTruth, $"it gave {given}; the memory is at {place}, and the region is one-to-one", Mapped(given));

        World Mapped(AddressRange range) => With(map.Reservation, Made(map.Vcm, range, map.Attributes).With(part));
    }

    private Verdict<World> Judge(Unmap unmap, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[unmap.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Busy, !reservation.IsEnded && reservation.OwnerCount > 1, Invariant.Conservation, "others own the reservation")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(reservation.Vcm, reservation.Range).Defer(unmap.Reservation, 0, reservation.ByteCount).With(unmap.Reservation, reservation with { Parts = [], IsEnded = true }));
    }

    private Verdict<World> Judge(Bind bind, Observation seen, Surroundings surroundings)
    {
        bool isOneToOne = Vcms[bind.Vcm].Kind == VcmKind.OneToOne;
        bool isShort = surroundings.FreeBytes < bind.ByteCount || surroundings.FreeBytes - bind.ByteCount < MostTablesAnywhere(bind.Vcm, bind.ByteCount) * PageBytes;
        Refusals refusals = Reservable(new(), bind.Vcm, bind.ByteCount, bind.Attributes);
        if (isOneToOne) PlaceableInMemory(FromBanks(refusals, bind.From, bind.ByteCount, surroundings), bind, surroundings);
        else Placeable(Allocatable(refusals, bind.ByteCount, bind.ChunkSizes, bind.From, surroundings), bind.Vcm, bind.ByteCount, PageBytes);
        Verdict<World>? decided = refusals
            .May(Outcome.NoMemory, surroundings.MemoryFails || (HasTable(bind.Vcm) && isShort))
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome);
        if (decided is { } verdict) return verdict;
        if (seen.Ranges.Length < 2) return Refuse(Invariant.Conservation, $"it gave {seen}; a range and memory were asked for");
        FormattableString? wrong = isOneToOne
            ? WhyNotPiece(bind.ByteCount, PageBytes, seen.Ranges[1..])
            : WhyNotChunks(bind.ByteCount, bind.ChunkSizes, bind.Scattered, seen.Ranges[1..]);
        wrong ??= WhyNotFrom(bind.From, seen.Ranges[1..]);
        World next = With(bind.Memory, new MemoryState(bind.ByteCount, seen.Ranges[1..]))
            .With(bind.Reservation, Made(bind.Vcm, seen.Ranges[0], bind.Attributes).With(new BackedPart(0, bind.Memory, 0, bind.ByteCount)));
        if (wrong is not null) return Refuse(Invariant.Conservation, wrong, next);
        Observation placed = seen with { Ranges = seen.Ranges[..1] };
        if (WhyNotGiven(bind.Vcm, bind.ByteCount, PageBytes, placed, isOneToOne) is { } elsewhere) return RefuseGiven(bind.Vcm, placed, elsewhere, next);
        if (isOneToOne && seen.Ranges[0] != seen.Ranges[1]) return Refuse(Invariant.TablesAreTruth, $"it gave {seen}; the region is one-to-one", next);
        return Accept(next);
    }

    /// <summary>Why there is no place for it that is free both in a one-to-one region and in memory.</summary>
    private Refusals PlaceableInMemory(Refusals refusals, Bind bind, Surroundings surroundings)
    {
        if (bind.ByteCount == 0) return refusals;
        // What is free may lie in pieces that are too small, and where the region has nothing free.
        if (surroundings.FreeMemory.IsDefault) return refusals.May(Outcome.NoSpace, true).May(Outcome.NoMemory, true);
        AddressRange[] pieces = [.. PiecesOf(bind.From, surroundings.FreeMemory).Where(piece => piece.Last - piece.First >= bind.ByteCount - 1)];
        List<AddressRange> gaps = Gaps(bind.Vcm);
        bool fits = pieces.Any(piece => gaps.Exists(gap =>
            Math.Max(piece.First, gap.First) is var first && Math.Min(piece.Last, gap.Last) is var last && first <= last && last - first >= bind.ByteCount - 1));
        return refusals
            .Must(Outcome.NoMemory, pieces.Length == 0, Invariant.Conservation, "no free piece of memory is that long")
            .Must(Outcome.NoSpace, pieces.Length != 0 && !fits, Invariant.NoOverlap, "the region has nothing free where memory is free");
    }

    private Verdict<World> Judge(Unbind unbind, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[unbind.Reservation];
        MemoryState memory = Memories[unbind.Memory];
        bool isBehind = reservation.Parts.Length != 0 && reservation.Parts.All(part => part.Memory == unbind.Memory)
            && reservation.Parts.Aggregate(0UL, static (sum, part) => sum + part.ByteCount) == memory.ByteCount;
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.Conservation, "the reservation has ended")
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.FrameSafety, "the memory was freed")
            .Must(Outcome.Invalid, reservation.Vcm != unbind.Vcm, Invariant.Isolation, "the reservation is another region's")
            .Must(Outcome.Invalid, !isBehind, Invariant.FrameSafety, "the memory is not what backs the reservation")
            .Must(Outcome.Busy, !reservation.IsEnded && reservation.OwnerCount > 1, Invariant.Conservation, "others own the reservation")
            .Must(Outcome.Busy, Reservations.Any(other => other.Key != unbind.Reservation && !other.Value.IsEnded && other.Value.Parts.Any(part => part.Memory == unbind.Memory)), Invariant.FrameSafety, "the memory backs others")
            // What was bound by parts is not what a binding made.
            .May(Outcome.Invalid, reservation.Parts.Length > 1)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(reservation.Vcm, reservation.Range)
                    .Defer(unbind.Reservation, 0, reservation.ByteCount)
                    .With(unbind.Reservation, reservation with { Parts = [], IsEnded = true })
                    .With(unbind.Memory, memory with { IsFreed = true }));
    }
}

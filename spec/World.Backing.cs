namespace Vcmm.Spec;

// Backing: what is behind a reservation, and what it grants.
public sealed partial record World
{
    // A cut at each end, each of them through leaves of at most two sizes, in each table.
    private const ulong MostTablesOfCuts = 4;

    private Verdict<World> Judge(Back back, Observation seen, Surroundings surroundings)
    {
        ulong byteCount = Memories[back.Memory].ByteCount;
        bool isPart = byteCount == Reservations[back.Reservation].ByteCount;
        return JudgeBack(
            new Refusals().Must(Outcome.Invalid, !isPart, Invariant.TablesAreTruth, "the lengths differ"),
            back.Reservation, new(0, back.Memory, 0, byteCount), isPart, seen, surroundings);
    }

    private Verdict<World> Judge(BackPart back, Observation seen, Surroundings surroundings)
    {
        bool isPart = IsPart(back.Offset, back.ByteCount, Reservations[back.Reservation].ByteCount);
        bool isPartOfMemory = IsPart(back.MemoryOffset, back.ByteCount, Memories[back.Memory].ByteCount);
        return JudgeBack(
            new Refusals()
                .Must(Outcome.Invalid, !isPart, Invariant.TablesAreTruth, "it is no part of the reservation")
                .Must(Outcome.Invalid, !isPartOfMemory, Invariant.TablesAreTruth, "it is no part of the memory"),
            back.Reservation, new(back.Offset, back.Memory, back.MemoryOffset, back.ByteCount), isPart && isPartOfMemory, seen, surroundings);
    }

    private Verdict<World> JudgeBack(Refusals refusals, ObjectId id, BackedPart part, bool isPart, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[id];
        bool isShort = isPart && HasTable(reservation.Vcm) && surroundings.FreeBytes < MostTables(reservation.Vcm, RangeOf(reservation, part.Offset, part.ByteCount)) * PageBytes;
        return refusals
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Invalid, Memories[part.Memory].IsFreed, Invariant.FrameSafety, "the memory was freed")
            .Must(Outcome.Invalid, IsBeyondTables(reservation.Vcm, Memories[part.Memory]), Invariant.TablesAreTruth, "the memory lies beyond what tables lead to")
            .Must(Outcome.Invalid, isPart && !MayBack(reservation, part), Invariant.TablesAreTruth, "the addresses are not the memory's, in a one-to-one region")
            .Must(Outcome.Busy, isPart ? reservation.BackedBytes(part.Offset, part.ByteCount) != 0 : reservation.IsBacked, Invariant.TablesAreTruth, "some of it is backed")
            .May(Outcome.NoMemory, surroundings.MemoryFails || isShort)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(With(id, reservation.With(part)));
    }

    private Verdict<World> Judge(Unback unback, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[unback.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.NotFound, !reservation.IsEnded && !reservation.IsBacked, Invariant.TablesAreTruth, "the reservation is not backed")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(reservation.Vcm, reservation.Range).Defer(unback.Reservation, 0, reservation.ByteCount).With(unback.Reservation, reservation.Without(0, reservation.ByteCount)));
    }

    private Verdict<World> Judge(UnbackPart unback, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[unback.Reservation];
        bool isPart = IsPart(unback.Offset, unback.ByteCount, reservation.ByteCount);
        bool isShort = surroundings.FreeBytes < MostTablesOfCuts * (ulong)TablesOf(reservation.Vcm).Count() * PageBytes;
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Invalid, !isPart, Invariant.TablesAreTruth, "it is no part of the reservation")
            .Must(Outcome.NotFound, isPart && reservation.BackedBytes(unback.Offset, unback.ByteCount) != unback.ByteCount, Invariant.TablesAreTruth, "some of it is not backed")
            .May(Outcome.NoMemory, surroundings.MemoryFails || isShort)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(reservation.Vcm, RangeOf(reservation, unback.Offset, unback.ByteCount))
                    .Defer(unback.Reservation, unback.Offset, unback.ByteCount)
                    .With(unback.Reservation, reservation.Without(unback.Offset, unback.ByteCount)));
    }

    private Verdict<World> Judge(SetAttributes set, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[set.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Invalid, !CanGrant(reservation.Vcm, set.Attributes), Invariant.Permission, "a table cannot say that")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(reservation.Vcm, reservation.Range).With(set.Reservation, reservation with { Attributes = set.Attributes }));
    }

    private static bool IsPart(ulong offset, ulong byteCount, ulong whole) =>
        byteCount != 0 && byteCount % PageBytes == 0 && offset % PageBytes == 0 && offset < whole && byteCount <= whole - offset;

    private static AddressRange RangeOf(ReservationState reservation, ulong offset, ulong byteCount) => RangeOf(reservation.Range.First + offset, byteCount);

    private static AddressRange RangeOf(ulong first, ulong byteCount) => new(first, first + (byteCount - 1));

    private static bool IsContiguous(MemoryState memory) =>
        memory.Segments.Zip(memory.Segments.Skip(1)).All(pair => pair.First.Last + 1 == pair.Second.First);

    /// <summary>Whether the region's kind lets this memory be there.</summary>
    private bool MayBack(ReservationState reservation, BackedPart part)
    {
        if (Vcms[reservation.Vcm].Kind != VcmKind.OneToOne) return true;
        ulong address = reservation.Range.First + part.Offset;
        foreach (AddressRange chunk in Slice(part.Memory, part.MemoryOffset, part.ByteCount))
        {
            if (chunk.First != address) return false;
            address = unchecked(chunk.Last + 1);
        }

        return true;
    }
}

namespace Vcmm.Spec;

// Regions and reservations.
public sealed partial record World
{
    private Verdict<World> Judge(CreateVcm create, Observation seen) => new Refusals()
        .Must(Outcome.Invalid, create.Range.First % PageBytes != 0 || create.Range.Last % PageBytes != PageBytes - 1, Invariant.NoOverlap, "the range is not made of whole pages")
        .Judge(this, seen.Outcome, () => Accept(this with { Vcms = Vcms.Add(create.Vcm, new(create.Range)) }));

    private Verdict<World> Judge(FreeVcm free, Observation seen)
    {
        VcmState vcm = Vcms[free.Vcm];
        return new Refusals()
            .Must(Outcome.Invalid, vcm.IsFreed, Invariant.Conservation, "the region was freed before")
            .Must(Outcome.Busy, ReservationsOf(free.Vcm).Any(), Invariant.Conservation, "the region has reservations")
            .Must(Outcome.Busy, HasTable(free.Vcm), Invariant.Conservation, "the region has associations")
            .Judge(this, seen.Outcome, () => Accept(this with { Vcms = Vcms.SetItem(free.Vcm, vcm with { IsFreed = true }) }));
    }

    private Verdict<World> Judge(Reserve reserve, Observation seen)
    {
        bool isPowerOfTwo = reserve.Alignment != 0 && (reserve.Alignment & (reserve.Alignment - 1)) == 0;
        bool isAligned = isPowerOfTwo && reserve.Alignment is >= PageBytes and <= 1UL << 30;
        return ReservableLength(new(), reserve.Vcm, reserve.ByteCount, reserve.Permissions)
            .Must(Outcome.Invalid, !isAligned, Invariant.NoOverlap, "the alignment is not a power of two from 4 KiB to 1 GiB")
            .Must(Outcome.NoSpace, isAligned && reserve.ByteCount != 0 && !Fits(reserve), Invariant.NoOverlap, "no free range is large enough")
            .Judge(this, seen.Outcome, () =>
            {
                if (seen.Ranges is not [var range]) return Refuse(Invariant.NoOverlap, "it gave no range");
                if (range.First % reserve.Alignment != 0) return Refuse(Invariant.NoOverlap, $"{range} is not aligned to 0x{reserve.Alignment:x}");
                return Take(reserve.Reservation, new(reserve.Vcm, range, reserve.Permissions), reserve.ByteCount);
            });
    }

    private Verdict<World> Judge(ReserveAt reserve, Observation seen)
    {
        bool wraps = reserve.ByteCount == 0 || reserve.ByteCount - 1 > ulong.MaxValue - reserve.First;
        AddressRange range = wraps ? AddressRange.All : new(reserve.First, reserve.First + (reserve.ByteCount - 1));
        return ReservableLength(new(), reserve.Vcm, reserve.ByteCount, reserve.Permissions)
            .Must(Outcome.Invalid, reserve.First % PageBytes != 0, Invariant.NoOverlap, "the address is not a multiple of 4 KiB")
            .Must(Outcome.Invalid, wraps || !Vcms[reserve.Vcm].Range.Contains(range), Invariant.NoOverlap, "the range is not in the region")
            .Must(Outcome.NoSpace, Taken(reserve.Vcm).Any(range.Overlaps), Invariant.NoOverlap, "part of the range is taken")
            .Judge(this, seen.Outcome, () => seen.Ranges is [var given] && given == range
                ? Take(reserve.Reservation, new(reserve.Vcm, range, reserve.Permissions), reserve.ByteCount)
                : Refuse(Invariant.NoOverlap, $"it gave another range than {range}"));
    }

    private Verdict<World> Judge(Unreserve unreserve, Observation seen)
    {
        ReservationState reservation = Reservations[unreserve.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.Conservation, "the reservation has ended")
            .Must(Outcome.Busy, reservation.Memory is not null, Invariant.FrameSafety, "the reservation is backed")
            .Judge(this, seen.Outcome, () => Accept(With(unreserve.Reservation, reservation with { IsEnded = true })));
    }

    private Verdict<World> Judge(FindReservation find, Observation seen)
    {
        ReservationState? expected = ReservationsOf(find.Vcm).FirstOrDefault(reservation => reservation.Range.Contains(find.Address));
        bool isRight = expected is null ? seen.Outcome == Outcome.NotFound : seen.Outcome == Outcome.None && seen.Ranges is [var range] && range == expected.Range;
        return isRight ? Accept(this) : Refuse(Invariant.NoOverlap, $"it gave {seen}; at 0x{find.Address:x} is {expected?.Range.ToString() ?? "no reservation"}");
    }

    private Verdict<World> Judge(ListReservations list, Observation seen)
    {
        AddressRange[] expected = [.. ReservationsOf(list.Vcm).Select(reservation => reservation.Range)];
        return seen.Outcome == Outcome.None && seen.Ranges.SequenceEqual(expected)
            ? Accept(this)
            : Refuse(Invariant.NoOverlap, $"it gave [{string.Join(", ", seen.Ranges)}]; there are [{string.Join(", ", expected)}]");
    }

    private Refusals ReservableLength(Refusals refusals, ObjectId vcm, ulong byteCount, Permissions permissions) => refusals
        .Must(Outcome.Invalid, Vcms[vcm].IsFreed, Invariant.NoOverlap, "the region was freed")
        .Must(Outcome.Invalid, byteCount == 0 || byteCount % PageBytes != 0, Invariant.NoOverlap, "the length is not made of whole pages")
        .Must(Outcome.Invalid, permissions == Permissions.None, Invariant.Permission, "a reservation grants something");

    private Verdict<World> Take(ObjectId id, ReservationState reservation, ulong byteCount)
    {
        AddressRange range = reservation.Range;
        if (reservation.ByteCount != byteCount) return Refuse(Invariant.NoOverlap, $"{range} is not {byteCount} bytes long");
        if (!Vcms[reservation.Vcm].Range.Contains(range)) return Refuse(Invariant.NoOverlap, $"{range} is not in {Vcms[reservation.Vcm].Range}");
        foreach (AddressRange taken in Taken(reservation.Vcm))
        {
            if (taken.Overlaps(range)) return Refuse(Invariant.NoOverlap, $"{range} overlaps {taken}");
        }

        return Accept(With(id, reservation));
    }

    /// <summary>What cannot be reserved: reservations, and what an associated IOMMU does not translate. In the order of addresses.</summary>
    private IEnumerable<AddressRange> Taken(ObjectId vcm)
    {
        IEnumerable<AddressRange> reserved = ReservationsOf(vcm).Select(reservation => reservation.Range);
        return HasTable(vcm) ? reserved.Concat(Iommu.Untranslated).OrderBy(range => range.First) : reserved;
    }

    private bool Fits(Reserve reserve)
    {
        AddressRange region = Vcms[reserve.Vcm].Range;
        ulong first = region.First;
        foreach (AddressRange taken in Taken(reserve.Vcm).Where(region.Overlaps))
        {
            if (taken.First > first && FitsIn(first, taken.First - 1)) return true;
            if (taken.Last >= region.Last) return false;
            first = taken.Last + 1;
        }

        return FitsIn(first, region.Last);

        bool FitsIn(ulong gapFirst, ulong gapLast)
        {
            ulong aligned = unchecked((gapFirst + (reserve.Alignment - 1)) & ~(reserve.Alignment - 1));
            return aligned >= gapFirst && aligned <= gapLast && reserve.ByteCount - 1 <= gapLast - aligned;
        }
    }

    private World With(ObjectId id, ReservationState reservation) => this with { Reservations = Reservations.SetItem(id, reservation) };

    private static Verdict<World> Accept(World next) => Verdict<World>.Accept(next);

    private static Verdict<World> Refuse(Invariant broken, string sentence) => Verdict<World>.Refuse(broken, sentence);
}

using System.Collections.Immutable;

namespace Vcmm.Spec;

// Regions, bounds and reservations.
public sealed partial record World
{
    private const ulong LargestAlignment = 1UL << 30;

    private Verdict<World> Judge(CreateVcm create, Observation seen) => new Refusals()
        .Must(Outcome.Invalid, !IsWholePages(create.Range), Invariant.NoOverlap, "the range is not made of whole pages")
        .Decide(this, seen.Outcome)
        ?? Accept(this with { Vcms = Vcms.Add(create.Vcm, new(create.Range, create.Kind) { IsDeferred = create.IsDeferred, IsTopDown = create.IsTopDown }) });

    private Verdict<World> Judge(CloneVcm clone, Observation seen)
    {
        VcmState source = Vcms[clone.Source];
        return new Refusals()
            .Must(Outcome.Invalid, source.IsFreed, Invariant.Conservation, "the region was freed")
            .Must(Outcome.Invalid, IsPrebuilt(clone.Source), Invariant.Conservation, "the region is prebuilt")
            .Decide(this, seen.Outcome)
            ?? Accept(this with
            {
                Vcms = Vcms.Add(clone.Vcm, source),
                Bounds = Bounds.AddRange(
                    from bound in Bounds
                    where bound.Value.Vcm == clone.Source && !bound.Value.IsFreed
                    select KeyValuePair.Create(bound.Key.CopyIn(clone.Vcm), bound.Value with { Vcm = clone.Vcm })),
                Reservations = Reservations.AddRange(
                    from reservation in Reservations
                    where reservation.Value.Vcm == clone.Source && !reservation.Value.IsEnded
                    select KeyValuePair.Create(
                        reservation.Key.CopyIn(clone.Vcm),
                        reservation.Value with { Vcm = clone.Vcm, Bound = reservation.Value.Bound?.CopyIn(clone.Vcm), OwnerCount = 1, Written = NotedUse.None, Accessed = NotedUse.None })),
            });
    }

    private Verdict<World> Judge(FreeVcm free, Observation seen)
    {
        VcmState vcm = Vcms[free.Vcm];
        return new Refusals()
            .Must(Outcome.Invalid, vcm.IsFreed, Invariant.Conservation, "the region was freed before")
            .Must(Outcome.Busy, ReservationsOf(free.Vcm).Any(), Invariant.Conservation, "the region has reservations")
            .Must(Outcome.Busy, BoundsOf(free.Vcm).Any(), Invariant.Conservation, "the region has bounds")
            .Must(Outcome.Busy, HasTable(free.Vcm), Invariant.Conservation, "the region has associations")
            .Decide(this, seen.Outcome)
            ?? Accept(this with { Vcms = Vcms.SetItem(free.Vcm, vcm with { IsFreed = true }) });
    }

    private Verdict<World> Judge(CreateBound create, Observation seen) =>
        Placeable(
                WholePages(new(), create.ByteCount)
                    .Must(Outcome.Invalid, Vcms[create.Vcm].IsFreed, Invariant.NoOverlap, "the region was freed")
                    .Must(Outcome.Invalid, IsPrebuilt(create.Vcm), Invariant.NoOverlap, "the region is prebuilt"),
                create.Vcm, create.ByteCount, create.Alignment)
            .Decide(this, seen.Outcome)
            ?? (WhyNotGiven(create.Vcm, create.ByteCount, create.Alignment, seen) is { } wrong
                ? RefuseGiven(create.Vcm, seen, wrong, seen.Ranges is [var given] ? this with { Bounds = Bounds.Add(create.Bound, new(create.Vcm, given)) } : null)
                : Accept(this with { Bounds = Bounds.Add(create.Bound, new(create.Vcm, seen.Ranges[0])) }));

    private Verdict<World> Judge(FreeBound free, Observation seen)
    {
        BoundState bound = Bounds[free.Bound];
        return new Refusals()
            .Must(Outcome.Invalid, bound.IsFreed, Invariant.Conservation, "the bound was freed before")
            .Must(Outcome.Busy, ReservationsOf(bound.Vcm).Any(reservation => reservation.Bound == free.Bound), Invariant.NoOverlap, "the bound has reservations")
            .Decide(this, seen.Outcome)
            ?? Accept(this with { Bounds = Bounds.SetItem(free.Bound, bound with { IsFreed = true }) });
    }

    private Verdict<World> Judge(Reserve reserve, Observation seen) =>
        Placeable(Reservable(new(), reserve.In, reserve.ByteCount, reserve.Attributes), reserve.In, reserve.ByteCount, reserve.Alignment)
            .Decide(this, seen.Outcome)
            ?? (WhyNotGiven(reserve.In, reserve.ByteCount, reserve.Alignment, seen) is { } wrong
                ? RefuseGiven(reserve.In, seen, wrong, seen.Ranges is [var given] ? With(reserve.Reservation, Made(reserve.In, given, reserve.Attributes)) : null)
                : Accept(With(reserve.Reservation, Made(reserve.In, seen.Ranges[0], reserve.Attributes))));

    private Verdict<World> Judge(ReserveAt reserve, Observation seen)
    {
        bool wraps = reserve.ByteCount == 0 || reserve.ByteCount - 1 > ulong.MaxValue - reserve.First;
        AddressRange range = wraps ? AddressRange.All : new(reserve.First, reserve.First + (reserve.ByteCount - 1));
        return Reservable(new(), reserve.In, reserve.ByteCount, reserve.Attributes)
            .Must(Outcome.Invalid, reserve.First % PageBytes != 0, Invariant.NoOverlap, "the address is not a multiple of 4 KiB")
            .Must(Outcome.Invalid, wraps || !SpaceOf(reserve.In).Contains(range), Invariant.NoOverlap, "the range is not in the region, or bound")
            .Must(Outcome.NoSpace, HeldBack(reserve.In).Any(range.Overlaps), Invariant.NoStaleAccess, "part of the range waits for a flush")
            .Must(Outcome.NoSpace, Taken(reserve.In).Exists(range.Overlaps), Invariant.NoOverlap, "part of the range is taken")
            .Decide(this, seen.Outcome)
            ?? (seen.Ranges is [var given] && given == range
                ? Accept(With(reserve.Reservation, Made(reserve.In, range, reserve.Attributes)))
                : Refuse(Invariant.NoOverlap, $"it gave {seen}; {range} was asked for", seen.Ranges is [var other] ? With(reserve.Reservation, Made(reserve.In, other, reserve.Attributes)) : null));
    }

    private Verdict<World> Judge(Unreserve unreserve, Observation seen)
    {
        ReservationState reservation = Reservations[unreserve.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.Conservation, "the reservation has ended")
            .Must(Outcome.Busy, reservation.IsBacked, Invariant.FrameSafety, "the reservation is backed")
            .Must(Outcome.Busy, !reservation.IsEnded && reservation.OwnerCount > 1, Invariant.Conservation, "others own the reservation")
            .Decide(this, seen.Outcome)
            ?? Accept(With(unreserve.Reservation, reservation with { IsEnded = true }));
    }

    private Verdict<World> Judge(Acquire acquire, Observation seen)
    {
        ReservationState reservation = Reservations[acquire.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.Conservation, "the reservation has ended")
            .Decide(this, seen.Outcome)
            ?? Accept(With(acquire.Reservation, reservation with { OwnerCount = reservation.OwnerCount + 1 }));
    }

    private Verdict<World> Judge(Release release, Observation seen)
    {
        ReservationState reservation = Reservations[release.Reservation];
        bool isLast = reservation.OwnerCount == 1;
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.Conservation, "the reservation has ended")
            .Must(Outcome.Busy, isLast && reservation.IsBacked, Invariant.FrameSafety, "the reservation is backed and has no other owner")
            .Decide(this, seen.Outcome)
            ?? Accept(With(
                release.Reservation, isLast ? reservation with { IsEnded = true } : reservation with { OwnerCount = reservation.OwnerCount - 1 }));
    }

    private Verdict<World> Judge(FindReservation find, Observation seen)
    {
        ReservationState? expected = ReservationsOf(find.Vcm).FirstOrDefault(reservation => reservation.Range.Contains(find.Address));
        bool isRight = expected is null ? seen.Outcome == Outcome.NotFound : seen.Outcome == Outcome.None && seen.Ranges is [var range] && range == expected.Range;
        return isRight ? Accept(this) : Refuse(Invariant.NoOverlap, $"it gave {seen}; at 0x{find.Address:x} is {expected?.Range.ToString() ?? "no reservation"}", this);
    }

    private Verdict<World> Judge(ListReservations list, Observation seen)
    {
        AddressRange[] expected = [.. ReservationsOf(list.Vcm).Select(reservation => reservation.Range)];
        return seen.Outcome == Outcome.None && seen.Ranges.SequenceEqual(expected)
            ? Accept(this)
            : Refuse(Invariant.NoOverlap, $"it gave [{string.Join(", ", seen.Ranges)}]; there are [{string.Join(", ", expected)}]", this);
    }

    /// <summary>The bounds of a region that have not ended, in the order of their addresses.</summary>
    public IEnumerable<BoundState> BoundsOf(ObjectId vcm) =>
        Bounds.Values.Where(bound => bound.Vcm == vcm && !bound.IsFreed).OrderBy(bound => bound.Range.First);

    /// <summary>Why nothing of the kind can be reserved there.</summary>
    /// <param name="refusals">The reasons so far.</param>
    /// <param name="space">A region or a bound.</param>
    /// <param name="byteCount">The length.</param>
    /// <param name="attributes">What is to be granted.</param>
    private Refusals Reservable(Refusals refusals, ObjectId space, ulong byteCount, Attributes attributes) => WholePages(refusals, byteCount)
        .Must(Outcome.Invalid, IsEnded(space), Invariant.NoOverlap, "the region, or bound, was freed")
        .Must(Outcome.Invalid, IsPrebuilt(VcmOf(space)), Invariant.NoOverlap, "the region is prebuilt")
        .Must(Outcome.Invalid, !CanGrant(VcmOf(space), attributes), Invariant.Permission, "a reservation grants something, and what tables can say");

    private static Refusals WholePages(Refusals refusals, ulong byteCount) => refusals
        .Must(Outcome.Invalid, byteCount == 0 || byteCount % PageBytes != 0, Invariant.NoOverlap, "the length is not made of whole pages");

    /// <summary>Why there is no place for it.</summary>
    private Refusals Placeable(Refusals refusals, ObjectId space, ulong byteCount, ulong alignment) => refusals
        .Must(Outcome.Invalid, !IsAlignment(alignment), Invariant.NoOverlap, "the alignment is not a power of two from 4 KiB to 1 GiB")
        .Must(Outcome.NoSpace, IsAlignment(alignment) && byteCount != 0 && !Fits(space, byteCount, alignment), Invariant.NoOverlap, "no free range is large enough");

    private static bool IsAlignment(ulong alignment) => alignment is >= PageBytes and <= LargestAlignment && (alignment & (alignment - 1)) == 0;

    /// <summary>What is wrong with the one range that a call gave; null: nothing.</summary>
    /// <param name="space">A region or a bound.</param>
    /// <param name="byteCount">The length.</param>
    /// <param name="alignment">Of the first address.</param>
    /// <param name="seen">What it gave.</param>
    /// <param name="isElsewhere">Whether something else than the placement says where it is.</param>
    private FormattableString? WhyNotGiven(ObjectId space, ulong byteCount, ulong alignment, Observation seen, bool isElsewhere = false)
    {
        if (seen.Ranges is not [var range]) return $"it gave {seen}; one range was asked for";
        if (range.First % alignment != 0) return $"it gave {range}; the alignment is 0x{alignment:x}";
        if (range.Last - range.First != byteCount - 1) return $"it gave {range}; {byteCount} bytes were asked for";
        if (!SpaceOf(space).Contains(range)) return $"it gave {range}; {space} is {SpaceOf(space)}";
        foreach (AddressRange taken in Taken(space))
        {
            if (taken.Overlaps(range)) return $"it gave {range}; {taken} is taken";
        }

        if (!Setup.PlacesExactly || isElsewhere) return null;
        ulong first = PlaceOf(space, byteCount, alignment)!.Value;
        if (range.First == first) return null;
        return $"it gave {range}; the {(Vcms[VcmOf(space)].IsTopDown ? "highest" : "lowest")} place that fits begins at 0x{first:x}";
    }

    /// <summary>A range that was given and must not be: one that waits for a flush, devices may still see what was there.</summary>
    private Verdict<World> RefuseGiven(ObjectId space, Observation seen, FormattableString wrong, World? next) =>
        Refuse(HeldBack(space).Any(held => seen.Ranges.Any(held.Overlaps)) ? Invariant.NoStaleAccess : Invariant.NoOverlap, wrong, next);

    private ReservationState Made(ObjectId space, AddressRange range, Attributes attributes) =>
        new(VcmOf(space), range, attributes) { Bound = space.Kind == ObjectKind.Bound ? space : null };

    private ObjectId VcmOf(ObjectId space) => space.Kind == ObjectKind.Bound ? Bounds[space].Vcm : space;

    private AddressRange SpaceOf(ObjectId space) => space.Kind == ObjectKind.Bound ? Bounds[space].Range : Vcms[space].Range;

    private bool IsEnded(ObjectId space) => space.Kind == ObjectKind.Bound ? Bounds[space].IsFreed : Vcms[space].IsFreed;

    /// <summary>What is taken out of the region itself: bounds, reservations that are in none, and what waits for a flush. In the order of addresses.</summary>
    private List<AddressRange> Held(ObjectId vcm)
    {
        List<AddressRange> held = [.. HeldNow(vcm), .. HeldBack(vcm)];
        held.Sort(static (one, other) => one.First.CompareTo(other.First));
        return held;
    }

    /// <summary>What is somebody's of the region itself: bounds, and reservations that are in none.</summary>
    private IEnumerable<AddressRange> HeldNow(ObjectId vcm)
    {
        foreach (ReservationState reservation in Reservations.Values)
        {
            if (reservation.Vcm == vcm && !reservation.IsEnded && reservation.Bound is null) yield return reservation.Range;
        }

        foreach (BoundState bound in Bounds.Values)
        {
            if (bound.Vcm == vcm && !bound.IsFreed) yield return bound.Range;
        }
    }

    /// <summary>What cannot be reserved of a region or bound. In the order of addresses.</summary>
    private List<AddressRange> Taken(ObjectId space)
    {
        if (space.Kind != ObjectKind.Bound && !IsTranslatedFrom(space)) return Held(space);
        List<AddressRange> taken = space.Kind != ObjectKind.Bound
            ? [.. Held(space), .. Iommu.Untranslated]
            : [.. from reservation in ReservationsOf(Bounds[space].Vcm) where reservation.Bound == space select reservation.Range, .. HeldBack(space)];
        taken.Sort(static (one, other) => one.First.CompareTo(other.First));
        return taken;
    }

    private bool Fits(ObjectId space, ulong byteCount, ulong alignment) => PlaceOf(space, byteCount, alignment) is not null;

    /// <summary>The lowest address at which it fits, top-down the highest; null: it fits nowhere.</summary>
    private ulong? PlaceOf(ObjectId space, ulong byteCount, ulong alignment)
    {
        bool isTopDown = Vcms[VcmOf(space)].IsTopDown;
        List<AddressRange> gaps = Gaps(space);
        if (isTopDown) gaps.Reverse();
        foreach (AddressRange gap in gaps)
        {
            ulong lowest = unchecked((gap.First + (alignment - 1)) & ~(alignment - 1));
            if (lowest < gap.First || lowest > gap.Last || byteCount - 1 > gap.Last - lowest) continue;
            return isTopDown ? (gap.Last - (byteCount - 1)) & ~(alignment - 1) : lowest;
        }

        return null;
    }

    /// <summary>What is free of a region or bound, in the order of addresses.</summary>
    private List<AddressRange> Gaps(ObjectId space)
    {
        AddressRange whole = SpaceOf(space);
        var gaps = new List<AddressRange>();
        ulong first = whole.First;
        foreach (AddressRange taken in Taken(space))
        {
            if (!taken.Overlaps(whole)) continue;
            if (taken.First > first) gaps.Add(new(first, taken.First - 1));
            if (taken.Last >= whole.Last) return gaps;
            first = taken.Last + 1;
        }

        gaps.Add(new(first, whole.Last));
        return gaps;
    }

    private World With(ObjectId id, ReservationState reservation) => this with { Reservations = Reservations.SetItem(id, reservation) };

    private static Verdict<World> Accept(World next) => Verdict<World>.Accept(next);

    /// <summary>Not permitted, unless that invariant is overlooked and it is known what follows.</summary>
    private Verdict<World> Refuse(Invariant broken, FormattableString sentence, World? next = null) =>
        next is not null && Overlooked.Contains(broken) ? Accept(next) : Verdict<World>.RefuseLazily(broken, sentence);
}

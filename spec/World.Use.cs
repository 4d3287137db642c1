namespace Vcmm.Spec;

/// <summary>What is known of one kind of use of a reservation's pages since it was last cleared, or they were backed.</summary>
/// <param name="Certain">The pages of which it must be told.</param>
/// <param name="Possible">The pages of which it may be told: those, and what lies in one leaf with them.</param>
public sealed record NotedUse(RangeSet Certain, RangeSet Possible)
{
    /// <summary>Nothing was used.</summary>
    public static NotedUse None { get; } = new(RangeSet.Empty, RangeSet.Empty);

    /// <summary>Without what happened in a range.</summary>
    public NotedUse Without(AddressRange range) => new(Certain.Without(range), Possible.Without(range));
}

// What devices used and wrote to, as hardware notes it in the tables: what was done and noted is told, and what nobody did is not.
public sealed partial record World
{
    // Of all tables that there are, what a leaf can span besides one page.
    private static readonly ulong[] LargeLeaves = [1UL << 30, 2UL << 20];

    /// <remarks>
    /// Each page that a device wrote to since it was last cleared, or since it was backed, is told. A leaf is told as a whole, and it is not the
    /// model's how large leaves are: what may be one with a page that was written may be told with it. An unback that failed
    /// because the hardware did may have lost what was noted, and then tells of everything instead. Of accesses, those that were blocked may be told, too.
    /// Where a device with a TLB of its own asks for a translation, the hardware notes what it may do with it, done or not: there anything may be told.
    /// Nothing can be told where a device of the region has tables in which nothing is noted.
    /// </remarks>
    private Verdict<World> Judge(CollectUse collect, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[collect.Reservation];
        bool isPart = IsPart(collect.Offset, collect.ByteCount, reservation.ByteCount);
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Invalid, !isPart, Invariant.TablesAreTruth, "it is no part of the reservation")
            .Must(Outcome.Invalid, TableModelsOf(reservation.Vcm).Any(static table => !table.NotesUse), Invariant.TablesAreTruth, "in a table of the region nothing is noted")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails && collect.Clears)
            .Decide(this, seen.Outcome)
            ?? JudgeFound(collect, reservation, seen);
    }

    private Verdict<World> JudgeFound(CollectUse collect, ReservationState reservation, Observation seen)
    {
        AddressRange part = RangeOf(reservation, collect.Offset, collect.ByteCount);
        NotedUse use = reservation.UseOf(collect.Use);
        RangeSet told = RangeSet.Of(seen.Ranges);
        string done = collect.Use == Use.Written ? "written" : "accessed";
        // What was told beside the part need not be cleared in every table.
        RangeSet certain = told.Ranges.Aggregate(use.Certain.Without(part), static (rest, range) => rest.Without(range));
        World next = collect.Clears ? With(collect.Reservation, reservation.With(collect.Use, new(certain, use.Possible.Without(part)))) : this;
        if (!told.Ranges.SequenceEqual(seen.Ranges)) return Refuse(Invariant.TablesAreTruth, $"it gave {seen}; ranges ascend and do not touch", next);
        if (use.Certain.Within(part).FirstNotIn(told) is { } missing) return Refuse(Invariant.TablesAreTruth, $"it gave [{told}]; 0x{missing:x} was {done}", next);
        if (told.FirstNotIn(use.Possible) is { } wrong && !MayHaveFetchedAhead(reservation.Vcm)) return Refuse(Invariant.TablesAreTruth, $"it gave [{told}]; 0x{wrong:x} was not {done}", next);
        return !collect.Clears && told.FirstNotIn(RangeSet.Empty.With(part)) is { } outside
            ? Refuse(Invariant.TablesAreTruth, $"it gave [{told}]; 0x{outside:x} is not in {part}, and nothing was to be cleared", next)
            : Accept(next);
    }

    /// <summary>Whether devices with TLBs of their own have used the region: they ask for translations when they like, and what they could have done counts as done. Or a guest's tables: hardware reads them, and sets flags there.</summary>
    private bool MayHaveFetchedAhead(ObjectId vcm) => Associations.Values.Any(association => OwnerOf(association.Vcm) == vcm && (association.Guest is not null || ModelOf(association.Device).HasTlb));

    /// <summary>The world in which the hardware has noted an access.</summary>
    private World Noted(DeviceAccess access, bool isDone)
    {
        if (ActiveAssociationOf(access.Device, access.Pasid) is not { } association || !TableModelOf(association.Kind).NotesUse) return this;
        ObjectId vcm = OwnerOf(association.Vcm);
        foreach ((ObjectId id, ReservationState reservation) in Reservations)
        {
            if (reservation.Vcm != vcm || reservation.IsEnded || !reservation.Range.Contains(access.Address)) continue;
            if (LeafOf(reservation, access.Address) is not { } leaf) return this;
            AddressRange? page = isDone ? RangeOf(access.Address & ~(PageBytes - 1), PageBytes) : null;
            ReservationState noted = reservation.Noting(Use.Accessed, page, leaf);
            if (isDone && access.Kind == Permissions.Write) noted = noted.Noting(Use.Written, page, leaf);
            return With(id, noted);
        }

        return this;
    }

    /// <summary>What the leaf of an address spans at most: the largest that the addresses and the memory of its part have room for; null: it is not backed.</summary>
    private AddressRange? LeafOf(ReservationState reservation, ulong address)
    {
        ulong offset = address - reservation.Range.First;
        if (reservation.Parts.FirstOrDefault(part => part.Offset <= offset && offset < part.End) is not { ByteCount: not 0 } part) return null;
        AddressRange whole = RangeOf(reservation, part.Offset, part.ByteCount);
        foreach (ulong size in LargeLeaves)
        {
            AddressRange leaf = RangeOf(address & ~(size - 1), size);
            if (whole.Contains(leaf) && IsOnePiece(Slice(part.Memory, part.MemoryOffset + (leaf.First - whole.First), size), size)) return leaf;
        }

        return RangeOf(address & ~(PageBytes - 1), PageBytes);
    }

    /// <summary>Whether chunks continue each other, and the first is aligned so.</summary>
    private static bool IsOnePiece(IEnumerable<AddressRange> chunks, ulong alignment)
    {
        ulong? next = null;
        foreach (AddressRange chunk in chunks)
        {
            if (next is null ? chunk.First % alignment != 0 : chunk.First != next) return false;
            next = unchecked(chunk.Last + 1);
        }

        return true;
    }

    /// <summary>The world after a call that the hardware did not do: an unback has mapped again what it had unmapped, and tells of all of it.</summary>
    private World NoteLostUse(Operation operation)
    {
        (ObjectId Reservation, ulong Offset, ulong ByteCount)? part = operation switch
        {
            UnbackPart o => (o.Reservation, o.Offset, o.ByteCount),
            Unback o => (o.Reservation, 0, Reservations[o.Reservation].ByteCount),
            Unmap o => (o.Reservation, 0, Reservations[o.Reservation].ByteCount),
            Unbind o => (o.Reservation, 0, Reservations[o.Reservation].ByteCount),
            _ => null,
        };
        if (part is not var (id, offset, byteCount)) return this;
        ReservationState reservation = Reservations[id];
        AddressRange range = RangeOf(reservation, offset, byteCount);
        return With(id, reservation.Noting(Use.Written, null, range).Noting(Use.Accessed, null, range));
    }
}

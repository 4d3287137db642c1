namespace Vcmm.Spec;

/// <summary>
/// I4: what is not mapped any more can be seen only in a deferred region, while it waits for a flush; until then nothing is mapped over it, and nobody is
/// given its addresses. What a guest's table does not say any more can be seen only until the guest has told it, through what the region maps now.
/// </summary>
internal static class NoStaleAccess
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (!association.Untold.IsEmpty && association is not { IsActive: true, Guest: not null }) return $"{id} is active with no guest's table, and what one has said is kept";
        }

        foreach (Quarantined waiting in world.Quarantine)
        {
            ReservationState reservation = world.Reservations[waiting.Reservation];
            if (!world.Vcms[reservation.Vcm].IsDeferred) return $"{waiting.Reservation} was unbacked in a strict region and waits for a flush";
            foreach (Mapping stale in waiting.Stale)
            {
                foreach (Mapping mapping in world.MappingsOf(reservation.Vcm))
                {
                    if (mapping.Range.Overlaps(stale.Range)) return $"{mapping} is mapped in {reservation.Vcm} while {stale} can be seen there";
                }
            }

            if (!reservation.IsEnded) continue;
            foreach ((ObjectId id, ReservationState other) in world.Reservations)
            {
                if (!other.IsEnded && other.Vcm == reservation.Vcm && other.Range.Overlaps(reservation.Range)) return $"{id} has {other.Range}, where {waiting.Reservation} waits for a flush";
            }
        }

        return null;
    }

    public static string? OfStep(WorldStep step)
    {
        (World before, Operation operation, Observation seen, World after) = step;
        if (NestedAccess.Of(step) is { } nested)
        {
            if (!nested.HasTables) return $"{nested}; the region has taken that away";
            if (nested is { IsBehindRegion: false, LeadsToNothing: true }) return $"{nested}; what that says leads to nothing in the region";
        }

        if ((operation is GuestInvalidate || !ReferenceEquals(before.Associations, after.Associations)) && WhyKept(step) is { } kept) return kept;
        // What an unback, an end or a change of attributes takes from devices of a strict region they do not see when it returns.
        if (seen.Outcome == Outcome.None && operation is Flush flush && after.Vcms[flush.Vcm].IsDeferred && !after.Quarantine.IsEmpty) return $"{operation} returned, and {after.Quarantine.Count} unbacks wait for it";
        if (ReferenceEquals(before.Quarantine, after.Quarantine)) return null;
        foreach (Quarantined waiting in after.Quarantine)
        {
            // A device sees what it saw, or nothing: never a third.
            foreach (Mapping stale in waiting.Stale)
            {
                ObjectId vcm = after.Reservations[waiting.Reservation].Vcm;
                bool was = before.MeaningOf(vcm, stale.Range.First) == stale.Translation || before.StaleOf(vcm).Any(former => former.Range.Contains(stale.Range) && former.At(stale.Range.First) == stale.Translation);
                if (!was) return $"{stale} can be seen in {vcm} after {operation}; it was not mapped there before";
            }
        }

        return null;
    }

    /// <summary>What devices have kept of guests' tables is what those said before, and nothing of what was told.</summary>
    private static string? WhyKept(WorldStep step)
    {
        (World before, Operation operation, Observation seen, World after) = step;
        foreach ((ObjectId id, AssociationState association) in after.Associations)
        {
            foreach (UntoldEntry untold in association.Untold)
            {
                ulong page = World.GuestFirst + ((ulong)untold.Page * World.PageBytes);
                bool isTold = seen.Outcome == Outcome.None && operation is GuestInvalidate told && told.Range.Contains(page)
                    && before.Associations[told.Association] is var teller && teller.Vcm == association.Vcm && teller.Guest == association.Guest;
                if (isTold) return $"{operation} returned, and {id} has kept {untold}";
                bool wasSaid = association.Guest is { } guest && before.Guests[guest].Entries[untold.Page] == untold.Entry;
                if (!wasSaid && !before.Associations.Values.Any(other => other.IsActive && other.Guest == association.Guest && other.Untold.Contains(untold))) return $"{id} has kept {untold} after {operation}; that was not said before";
            }
        }

        return null;
    }
}

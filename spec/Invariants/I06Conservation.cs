namespace Vcmm.Spec;

/// <summary>I6: what there is adds up, and a call that was refused or has failed leaves everything as it was.</summary>
internal static class Conservation
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, MemoryState memory) in world.Memories)
        {
            ulong sum = 0;
            foreach (AddressRange chunk in memory.Segments) sum += chunk.Last - chunk.First + 1;
            if (sum != memory.ByteCount) return $"{id} is said to have {memory.ByteCount} bytes and has {sum}";
        }

        foreach ((ObjectId id, ReservationState reservation) in world.Reservations)
        {
            if (reservation.IsEnded) continue;
            if (reservation.OwnerCount < 1) return $"{id} has no owner and has not ended";
            if (world.Vcms[reservation.Vcm].IsFreed) return $"{id} has not ended, and {reservation.Vcm} was freed";
            if (reservation.Bound is { } bound && world.Bounds[bound].IsFreed) return $"{id} has not ended, and {bound} was freed";
        }

        foreach ((ObjectId id, BoundState bound) in world.Bounds)
        {
            if (!bound.IsFreed && world.Vcms[bound.Vcm].IsFreed) return $"{id} has not ended, and {bound.Vcm} was freed";
        }

        return null;
    }

    public static string? OfStep(WorldStep step)
    {
        (World before, Operation operation, Observation seen, World after) = step;
        if (operation is not (CreateGuest or GuestMap or GuestUnmap) && !AreSame(before.Guests, after.Guests)) return $"{operation} has changed a guest's table, which nobody writes but the guest";
        // Of a call that gives faults to hooks, what those did counts by itself.
        if (seen.Outcome == Outcome.None || !seen.Acts.IsEmpty) return null;
        bool isKept = AreSame(before.Vcms, after.Vcms) && AreSame(before.Bounds, after.Bounds) && AreSame(before.Memories, after.Memories) && AreSame(before.Associations, after.Associations)
            && (ReferenceEquals(before.Reservations, after.Reservations) || (before.Reservations.Count == after.Reservations.Count && before.Reservations.All(was => IsAsBefore(was.Value, after.Reservations[was.Key]))));
        return isKept ? null : $"{operation} came to {seen.Outcome} and has changed something";
    }

    private static bool AreSame<T>(ObjectMap<T> before, ObjectMap<T> after)
        where T : class => ReferenceEquals(before, after);

    /// <summary>But for what the hardware has noted: an access that is blocked counts as one, and an unback that failed has lost it.</summary>
    private static bool IsAsBefore(ReservationState before, ReservationState after) =>
        before with { Written = NotedUse.None, Accessed = NotedUse.None } == after with { Written = NotedUse.None, Accessed = NotedUse.None };
}

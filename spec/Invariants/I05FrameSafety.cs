namespace Vcmm.Spec;

/// <summary>I5: memory that a device can reach is somebody's, or waits for a flush; and what is somebody's, or waits, is nobody else's.</summary>
internal static class FrameSafety
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, ReservationState reservation) in world.Reservations)
        {
            foreach (BackedPart part in reservation.Parts)
            {
                if (world.Memories[part.Memory].IsFreed) return $"{id} is backed by {part.Memory}, which was freed";
            }
        }

        foreach ((ObjectId id, MemoryState memory) in world.Memories)
        {
            if (!IsHeld(world, id, memory)) continue;
            foreach ((ObjectId otherId, MemoryState other) in world.Memories)
            {
                if (otherId.CompareTo(id) <= 0 || memory.IsWrapped || other.IsWrapped || !IsHeld(world, otherId, other)) continue;
                if (memory.Segments.Any(chunk => other.Segments.Any(chunk.Overlaps))) return $"{id} and {otherId} have the same memory";
            }
        }

        foreach (Quarantined waiting in world.Quarantine)
        {
            foreach (Mapping stale in waiting.Stale)
            {
                bool isHeld = waiting.Memories.Any(memory => world.Memories[memory].Segments.Any(chunk => chunk.Contains(stale.Translation.Target)));
                if (!isHeld) return $"{stale} can be seen, and nothing keeps the memory behind it";
            }
        }

        return null;
    }

    private static bool IsHeld(World world, ObjectId id, MemoryState memory) => !memory.IsFreed || world.IsInQuarantine(id);
}

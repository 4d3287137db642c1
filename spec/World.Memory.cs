using System.Numerics;

namespace Vcmm.Spec;

// Physical memory and backing.
public sealed partial record World
{
    private Verdict<World> Judge(AllocateMemory allocate, Observation seen, Surroundings surroundings)
    {
        ulong smallest = allocate.ChunkSizes & unchecked(0 - allocate.ChunkSizes);
        bool isWhole = allocate.ByteCount != 0 && smallest != 0 && allocate.ByteCount % smallest == 0;
        return new Refusals()
            .Must(Outcome.Invalid, !isWhole, Invariant.Conservation, "the length is not made of the chunk sizes")
            .Must(Outcome.NoMemory, isWhole && surroundings.FreeBytes < allocate.ByteCount, Invariant.Conservation, "there is not that much memory")
            // What is free may lie in pieces that are too small.
            .May(Outcome.NoMemory, surroundings.MemoryFails || smallest > PageBytes)
            .Judge(this, seen.Outcome, () => JudgeChunks(allocate, seen));
    }

    private Verdict<World> JudgeChunks(AllocateMemory allocate, Observation seen)
    {
        ulong sum = 0;
        AddressRange? previous = null;
        foreach (AddressRange chunk in seen.Ranges)
        {
            ulong byteCount = chunk.Last - chunk.First + 1;
            if (BitOperations.PopCount(byteCount) != 1 || (byteCount & allocate.ChunkSizes) == 0)
                return Refuse(Invariant.Conservation, $"{chunk} is not a chunk of a size that was asked for");
            if (chunk.First % byteCount != 0) return Refuse(Invariant.Conservation, $"{chunk} is not aligned to its size");
            bool continues = previous is { } before && before.Last + 1 == chunk.First && before.Last - before.First == chunk.Last - chunk.First;
            if (allocate.Scattered && continues) return Refuse(Invariant.Conservation, $"{chunk} continues {previous}, and scattered memory was asked for");
            foreach ((ObjectId id, MemoryState memory) in Memories)
            {
                if (!memory.IsFreed && memory.Segments.Any(chunk.Overlaps)) return Refuse(Invariant.Conservation, $"{chunk} belongs to {id}");
            }

            sum += byteCount;
            previous = chunk;
        }

        for (int i = 0; i < seen.Ranges.Length; i++)
        {
            if (seen.Ranges.Take(i).Any(seen.Ranges[i].Overlaps)) return Refuse(Invariant.Conservation, $"{seen.Ranges[i]} was given twice");
        }

        if (sum != allocate.ByteCount) return Refuse(Invariant.Conservation, $"it gave {sum} bytes, not {allocate.ByteCount}");
        return Accept(this with { Memories = Memories.Add(allocate.Memory, new(sum, seen.Ranges)) });
    }

    private Verdict<World> Judge(FreeMemory free, Observation seen)
    {
        MemoryState memory = Memories[free.Memory];
        return new Refusals()
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.Conservation, "the memory was freed before")
            .Must(Outcome.Busy, IsUsed(free.Memory), Invariant.FrameSafety, "the memory backs a reservation")
            .Judge(this, seen.Outcome, () => Accept(this with { Memories = Memories.SetItem(free.Memory, memory with { IsFreed = true }) }));
    }

    private Verdict<World> Judge(Back back, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[back.Reservation];
        MemoryState memory = Memories[back.Memory];
        bool isShort = HasTable(reservation.Vcm) && surroundings.FreeBytes < MostTables(reservation.Range) * PageBytes;
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.FrameSafety, "the memory was freed")
            .Must(Outcome.Invalid, memory.ByteCount != reservation.ByteCount, Invariant.TablesAreTruth, "the lengths differ")
            .Must(Outcome.Busy, reservation.Memory is not null, Invariant.TablesAreTruth, "the reservation is backed")
            .May(Outcome.NoMemory, surroundings.MemoryFails || isShort)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Judge(this, seen.Outcome, () => Accept(With(back.Reservation, reservation with { Memory = back.Memory })));
    }

    private Verdict<World> Judge(Unback unback, Observation seen, Surroundings surroundings)
    {
        ReservationState reservation = Reservations[unback.Reservation];
        return new Refusals()
            .Must(Outcome.Invalid, reservation.IsEnded, Invariant.NoOverlap, "the reservation has ended")
            .Must(Outcome.NotFound, !reservation.IsEnded && reservation.Memory is null, Invariant.TablesAreTruth, "the reservation is not backed")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Judge(this, seen.Outcome, () => Accept(
                Remember(reservation.Vcm, reservation.Range).With(unback.Reservation, reservation with { Memory = null })));
    }

    private bool IsUsed(ObjectId memory) => Reservations.Values.Any(reservation => reservation.Memory == memory && !reservation.IsEnded);

    /// <summary>An upper bound for the tables below the root that a range can need: one for each 2 MiB, 1 GiB and 512 GiB touched.</summary>
    private static ulong MostTables(AddressRange range)
    {
        ulong count = 0;
        for (int shift = 21; shift <= 39; shift += 9) count += (range.Last >> shift) - (range.First >> shift) + 1;
        return count;
    }
}

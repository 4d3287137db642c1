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
                return Refuse(Invariant.Conservation, $"it gave {chunk}; a chunk has a size that was asked for");
            if (chunk.First % byteCount != 0) return Refuse(Invariant.Conservation, $"it gave {chunk}; a chunk is aligned to its size");
            bool continues = previous is { } before && before.Last + 1 == chunk.First && before.Last - before.First == chunk.Last - chunk.First;
            if (allocate.Scattered && continues) return Refuse(Invariant.Conservation, $"it gave {chunk} after {previous}; no chunk of scattered memory continues the one before");
            foreach ((ObjectId id, MemoryState memory) in Memories)
            {
                if (!memory.IsFreed && memory.Segments.Any(chunk.Overlaps)) return Refuse(Invariant.Conservation, $"it gave {chunk}; it belongs to {id}");
            }

            sum += byteCount;
            previous = chunk;
        }

        for (int i = 0; i < seen.Ranges.Length; i++)
        {
            if (seen.Ranges.Take(i).Any(seen.Ranges[i].Overlaps)) return Refuse(Invariant.Conservation, $"it gave {seen.Ranges[i]} twice; no two chunks overlap");
        }

        if (sum != allocate.ByteCount) return Refuse(Invariant.Conservation, $"it gave {sum} bytes; {allocate.ByteCount} were asked for");
        return Accept(this with { Memories = Memories.Add(allocate.Memory, new(sum, seen.Ranges)) });
    }

    private Verdict<World> Judge(Wrap wrap, Observation seen) => new Refusals()
        .Must(Outcome.Invalid, !IsWholePages(wrap.Range), Invariant.Conservation, "the range is not made of whole pages")
        .Must(Outcome.Invalid, wrap.Range == AddressRange.All, Invariant.Conservation, "the length does not fit in 64 bits")
        .Judge(this, seen.Outcome, () => Accept(this with { Memories = Memories.Add(wrap.Memory, new(wrap.Range.Last - wrap.Range.First + 1, [wrap.Range], IsWrapped: true)) }));

    private Verdict<World> Judge(FreeMemory free, Observation seen)
    {
        MemoryState memory = Memories[free.Memory];
        return new Refusals()
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.Conservation, "the memory was freed before")
            .Must(Outcome.Busy, IsUsed(free.Memory), Invariant.FrameSafety, "the memory backs a reservation")
            .Judge(this, seen.Outcome, () => Accept(this with { Memories = Memories.SetItem(free.Memory, memory with { IsFreed = true }) }));
    }

    private Verdict<World> Judge(FindMappings find, Observation seen)
    {
        bool isInside = find.Offset < Memories[find.Memory].ByteCount;
        Place[] expected = isInside ? [.. PlacesOf(Slice(find.Memory, find.Offset, 1).First().First).Order()] : [];
        Outcome outcome = !isInside ? Outcome.Invalid : expected.Length == 0 ? Outcome.NotFound : Outcome.None;
        return seen.Outcome == outcome && seen.Places.Order().SequenceEqual(expected)
            ? Accept(this)
            : Refuse(Invariant.TablesAreTruth, $"it gave {seen}; it is mapped at [{string.Join(", ", expected)}]");
    }

    /// <summary>Every place where a physical address is mapped.</summary>
    private IEnumerable<Place> PlacesOf(ulong physical) =>
        from reservation in Reservations
        where !reservation.Value.IsEnded
        from mapping in MappingsOf(reservation.Value)
        where mapping.Translation.Target <= physical && physical - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First
        select new Place(reservation.Key, mapping.Range.First + (physical - mapping.Translation.Target));

    private bool IsUsed(ObjectId memory) => Reservations.Values.Any(reservation => !reservation.IsEnded && reservation.Parts.Any(part => part.Memory == memory));

    private static bool IsWholePages(AddressRange range) => range.First % PageBytes == 0 && range.Last % PageBytes == PageBytes - 1;
}

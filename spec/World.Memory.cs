using System.Collections.Immutable;
using System.Numerics;

namespace Vcmm.Spec;

// Physical memory and backing.
public sealed partial record World
{
    private Verdict<World> Judge(AllocateMemory allocate, Observation seen, Surroundings surroundings) =>
        Allocatable(new(), allocate.ByteCount, allocate.ChunkSizes, allocate.From, surroundings)
            .Decide(this, seen.Outcome)
            ?? ((WhyNotFrom(allocate.From, seen.Ranges) ?? WhyNotChunks(allocate.ByteCount, allocate.ChunkSizes, allocate.Scattered, seen.Ranges)) is { } wrong
                ? Refuse(Invariant.Conservation, wrong, With(allocate.Memory, new MemoryState(allocate.ByteCount, seen.Ranges)))
                : Accept(With(allocate.Memory, new MemoryState(allocate.ByteCount, seen.Ranges))));

    private Verdict<World> Judge(AllocateContiguous allocate, Observation seen, Surroundings surroundings) =>
        FromBanks(
                WholePages(new(), allocate.ByteCount)
                    .Must(Outcome.Invalid, !IsAlignment(allocate.Alignment), Invariant.Conservation, "the alignment is not a power of two from 4 KiB to 1 GiB"),
                allocate.From, allocate.ByteCount, surroundings)
            // What is free may lie in pieces that are too small.
            .May(Outcome.NoMemory, surroundings.MemoryFails || Math.Max(allocate.ByteCount, allocate.Alignment) > PageBytes)
            .Decide(this, seen.Outcome)
            ?? ((WhyNotFrom(allocate.From, seen.Ranges) ?? WhyNotPiece(allocate.ByteCount, allocate.Alignment, seen.Ranges)) is { } wrong
                ? Refuse(Invariant.Conservation, wrong, With(allocate.Memory, new MemoryState(allocate.ByteCount, seen.Ranges)))
                : Accept(With(allocate.Memory, new MemoryState(allocate.ByteCount, seen.Ranges))));

    private Refusals Allocatable(Refusals refusals, ulong byteCount, ulong chunkSizes, BankRequest from, Surroundings surroundings)
    {
        ulong smallest = chunkSizes & unchecked(0 - chunkSizes);
        bool isWhole = byteCount != 0 && smallest != 0 && byteCount % smallest == 0;
        refusals.Must(Outcome.Invalid, !isWhole, Invariant.Conservation, "the length is not made of the chunk sizes");
        if (isWhole) FromBanks(refusals, from, byteCount, surroundings);
        // What is free may lie in pieces that are too small.
        return refusals.May(Outcome.NoMemory, surroundings.MemoryFails || smallest > PageBytes);
    }

    /// <summary>What is wrong with the chunks that a call gave; null: nothing.</summary>
    private FormattableString? WhyNotChunks(ulong byteCount, ulong chunkSizes, bool scattered, ImmutableArray<AddressRange> chunks)
    {
        ulong sum = 0;
        AddressRange? previous = null;
        foreach (AddressRange chunk in chunks)
        {
            ulong length = chunk.Last - chunk.First + 1;
            if (BitOperations.PopCount(length) != 1 || (length & chunkSizes) == 0) return $"it gave {chunk}; a chunk has a size that was asked for";
            if (chunk.First % length != 0) return $"it gave {chunk}; a chunk is aligned to its size";
            bool continues = previous is { } before && before.Last + 1 == chunk.First && before.Last - before.First == chunk.Last - chunk.First;
            if (scattered && continues) return $"it gave {chunk} after {previous}; no chunk of scattered memory continues the one before";
            if (OwnerOf(chunk) is { } owner) return $"it gave {chunk}; it belongs to {owner}";
            sum += length;
            previous = chunk;
        }

        for (int i = 0; i < chunks.Length; i++)
        {
            if (chunks.Take(i).Any(chunks[i].Overlaps)) return $"it gave {chunks[i]} twice; no two chunks overlap";
        }

        if (sum == byteCount) return null;
        return $"it gave {sum} bytes; {byteCount} were asked for";
    }

    /// <summary>What is wrong with the one piece that a call gave; null: nothing.</summary>
    private FormattableString? WhyNotPiece(ulong byteCount, ulong alignment, ImmutableArray<AddressRange> pieces)
    {
        if (pieces is not [var piece]) return $"it gave {pieces.Length} pieces; one was asked for";
        if (piece.Last - piece.First != byteCount - 1) return $"it gave {piece}; {byteCount} bytes were asked for";
        if (piece.First % alignment != 0) return $"it gave {piece}; the alignment is 0x{alignment:x}";
        if (OwnerOf(piece) is not { } owner) return null;
        return $"it gave {piece}; it belongs to {owner}";
    }

    private ObjectId? OwnerOf(AddressRange chunk)
    {
        foreach ((ObjectId id, MemoryState memory) in Memories)
        {
            if (!memory.IsFreed && memory.Segments.Any(chunk.Overlaps)) return id;
        }

        return null;
    }

    private World With(ObjectId id, MemoryState memory) => this with { Memories = Memories.SetItem(id, memory) };

    private Verdict<World> Judge(Wrap wrap, Observation seen) => new Refusals()
        .Must(Outcome.Invalid, !IsWholePages(wrap.Range), Invariant.Conservation, "the range is not made of whole pages")
        .Must(Outcome.Invalid, wrap.Range == AddressRange.All, Invariant.Conservation, "the length does not fit in 64 bits")
        .Decide(this, seen.Outcome)
        ?? Accept(With(wrap.Memory, new MemoryState(wrap.Range.Last - wrap.Range.First + 1, [wrap.Range], IsWrapped: true)));

    private Verdict<World> Judge(FreeMemory free, Observation seen)
    {
        MemoryState memory = Memories[free.Memory];
        return new Refusals()
            .Must(Outcome.Invalid, memory.IsFreed, Invariant.Conservation, "the memory was freed before")
            .Must(Outcome.Busy, IsUsed(free.Memory), Invariant.FrameSafety, "the memory backs a reservation")
            .Decide(this, seen.Outcome)
            ?? Accept(With(free.Memory, memory with { IsFreed = true }));
    }

    private Verdict<World> Judge(FindMappings find, Observation seen)
    {
        bool isInside = find.Offset < Memories[find.Memory].ByteCount;
        Place[] expected = isInside ? [.. PlacesOf(Slice(find.Memory, find.Offset, 1).First().First).Order()] : [];
        Outcome outcome = !isInside ? Outcome.Invalid : expected.Length == 0 ? Outcome.NotFound : Outcome.None;
        return seen.Outcome == outcome && seen.Places.Order().SequenceEqual(expected)
            ? Accept(this)
            : Refuse(Invariant.TablesAreTruth, $"it gave {seen}; it is mapped at [{string.Join(", ", expected)}]", this);
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

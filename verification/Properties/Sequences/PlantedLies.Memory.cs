using System.Collections.Immutable;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Memory that was not given, and copies that were not made.</summary>
internal static class MemoryLies
{
    private const ulong WordBytes = 8;

    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("a chunk of another size", Invariant.Conservation, "a chunk has a size that was asked for", static told => Chunks(told) is [var first, ..] ? Say(told, new(first.First, first.Last + World.PageBytes)) : null),
        new("a chunk off its alignment", Invariant.Conservation, "a chunk is aligned to its size", static told => Chunks(told) is [var first, ..] ? Say(told, Moved(first, (first.Last - first.First + 1) / 2)) : null),
        new("scattered memory that continues itself", Invariant.Conservation, "no chunk of scattered memory continues the one before",
            static told => told.Operation is AllocateMemory { Scattered: true } && Chunks(told) is [var first, var second, ..] && second.Last - second.First == first.Last - first.First
                ? Say(told, Moved(first, first.Last - first.First + 1), 1) : null),
        new("a chunk that another has", Invariant.Conservation, "; it belongs to", static told => Chunks(told) is [var first, ..] && OfAnother(told.World, first) is { } other ? Say(told, other) : null),
        new("a chunk that is given twice", Invariant.Conservation, "no two chunks overlap", static told => Chunks(told) is [var first, _, ..] ? Say(told, first, 1) : null),
        new("less memory than was asked for", Invariant.Conservation, " were asked for", static told => Chunks(told) is [.. var less, _] ? told.Seen with { Ranges = less } : null),
        new("contiguous memory of two pieces", Invariant.Conservation, "one was asked for",
            static told => Piece(told) is { } piece && piece.Last - piece.First > World.PageBytes
                ? told.Seen with { Ranges = [new(piece.First, piece.First + (World.PageBytes - 1)), new(piece.First + World.PageBytes, piece.Last)] } : null),
        new("contiguous memory that is a page too short", Invariant.Conservation, " bytes were asked for",
            static told => Piece(told) is { } piece && piece.Last - piece.First > World.PageBytes ? Say(told, new(piece.First, piece.Last - World.PageBytes)) : null),
        new("contiguous memory off its alignment", Invariant.Conservation, "; the alignment is", static told => told.Operation is AllocateContiguous allocate && Piece(told) is { } piece ? Say(told, Moved(piece, allocate.Alignment / 2)) : null),
        new("memory of no bank", Invariant.Conservation, "no bank holds that", static told => told.World.Setup.Banks.Length != 0 && Chunks(told) is [var first, ..] ? Say(told, Moved(first, 1UL << 40)) : null),
        new("a binding without memory", Invariant.Conservation, "a range and memory were asked for", static told => told is { IsDone: true, Operation: Bind } ? told.Seen with { Ranges = told.Seen.Ranges[..1] } : null),
        new("a copy that was refused and changed memory", Invariant.Conservation, "a refused call changes nothing", static told => !told.IsDone && told.Operation is Copy ? told.Seen with { Moves = [new(new(0, WordBytes - 1), null)] } : null),
        new("a copy that leaves everything as it was", Invariant.Conservation, " did not change; it must hold", static told => told.Operation is Copy && !told.Seen.Moves.IsEmpty ? told.Seen with { Moves = [] } : null),
        new("a copy of something else", Invariant.Conservation, "; it must hold what stood at", static told => told.Operation is Copy && told.Seen.Moves is [var first, ..] ? told.Seen with { Moves = told.Seen.Moves.SetItem(0, first with { From = null }) } : null),
    ];

    private static ImmutableArray<AddressRange> Chunks(Told told) => told is { IsDone: true, Operation: AllocateMemory } ? told.Seen.Ranges : [];

    private static AddressRange? Piece(Told told) => told is { IsDone: true, Operation: AllocateContiguous } ? told.Seen.Ranges[0] : null;

    private static Observation Say(Told told, AddressRange range, int index = 0) => told.Seen with { Ranges = told.Seen.Ranges.SetItem(index, range) };

    private static AddressRange Moved(AddressRange range, ulong by) => new(range.First + by, range.Last + by);

    private static AddressRange? OfAnother(World world, AddressRange like) => world.Memories.Values
        .Where(static memory => !memory.IsFreed && !memory.IsWrapped).SelectMany(static memory => memory.Segments)
        .Where(segment => segment.Last - segment.First == like.Last - like.First).Select(static segment => (AddressRange?)segment).FirstOrDefault();
}

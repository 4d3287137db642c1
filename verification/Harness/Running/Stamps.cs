using System.Buffers.Binary;
using System.Collections.Immutable;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>
/// Marks frames of data, so that what a device reads tells which frame it reached, and finds where it wrote. The words that
/// devices may access (<see cref="Scenario.AccessOffsets"/>) each hold the physical address of themselves.
/// </summary>
public sealed class Stamps(IPhysicalMemory memory)
{
    private const ulong Mark = 0xF4A3_0000_0000_0000;
    private const ulong MarkMask = 0xFFFF_0000_0000_0000;

    private readonly HashSet<ulong> _frames = [];
    private readonly SortedSet<ulong> _blockedOffsets = [];

    /// <summary>What devices write. Machines are made so that they can.</summary>
    public static ReadOnlySpan<byte> Token => "devwrote"u8;

    /// <summary>Marks every frame of a chunk.</summary>
    public void MarkAll(AddressRange chunk)
    {
        // What is no memory cannot be marked; devices find nothing there.
        if (!memory.Contains(new(new(chunk.First), new(chunk.Last)))) return;
        for (ulong frame = chunk.First; frame <= chunk.Last; frame += World.PageBytes)
        {
            foreach (ulong offset in Scenario.AccessOffsets) Restore(frame + offset);
            _frames.Add(frame);
        }
    }

    /// <summary>The physical address that a device reached if it read <paramref name="word"/>; null: nothing that was ever marked.</summary>
    public static ulong? WhereRead(ReadOnlySpan<byte> word)
    {
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(word);
        return (value & MarkMask) == Mark ? value & ~MarkMask : null;
    }

    /// <summary>Whether the token is at <paramref name="address"/>; puts the mark back.</summary>
    public bool TakeToken(ulong address)
    {
        if (!memory.Contains(PhysRange.FromLength(new(address), sizeof(ulong)))) return false;
        if (memory.Read64(new(address)) != BinaryPrimitives.ReadUInt64LittleEndian(Token)) return false;
        Restore(address);
        return true;
    }

    /// <summary>A write was blocked: nothing may be found at this offset of a page.</summary>
    public void NoteBlockedWrite(ulong offsetInPage) => _blockedOffsets.Add(offsetInPage);

    /// <summary>Searches for what a blocked write has changed all the same.</summary>
    public ulong? FindStrayWrite()
    {
        foreach (ulong offset in _blockedOffsets)
        {
            if (FindToken(offset) is { } stray) return stray;
        }

        return null;
    }

    /// <summary>Searches all frames ever marked for the token; puts the mark back.</summary>
    public ulong? FindToken(ulong offsetInPage)
    {
        foreach (ulong frame in _frames)
        {
            if (TakeToken(frame + offsetInPage)) return frame + offsetInPage;
        }

        return null;
    }

    /// <summary>Searches all frames ever marked for the halves of the token; puts the marks back.</summary>
    /// <returns>The addresses of the words in which the first half, and the second, was found; null: nowhere.</returns>
    public (ulong? First, ulong? Next) FindHalves(ulong offsetInPage)
    {
        ulong token = BinaryPrimitives.ReadUInt64LittleEndian(Token);
        ulong? first = null, next = null;
        foreach (ulong frame in _frames)
        {
            ulong address = frame + offsetInPage, difference = memory.Read64(new(address)) ^ token;
            bool isFirst = (difference & uint.MaxValue) == 0, isNext = difference >> 32 == 0;
            if (!isFirst && !isNext) continue;
            if (isFirst) first ??= address;
            if (isNext) next ??= address;
            Restore(address);
        }

        return (first, next);
    }

    /// <summary>Marks every word of a frame, so that whatever is copied from it can be told.</summary>
    /// <param name="frame">A frame that was marked.</param>
    public void MarkWhole(ulong frame)
    {
        Span<byte> page = stackalloc byte[(int)World.PageBytes];
        for (int offset = 0; offset < page.Length; offset += sizeof(ulong)) BinaryPrimitives.WriteUInt64LittleEndian(page[offset..], Mark | (frame + (ulong)offset));
        memory.Write(new(frame), page);
    }

    /// <summary>Where words of a frame stood that are in others' places now; puts the marks back.</summary>
    /// <param name="frame">A frame that was marked.</param>
    /// <param name="isWhole">Whether every word of it was.</param>
    /// <param name="moves">Gets them, those that go on as one.</param>
    public void FindMoves(ulong frame, bool isWhole, ImmutableArray<Move>.Builder moves)
    {
        if (!isWhole)
        {
            foreach (ulong offset in Scenario.AccessOffsets) Note(frame + offset, memory.Read64(new(frame + offset)), moves);
            return;
        }

        Span<byte> page = stackalloc byte[(int)World.PageBytes];
        memory.Read(new(frame), page);
        for (int offset = 0; offset < page.Length; offset += sizeof(ulong)) Note(frame + (ulong)offset, BinaryPrimitives.ReadUInt64LittleEndian(page[offset..]), moves);
    }

    private void Note(ulong address, ulong value, ImmutableArray<Move>.Builder moves)
    {
        if (value == (Mark | address)) return;
        Restore(address);
        ulong? from = (value & MarkMask) == Mark ? value & ~MarkMask : null;
        if (moves.Count != 0 && moves[^1] is { From: { } before } last && last.To.Last + 1 == address && before + (address - last.To.First) == from)
            moves[^1] = last with { To = new(last.To.First, address + (sizeof(ulong) - 1)) };
        else moves.Add(new(new(address, address + (sizeof(ulong) - 1)), from));
    }

    private void Restore(ulong address) => memory.Write64(new(address), Mark | address);
}

using System.Buffers.Binary;
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

    private void Restore(ulong address) => memory.Write64(new(address), Mark | address);
}

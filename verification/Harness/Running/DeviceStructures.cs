using System.Runtime.InteropServices;
using Platform;

namespace Harness.Running;

/// <summary>Where the hardware finds what it needs to know of one device in scalable mode.</summary>
/// <param name="Directory">The PASID directory.</param>
/// <param name="RidPasid">The PASID that requests without one are given.</param>
/// <param name="Tables">The tables of PASID entries.</param>
/// <param name="Pasids">Every PASID whose entry is present, in ascending order.</param>
public sealed record PasidTree(PhysRange Directory, uint RidPasid, IReadOnlyList<PhysAddr> Tables, IReadOnlyList<uint> Pasids);

/// <summary>Which of the structures between the root pointer and the page tables are there: read from bytes, apart from library and simulator.</summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, "Root Table Address Register" (TTM, bits 11:10), "Root Entry" (present bit 0 of each 128 bits),
/// "Scalable-Mode Root Entry" (present bit 0 of each 64 bits), "Scalable-Mode Context Entry" (256 bits: P 0, PDTS 11:9, PASIDDIRPTR
/// 63:12, RID_PASID 83:64), "Scalable-Mode PASID Directory Entry" (64 bits: P 0, SMPTBLPTR 63:12), "Scalable-Mode PASID Table Entry"
/// (512 bits: P 0). In all of them an address is in bits 63:12.
/// </remarks>
public static class DeviceStructures
{
    private const ulong Frame = ~0xFFFUL;
    private const int SmallestDirectoryLog2 = 7, PasidsInTable = 64, WordsInPasidEntry = 8, ContextBytes = 32, WordsInPage = 512;
    private const ulong PageBytes = 4096;

    /// <summary>The context tables that root entries lead to.</summary>
    /// <param name="memory">Memory at this instant.</param>
    /// <param name="rootPointer">The Root Table Address Register.</param>
    public static IEnumerable<PhysAddr> ContextTables(Snapshot memory, ulong rootPointer)
    {
        // In legacy mode the upper half of each entry is reserved.
        int step = IsScalable(rootPointer) ? 1 : 2;
        var tables = new List<PhysAddr>();
        ReadOnlySpan<ulong> entries = Words(memory, new(rootPointer & Frame));
        for (int i = 0; i < entries.Length; i += step)
        {
            if ((entries[i] & 1) != 0) tables.Add(new(entries[i] & Frame));
        }

        return tables;
    }

    /// <summary>What the context entry of a device leads to in scalable mode; null: it is absent, or the mode is another.</summary>
    /// <param name="memory">Memory at this instant.</param>
    /// <param name="rootPointer">The Root Table Address Register.</param>
    /// <param name="device">The requester id.</param>
    public static PasidTree? Find(Snapshot memory, ulong rootPointer, StreamId device)
    {
        if (!IsScalable(rootPointer)) return null;
        // Two entries a bus: its devices and functions 0 … 127 and 128 … 255.
        ulong root = Word(memory, (rootPointer & Frame) + (device.Value >> 7) * sizeof(ulong));
        if ((root & 1) == 0) return null;
        ulong contextAt = (root & Frame) + (device.Value & 0x7F) * ContextBytes;
        ulong context = Word(memory, contextAt);
        if ((context & 1) == 0) return null;
        int directoryLog2 = SmallestDirectoryLog2 + (int)(context >> 9 & 7);
        PhysRange directory = PhysRange.FromLength(new(context & Frame), Math.Max((ulong)sizeof(ulong) << directoryLog2, PageBytes));
        var tables = new List<PhysAddr>();
        var pasids = new List<uint>();
        ReadOnlySpan<ulong> pointers = [];
        for (int i = 0; i < 1 << directoryLog2; i++)
        {
            if (i % WordsInPage == 0) pointers = Words(memory, directory.First + (ulong)i * sizeof(ulong));
            if (pointers.IsEmpty || (pointers[i % WordsInPage] & 1) == 0) continue;
            PhysAddr table = new(pointers[i % WordsInPage] & Frame);
            tables.Add(table);
            ReadOnlySpan<ulong> entries = Words(memory, table);
            for (int j = 0; j < PasidsInTable && !entries.IsEmpty; j++)
            {
                if ((entries[j * WordsInPasidEntry] & 1) != 0) pasids.Add((uint)(i * PasidsInTable + j));
            }
        }

        return new(directory, (uint)Word(memory, contextAt + sizeof(ulong)) & 0xF_FFFF, tables, pasids);
    }

    private static bool IsScalable(ulong rootPointer) => (rootPointer >> 10 & 3) == 1;

    private static ulong Word(Snapshot memory, ulong address)
    {
        ReadOnlySpan<ulong> words = Words(memory, new(address & Frame));
        return words.IsEmpty ? 0 : words[(int)(address & ~Frame) / sizeof(ulong)];
    }

    /// <summary>A page; empty where there is no memory.</summary>
    private static ReadOnlySpan<ulong> Words(Snapshot memory, PhysAddr page) => MemoryMarshal.Cast<byte, ulong>(memory.Fetch(page));
}

using System.Runtime.InteropServices;

namespace Workloads.Bare;

/// <summary>
/// What is left of a page table when everything is taken away that makes it one: four levels of 512 words each in native
/// memory, 1 GiB mapped in 4 KiB pages, no format, no bounds, no errors. What the engine costs is told against this.
/// </summary>
internal sealed unsafe class BareTable : IDisposable
{
    /// <summary>How many pages it maps.</summary>
    public const int PageCount = 1 << 18;

    private const int EntryCount = 512;
    private const nuint PageBytes = 4096;
    private const ulong Present = 3;
    private const ulong AddressMask = 0x000F_FFFF_FFFF_F000;

    private readonly ulong* _pages;

    /// <summary>Maps page n to frame n of what lies at <paramref name="firstAddress"/>.</summary>
    public BareTable(ulong firstAddress)
    {
        // The root, one table a level below it, and 512 at the bottom; the entries hold host addresses.
        const nuint tableCount = 3 + EntryCount;
        _pages = (ulong*)NativeMemory.AlignedAlloc(tableCount * PageBytes, PageBytes);
        NativeMemory.Clear(_pages, tableCount * PageBytes);
        _pages[0] = (ulong)(_pages + EntryCount) | Present;
        _pages[EntryCount] = (ulong)(_pages + 2 * EntryCount) | Present;
        for (int i = 0; i < EntryCount; i++) _pages[2 * EntryCount + i] = (ulong)(_pages + (3 + i) * EntryCount) | Present;
        Store(firstAddress);
    }

    /// <summary>The entry of the lowest level that the address belongs to; null where a level is absent.</summary>
    public ulong* Slot(ulong iova)
    {
        ulong* table = _pages;
        for (int shift = 39; shift > 12; shift -= 9)
        {
            ulong entry = Volatile.Read(ref table[iova >> shift & (EntryCount - 1)]);
            if ((entry & Present) == 0) return null;
            table = (ulong*)(entry & AddressMask);
        }

        return table + (iova >> 12 & (EntryCount - 1));
    }

    /// <summary>What the address means; 0 if nothing.</summary>
    public ulong Walk(ulong iova)
    {
        ulong* slot = Slot(iova);
        if (slot == null) return 0;
        ulong entry = Volatile.Read(ref *slot);
        return (entry & Present) == 0 ? 0 : entry & AddressMask | iova & (PageBytes - 1);
    }

    /// <summary>Stores all entries of the lowest level, one behind the other.</summary>
    public void Store(ulong firstAddress)
    {
        ulong* slot = _pages + 3 * EntryCount;
        ulong entry = firstAddress | Present;
        for (int i = 0; i < PageCount; i++, entry += PageBytes) Volatile.Write(ref slot[i], entry);
    }

    /// <summary>Clears them.</summary>
    public void Clear()
    {
        ulong* slot = _pages + 3 * EntryCount;
        for (int i = 0; i < PageCount; i++) Volatile.Write(ref slot[i], 0);
    }

    public void Dispose() => NativeMemory.AlignedFree(_pages);
}

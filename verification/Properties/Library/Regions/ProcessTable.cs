using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>
/// The page table of a process, written as a kernel writes it: entry by entry, from the processor's manual and without any code of the
/// library. It tells nobody of its changes.
/// </summary>
/// <remarks>
/// <b>Source.</b> Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging": P is bit 0, R/W 1, U/S 2, PS of a directory entry 7, the
/// address bits 51:12; nine bits of the address choose an entry at each level.
/// </remarks>
internal sealed class ProcessTable
{
    public const ulong LargeBytes = 2UL << 20;

    private const ulong Present = 1, Writable = 2, User = 4, Large = 0x80, AddressBits = 0x000F_FFFF_FFFF_F000;

    private readonly Ram _memory;
    private readonly IFrameSource _frames;
    private readonly int _levels;
    private readonly List<PhysAddr> _pages = [];

    /// <summary>An empty table.</summary>
    /// <param name="memory">Where it is.</param>
    /// <param name="frames">Where its pages come from.</param>
    /// <param name="levels">4 or 5.</param>
    public ProcessTable(Ram memory, IFrameSource frames, int levels)
    {
        _memory = memory;
        _frames = frames;
        _levels = levels;
        Root = TakePage();
    }

    public PhysAddr Root { get; }

    /// <summary>Lets the process, and whoever shares its table, reach a frame.</summary>
    /// <param name="address">Canonical.</param>
    /// <param name="frame">Of 4 KiB, or of 2 MiB with <paramref name="isLarge"/>.</param>
    /// <param name="isWritable">Whether they may write there.</param>
    /// <param name="isLarge">Whether one entry of the page directory maps it.</param>
    /// <param name="isUser">Whether user accesses are let through.</param>
    public void Map(ulong address, PhysAddr frame, bool isWritable, bool isLarge = false, bool isUser = true) => _memory.Write64(
        EntryOf(address, isLarge ? 2 : 1),
        frame.Value | Present | (isWritable ? Writable : 0) | (isUser ? User : 0) | (isLarge ? Large : 0));

    /// <summary>Takes it away again.</summary>
    public void Unmap(ulong address, bool isLarge = false) => _memory.Write64(EntryOf(address, isLarge ? 2 : 1), 0);

    /// <summary>Takes the right to write away.</summary>
    public void Narrow(ulong address, bool isLarge = false)
    {
        PhysAddr entry = EntryOf(address, isLarge ? 2 : 1);
        _memory.Write64(entry, _memory.Read64(entry) & ~Writable);
    }

    /// <summary>The bits that hardware has set in a leaf: accessed is bit 5, dirty bit 6.</summary>
    public (bool Accessed, bool Dirty) FlagsOf(ulong address, bool isLarge = false)
    {
        ulong entry = _memory.Read64(EntryOf(address, isLarge ? 2 : 1));
        return ((entry & 0x20) != 0, (entry & 0x40) != 0);
    }

    /// <summary>The process has ended.</summary>
    public void Free()
    {
        foreach (PhysAddr page in _pages) _frames.Free(page);
    }

    private PhysAddr EntryOf(ulong address, int level)
    {
        ulong table = Root.Value;
        for (int at = _levels; ; at--)
        {
            var entry = new PhysAddr(table + (address >> (12 + 9 * (at - 1)) & 511) * sizeof(ulong));
            if (at == level) return entry;
            ulong found = _memory.Read64(entry);
            if ((found & Present) == 0)
            {
                found = TakePage().Value | Present | Writable | User;
                _memory.Write64(entry, found);
            }

            table = found & AddressBits;
        }
    }

    private PhysAddr TakePage()
    {
        Assert.Equal(VcmmError.None, _frames.TryAllocate(VcmManager.PageBytes, out PhysAddr page));
        _memory.Write(page, new byte[VcmManager.PageBytes]);
        _pages.Add(page);
        return page;
    }
}

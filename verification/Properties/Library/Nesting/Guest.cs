using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Nesting;

/// <summary>
/// Whoever owns devices and the addresses that these have: tables of four levels, written word by word into a region. The word that it writes
/// to is where the region leads, as for any program that runs behind the region.
/// </summary>
internal sealed class Guest
{
    public const ulong Page = VcmManager.PageBytes;
    public const ulong Large = 2UL << 20;

    /// <summary>The flags of entries: present, writable, for user requests, accessed; a large leaf.</summary>
    public const ulong Present = 1, Writable = 1 << 1, User = 1 << 2, Accessed = 1 << 5, LargeLeaf = 1 << 7;

    /// <summary>A table, and a leaf that grants all.</summary>
    public const ulong Grants = Present | Writable | User;

    /// <summary>A root, three tables below it, and one to spare.</summary>
    public const ulong TablePages = 5;

    private readonly Ram _memory;
    private readonly Vcm _region;
    private readonly Iova _root;

    /// <param name="memory">The machine's memory.</param>
    /// <param name="region">Where the tables are.</param>
    /// <param name="root">Their first page of <see cref="TablePages"/>, backed.</param>
    /// <param name="format">Of tables of four levels.</param>
    public Guest(Ram memory, Vcm region, Iova root, TableFormat format)
    {
        _memory = memory;
        _region = region;
        _root = root;
        Table = new(format, root);
        for (int level = 4; level > 1; level--) Write(EntryOf(level), Below(level) | Grants);
    }

    /// <summary>The first address of the guest's devices of which it maps pages: no address of a region.</summary>
    public static Iova Start { get; } = new(0x5A5A_4020_0000);

    public NestedTable Table { get; }

    /// <summary>An unused table of the last level.</summary>
    public Iova SpareTable => _root + 4 * Page;

    public static Iova AddressOf(ulong page) => Start + page * Page;

    /// <summary>The pages of the guest's devices.</summary>
    public static IovaRange Pages(ulong first, ulong count) => IovaRange.FromLength(AddressOf(first), count * Page);

    /// <summary>Where in the region the table of a level is: 4 is the root.</summary>
    public Iova TableAt(int level) => _root + (ulong)(4 - level) * Page;

    /// <summary>Where in the region the entry of <see cref="Start"/> of a level is.</summary>
    public Iova EntryOf(int level) => EntryIn(TableAt(level), level);

    /// <summary>Where in the region the entry of a page is.</summary>
    public Iova EntryOfPage(ulong page) => EntryOf(1) + page * sizeof(ulong);

    public static Iova EntryIn(Iova table, int level) => table + (Start.Value >> (12 + 9 * (level - 1)) & 0x1FF) * sizeof(ulong);

    /// <summary>Maps a page of the guest's devices to one of the region.</summary>
    public void Map(ulong page, Iova target, Access access = Access.ReadWrite) =>
        Write(EntryOfPage(page), target.Value | Present | User | ((access & Access.Write) != 0 ? Writable : 0));

    public void Unmap(ulong page) => Write(EntryOfPage(page), 0);

    /// <summary>A plain write, to where the region leads.</summary>
    public void Write(Iova at, ulong word) => _memory.Write64(Reach(at), word);

    public ulong Read(Iova at) => _memory.Read64(Reach(at));

    private ulong Below(int level) => TableAt(level - 1).Value;

    private PhysAddr Reach(Iova at)
    {
        Assert.Equal(VcmmError.None, _region.TryTranslate(at, out Translation translation));
        return translation.Address;
    }
}

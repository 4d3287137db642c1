using Platform;
using Properties.Library;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>Leaves two levels up: to cut one to the page takes tables of both levels below, and to merge them again looks into both.</summary>
public sealed class HugeLeafLaws : IDisposable
{
    private const ulong Page = FrameAllocator.FrameBytes, Large = 2UL << 20, Huge = 1UL << 30;
    private const ulong Accessed = 1 << 8, Dirty = 1 << 9;

    private static readonly PhysAddr Data = new(1UL << 32);
    private static readonly IovaRange First = IovaRange.FromLength(new(Huge), Huge);
    private static readonly IovaRange Both = IovaRange.FromLength(new(Huge), 2 * Huge);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 1 << 20));
    private readonly MemoryWatch _watch = new();
    private readonly IFrameSource _frames;
    private readonly InvalidationGather _gather = new();
    private readonly PageTable<VtdSecondStage, WatchedMemory> _table;

    public HugeLeafLaws()
    {
        _frames = new WatchedFrames(new FrameAllocator(_ram.Range), _watch);
        Assert.Equal(VcmmError.None, PageTable<VtdSecondStage, WatchedMemory>.TryCreate(new(_ram.Port, _watch), _frames, new(VtdSecondStage.Encoding, 3, 0b1110), out PageTable<VtdSecondStage, WatchedMemory>? table));
        _table = table!;
    }

    public void Dispose() => _ram.Dispose();

    /// <summary>What is cut out of two leaves beside each other, from the first one's start on, and the tables that it takes.</summary>
    public static TheoryData<ulong, ulong, int> Cuts => new()
    {
        { 0, Page, 2 }, { Huge - Page, Page, 2 }, { (5 * Large) + (3 * Page), Page, 2 }, { Huge, Page, 2 }, { (2 * Huge) - Page, Page, 2 },
        { 0, Large, 1 }, { 3 * Large, 4 * Large, 1 }, { Huge - Large, 2 * Large, 2 }, { Large, Large + Page, 2 },
        { Large - Page, 2 * Page, 3 }, { Page, Huge - (2 * Page), 3 }, { Huge - Page, 2 * Page, 4 }, { (Huge / 2) + Page, Huge, 4 }, { 0, Huge, 0 }, { 0, 2 * Huge, 0 },
    };

    [Theory]
    [MemberData(nameof(Cuts))]
    public void A_cut_takes_as_many_tables_as_were_counted_and_leaves_end_where_it_does(ulong offset, ulong byteCount, int tables)
    {
        Map(Both);
        var range = IovaRange.FromLength(Both.First + offset, byteCount);
        Assert.Equal(tables, _table.CountSplitTables(range));
        int before = _table.TablePages().Count();
        Split(range);
        Assert.Equal(before + tables, _table.TablePages().Count());
        Assert.Equal(0, _table.CountSplitTables(range));
        Leaf[] leaves = AssertMapped(Both);
        Assert.All(leaves, leaf => Assert.True(range.Contains(leaf.Range) || !range.Overlaps(leaf.Range), $"{leaf.Range} is cut by {range}"));
        // A table has 512 entries, each of which is a leaf or another of the tables.
        Assert.Equal(2 + (511 * tables), leaves.Length);
    }

    [Fact]
    public void A_bit_that_hardware_sets_while_a_leaf_is_cut_is_in_all_that_stands_for_it()
    {
        Map(Both);
        SetOnce(Dirty);
        Split(IovaRange.FromLength(First.First + Large + Page, Page));
        AssertMapped(Both);
        Assert.Equal(First, Assert.Single(DirtyRanges()));
        Assert.Empty(AccessedRanges());
    }

    /// <summary>In leaves of both levels, before a table and behind one: offsets of those that are dirty, and of those that were read.</summary>
    public static TheoryData<ulong[], ulong[]> Used => new()
    {
        { [], [] }, { [Large + Page], [] }, { [Large + Page, Large + (2 * Page)], [] }, { [0, Large + Page], [] }, { [Large, 2 * Large], [] }, { [5 * Large], [Large + (7 * Page)] }, { [], [Huge - Large] },
    };

    [Theory]
    [MemberData(nameof(Used))]
    public void What_leaves_of_both_levels_have_noted_is_in_the_one_that_they_become(ulong[] dirty, ulong[] accessed)
    {
        Map(Both);
        Split(IovaRange.FromLength(First.First + Large, Page));
        foreach (ulong offset in dirty) SetAt(offset, Dirty);
        foreach (ulong offset in accessed) SetAt(offset, Accessed);
        ulong free = _frames.FreeBytes;
        Assert.True(_table.TryMerge(Both, _gather));
        Assert.Equal(First, Assert.Single(_gather.Ranges.ToArray()));
        Assert.Equal(free, _frames.FreeBytes);
        _table.Release(_gather);
        Assert.Equal(free + (2 * Page), _frames.FreeBytes);
        Assert.Equal(2, AssertMapped(Both).Length);
        Assert.Equal(dirty.Length != 0, DirtyRanges().Contains(First));
        Assert.Equal(accessed.Length != 0, AccessedRanges().Contains(First));
    }

    [Fact]
    public void A_merge_that_is_taken_back_gives_what_hardware_noted_to_leaves_of_both_levels()
    {
        Map(Both);
        Split(IovaRange.FromLength(First.First, Page));
        Assert.True(_table.TryMerge(Both, _gather));
        SetOnce(Dirty);
        _table.Relink(_gather);
        Assert.Equal(2 + (2 * 511), AssertMapped(Both).Length);
        Assert.Equal(First, Assert.Single(DirtyRanges()));
        Assert.Empty(AccessedRanges());
    }

    [Fact]
    public void Hardware_may_note_in_a_pointer_that_it_used_it_while_that_is_replaced()
    {
        Map(Both);
        Split(IovaRange.FromLength(First.First, Page));
        SetOnce(Accessed);
        Assert.True(_table.TryMerge(First, _gather));
        _table.Release(_gather);
        Assert.Equal(2, AssertMapped(Both).Length);
    }

    /// <summary>Two callers have one leaf, which neither may.</summary>
    [Fact]
    public void What_another_has_changed_meanwhile_is_not_written_over()
    {
        Map(Both);
        ulong other = 0;
        _watch.BeforeExchange = slot => _ram.Port.Write64(slot, other = _ram.Port.Read64(slot) ^ (4 * Huge));
        var pages = new TablePagePool();
        var range = IovaRange.FromLength(First.First, Page);
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, _table.CountSplitTables(range)));
        Assert.Throws<InvalidOperationException>(() => _table.Split(range, pages, _gather));
        Assert.Equal(other, Entry(First.First));
        Assert.Throws<InvalidOperationException>(() => _table.Protect(First, Access.Read, _gather));
        Assert.Equal(other, Entry(First.First));
        Assert.Empty(_gather.Ranges.ToArray());
    }

    [Fact]
    public void A_table_that_another_has_put_in_place_meanwhile_is_not_merged()
    {
        Map(Both);
        Split(IovaRange.FromLength(First.First, Page));
        ulong other = 0;
        _watch.BeforeExchange = slot => _ram.Port.Write64(slot, other = _ram.Port.Read64(slot) ^ (64 * Page));
        Assert.Throws<InvalidOperationException>(() => _table.TryMerge(First, _gather));
        Assert.Equal(other, Entry(First.First));
        Assert.Empty(_gather.Ranges.ToArray());
    }

    private void Map(IovaRange range)
    {
        PhysRange[] segments = [PhysRange.FromLength(Data, range.ByteCount)];
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, _table.CountMissingTables(range.First, segments)));
        _table.Map(range.First, segments, Access.ReadWrite, pages);
        Assert.Equal(2, _table.Leaves().Count());
    }

    private void Split(IovaRange range)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, _table.CountSplitTables(range)));
        _table.Split(range, pages, _gather);
        Assert.Equal(0, pages.Count);
        _gather.Clear();
    }

    /// <summary>Every address leads to where it led when it was mapped.</summary>
    private Leaf[] AssertMapped(IovaRange range)
    {
        Leaf[] leaves = [.. _table.Leaves()];
        Iova next = range.First;
        foreach (Leaf leaf in leaves)
        {
            Assert.Equal((next, Data + (next.Value - range.First.Value), (MappingAttributes)Access.ReadWrite), (leaf.Range.First, leaf.First, leaf.Attributes));
            next += leaf.Range.ByteCount;
        }

        Assert.Equal(range.Last + 1, next);
        return leaves;
    }

    /// <summary>Hardware sets bits in the entry that is about to be exchanged, the first time.</summary>
    private void SetOnce(ulong bits) => _watch.BeforeExchange = slot =>
    {
        _watch.BeforeExchange = static _ => { };
        _ram.Port.Write64(slot, _ram.Port.Read64(slot) | bits);
    };

    private void SetAt(ulong offset, ulong bits)
    {
        PhysAddr slot = SlotOf(First.First + offset);
        _ram.Port.Write64(slot, _ram.Port.Read64(slot) | bits);
    }

    private ulong Entry(Iova iova) => _ram.Port.Read64(SlotOf(iova, level: 3));

    /// <summary>The entry of an address at a level, or above where it is a leaf; as in "Second-Stage Paging Entries": PS is bit 7.</summary>
    private PhysAddr SlotOf(Iova iova, int level = 1)
    {
        PhysAddr table = _table.Root;
        for (int at = 3; ; at--)
        {
            PhysAddr slot = table + (((iova.Value >> (12 + (9 * (at - 1)))) & 0x1FF) * sizeof(ulong));
            ulong entry = _ram.Port.Read64(slot);
            if (at == level || (entry & (1 << 7)) != 0) return slot;
            table = new(entry & 0xF_FFFF_FFFF_F000);
        }
    }

    private List<IovaRange> DirtyRanges()
    {
        List<IovaRange> found = [];
        _table.CollectDirty(Both, clear: false, found, _gather);
        return found;
    }

    private List<IovaRange> AccessedRanges()
    {
        List<IovaRange> found = [];
        _table.CollectAccessed(Both, clear: false, found, _gather);
        return found;
    }
}

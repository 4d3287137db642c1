using Platform;
using Properties.Library;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>What walkers may see while live entries change, and that no bit is lost which hardware sets meanwhile.</summary>
public sealed class TableChangeLaws : IDisposable
{
    private const ulong Page = FrameAllocator.FrameBytes;
    private const ulong Large = 2UL << 20;
    private const ulong Accessed = 1 << 8, Dirty = 1 << 9;

    private static readonly PhysAddr Data = new(1UL << 32);
    private static readonly IovaRange Whole = IovaRange.FromLength(new(0), Large);
    private static readonly IovaRange Second = IovaRange.FromLength(new(Page), Page);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 1 << 20));
    private readonly MemoryWatch _watch = new();
    private readonly IFrameSource _frames;
    private readonly InvalidationGather _gather = new();
    private readonly PageTable<VtdSecondStage, WatchedMemory> _table;

    public TableChangeLaws()
    {
        _frames = new WatchedFrames(new FrameAllocator(_ram.Range), _watch);
        _table = Create<VtdSecondStage>(new(VtdSecondStage.Encoding, 3, 0b1110));
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_split_shows_every_page_at_each_of_its_writes()
    {
        Map(_table, PhysRange.FromLength(Data, Large));
        int writes = 0;
        _watch.BeforeWrite = (_, _) =>
        {
            writes++;
            Assert.True(_table.TryWalk(new(Large - 1), out Translation translation));
            Assert.Equal((Data + (Large - 1), (MappingAttributes)Access.ReadWrite), (translation.Address, translation.Attributes));
        };
        Split(_table, Second);
        Assert.True(writes > 512);
        _watch.AssertVisible("after a split");
        Assert.Equal(512, _table.Leaves().Count());
        Assert.False(_gather.HasBroken);
        Assert.Equal(Whole, Assert.Single(_gather.Ranges.ToArray()));
    }

    [Fact]
    public void A_table_is_linked_by_a_split_only_when_all_of_it_can_be_seen()
    {
        Map(_table, PhysRange.FromLength(Data, Large));
        int links = 0;
        _watch.BeforeExchange = _ =>
        {
            links++;
            Assert.Empty(_watch.Unclean);
        };
        Split(_table, Second);
        Assert.Equal(1, links);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Bits_that_hardware_sets_before_or_while_a_leaf_is_split_are_in_all_its_parts(bool isBefore)
    {
        Map(_table, PhysRange.FromLength(Data, Large));
        PhysAddr slot = LowestTable();
        if (isBefore) _ram.Port.Write64(slot, _ram.Port.Read64(slot) | Accessed | Dirty);
        else SetOnce(Accessed | Dirty);
        Split(_table, Second);
        Assert.Equal(512, Entries(LowestTable()).Count(entry => (entry & (Accessed | Dirty)) == (Accessed | Dirty)));
    }

    [Fact]
    public void Bits_that_hardware_sets_while_a_leaf_is_protected_stay()
    {
        Map(_table, PhysRange.FromLength(Data + Page, Large));
        int exchanges = 0;
        _watch.BeforeExchange = address =>
        {
            if (exchanges++ % 2 == 0) _ram.Port.Write64(address, _ram.Port.Read64(address) | Dirty);
        };
        _table.Protect(Whole, Access.Read, _gather);
        _watch.AssertVisible("after a protect");
        // Each exchange failed once, against the bit, and then stood.
        Assert.Equal(2 * 512, exchanges);
        Assert.All(Entries(LowestTable()), entry => Assert.Equal(Dirty | 1, entry & 0xFFF));
        Assert.Equal(Whole, Assert.Single(_gather.Ranges.ToArray()));
        Assert.True(_gather.LeavesOnly);
    }

    [Fact]
    public void What_has_the_attributes_already_costs_no_invalidation_and_what_is_absent_stays_so()
    {
        Map(_table, PhysRange.FromLength(Data + Page, Large));
        _table.Unmap(Second, new());
        _ram.Port.Write64(LowestTable(), _ram.Port.Read64(LowestTable()) | Dirty);
        int writes = _watch.WriteCount;
        _table.Protect(Whole, Access.ReadWrite, _gather);
        Assert.Equal((writes, 0), (_watch.WriteCount, _gather.Ranges.Length));
        _table.Protect(Whole, Access.Read, _gather);
        Assert.Equal(511, _table.Leaves().Count());
        Assert.Equal([Page - 1, Large - 1], _gather.Ranges.ToArray().Select(range => range.Last.Value));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Bits_that_hardware_sets_while_a_table_is_merged_and_until_it_is_freed_stay(bool fails)
    {
        MapAsPages(_table);
        PhysAddr lowest = LowestTable();
        // After the bits were looked at and before the pointer is replaced; then, through a cached pointer, until the release.
        _watch.BeforeExchange = _ => _ram.Port.Write64(lowest + 8, _ram.Port.Read64(lowest + 8) | Accessed);
        Assert.True(_table.TryMerge(Whole, _gather));
        _watch.BeforeExchange = static _ => { };
        Assert.Equal(Large, Assert.Single(_table.Leaves()).Range.ByteCount);
        Assert.True(_gather.HasTables && !_gather.HasBroken);
        _watch.AssertVisible("after a merge");
        _ram.Port.Write64(lowest + 16, _ram.Port.Read64(lowest + 16) | Dirty);
        ulong free = _frames.FreeBytes;
        if (fails)
        {
            SetOnce(Dirty);
            _table.Relink(_gather);
            Assert.Equal(free, _frames.FreeBytes);
            Assert.Equal(512, Entries(lowest).Count(entry => (entry & Dirty) != 0));
            Assert.NotEqual(0UL, Entries(lowest).ElementAt(1) & Accessed);
            Assert.Equal(512, _table.Leaves().Count());
        }
        else
        {
            _table.Release(_gather);
            Assert.Equal(free + Page, _frames.FreeBytes);
            Assert.Equal(Accessed | Dirty, _ram.Port.Read64(LowestTable()) & (Accessed | Dirty));
        }

        _watch.AssertVisible("after the end of a merge");
    }

    [Fact]
    public void A_map_of_what_is_there_already_keeps_the_bits_of_hardware()
    {
        Map(_table, PhysRange.FromLength(Data + Page, Large));
        _ram.Port.Write64(LowestTable(), _ram.Port.Read64(LowestTable()) | Dirty);
        Map(_table, PhysRange.FromLength(Data + Page, Large));
        Assert.Equal(Dirty | 3, _ram.Port.Read64(LowestTable()) & 0xFFF);
    }

    [Fact]
    public void Dirty_ranges_are_found_joined_and_cleared_once()
    {
        Map(_table, PhysRange.FromLength(Data + Page, Large));
        PhysAddr lowest = LowestTable();
        foreach (ulong index in new ulong[] { 3, 4, 9 }) _ram.Port.Write64(lowest + 8 * index, _ram.Port.Read64(lowest + 8 * index) | Dirty);
        _ram.Port.Write64(lowest + 8 * 20, _ram.Port.Read64(lowest + 8 * 20) | Accessed);
        IovaRange[] expected = [IovaRange.FromLength(new(3 * Page), 2 * Page), IovaRange.FromLength(new(9 * Page), Page)];
        var found = new List<IovaRange>();
        _table.CollectDirty(Whole, clear: false, found, _gather);
        Assert.Equal((expected.Length, 0), (found.Count, _gather.Ranges.Length));
        Assert.Equal(expected, found);

        // Hardware sets the other bit between the look and the clear.
        SetOnce(Accessed);
        found.Clear();
        _table.CollectDirty(Whole, clear: true, found, _gather);
        _watch.AssertVisible("after a clear");
        Assert.Equal(expected, found);
        Assert.Equal(expected, _gather.Ranges.ToArray());
        found.Clear();
        _table.CollectDirty(Whole, clear: true, found, _gather);
        Assert.Empty(found);
        _table.CollectAccessed(Whole, clear: true, found, _gather);
        Assert.Equal([3 * Page, 20 * Page], found.Select(range => range.First.Value));
        Assert.True(_table.HasDirtyBits);
    }

    [Fact]
    public void Dirty_bits_of_a_leaf_that_would_be_cut_are_not_cleared()
    {
        Map(_table, PhysRange.FromLength(Data, Large));
        PhysAddr slot = LowestTable();
        _ram.Port.Write64(slot, _ram.Port.Read64(slot) | Dirty);
        var found = new List<IovaRange>();
        Assert.Throws<InvalidOperationException>(() => _table.CollectDirty(Second, clear: true, found, _gather));
        Assert.NotEqual(0UL, _ram.Port.Read64(slot) & Dirty);
        _table.CollectDirty(Second, clear: false, found, _gather);
        Assert.Equal(Second, Assert.Single(found));
        PageTable<OddFormat, WatchedMemory> odd = Create<OddFormat>(new(OddFormat.Encoding, 4, 0b1010));
        Assert.False(odd.HasDirtyBits);
        Assert.Throws<InvalidOperationException>(() => odd.CollectDirty(Whole, clear: false, found, _gather));
    }

    /// <summary>Break-before-make: a live entry changes its size or target only through absent, and that only after a release.</summary>
    [Fact]
    public void With_break_before_make_a_live_entry_never_changes_size_or_target()
    {
        PageTable<OddFormat, WatchedMemory> table = Create<OddFormat>(new(OddFormat.Encoding, 4, 0b1010));
        var large = IovaRange.FromLength(new(0), 16 * Page);
        _watch.BeforeWrite = (address, value) => AssertBreaks(table, address, value);
        Map(table, PhysRange.FromLength(Data, 16 * Page));
        Assert.Equal(16 * Page, Assert.Single(table.Leaves()).Range.ByteCount);

        Split(table, Second);
        _watch.AssertVisible("after a break");
        Assert.True(_gather.HasBroken && _gather.LeavesOnly);
        Assert.False(table.TryWalk(new(Page), out _));
        table.Release(_gather);
        _watch.AssertVisible("after a make");
        _gather.Clear();
        Assert.Equal(16, table.Leaves().Count());

        table.Protect(Second, Access.Read, _gather);
        table.Protect(Second, Access.ReadWrite, _gather);
        _gather.Clear();
        ulong free = _frames.FreeBytes;
        Assert.True(table.TryMerge(large, _gather));
        Assert.True(_gather.HasBroken && _gather.HasTables);
        Assert.Equal(free, _frames.FreeBytes);
        Assert.False(table.TryWalk(new(Page), out _));
        table.Release(_gather);
        Assert.Equal(16 * Page, Assert.Single(table.Leaves()).Range.ByteCount);
        // The table of level 2 and the four below it.
        Assert.Equal(free + 5 * Page, _frames.FreeBytes);
    }

    [Fact]
    public void A_broken_leaf_that_is_put_back_costs_no_table_page()
    {
        PageTable<OddFormat, WatchedMemory> table = Create<OddFormat>(new(OddFormat.Encoding, 4, 0b1010));
        Map(table, PhysRange.FromLength(Data, 16 * Page));
        ulong free = _frames.FreeBytes;
        Split(table, Second);
        Assert.True(_gather.HasBroken && _frames.FreeBytes < free);
        table.Relink(_gather);
        _watch.AssertVisible("after a break that was taken back");
        Assert.Equal(16 * Page, Assert.Single(table.Leaves()).Range.ByteCount);
        Assert.Equal(free, _frames.FreeBytes);
    }

    [Fact]
    public void What_was_changed_twice_becomes_what_it_was_first()
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 8));
        foreach (PhysAddr target in (PhysAddr[])[Data, Data + Large])
        {
            _table.Map(new(0), [PhysRange.FromLength(target, Page)], Access.Read, pages);
            _table.Unmap(Whole, _gather);
        }

        _table.Relink(_gather);
        Assert.True(_table.TryWalk(new(0), out Translation translation));
        Assert.Equal(Data, translation.Address);
        pages.ReturnAll(_frames);
    }

    [Fact]
    public void A_page_is_never_mapped_through_a_table_that_was_unlinked_before()
    {
        PhysRange[] memory = [PhysRange.FromLength(Data, Page)];
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 8));
        _table.Map(new(0), memory, Access.Read, pages);
        // Another caller unmaps all of the table's range, and has not released it yet.
        _table.Unmap(Whole, _gather);
        _table.Map(new(0), memory, Access.Read, pages);
        Assert.True(_table.TryWalk(new(0), out _));
        var own = new InvalidationGather();
        _table.Unmap(IovaRange.FromLength(new(0), Page), own);
        Assert.False(_table.TryWalk(new(0), out _));
        _table.Unmap(Whole, _gather);
        _table.Release(_gather);
        _table.Map(new(0), memory, Access.Read, pages);
        _table.Unmap(IovaRange.FromLength(new(0), Page), own);
        Assert.False(_table.TryWalk(new(0), out _));
        pages.ReturnAll(_frames);
    }

    [Fact]
    public void A_page_is_never_mapped_through_a_table_that_was_merged_away()
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 8));
        MapAsPages(_table, pages);
        Assert.True(_table.TryMerge(Whole, _gather));
        _table.Release(_gather);
        _table.Unmap(Whole, new());
        _table.Map(new(Page), [PhysRange.FromLength(Data, Page)], Access.Read, pages);
        Assert.True(_table.TryWalk(new(Page), out _));
        pages.ReturnAll(_frames);
    }

    [Fact]
    public void A_page_is_mapped_through_the_table_that_was_linked_again()
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 8));
        _table.Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read, pages);
        _table.Unmap(Whole, _gather);
        // The second is mapped through a table that was there.
        foreach (ulong offset in (ulong[])[Page, 2 * Page]) _table.Map(new(offset), [PhysRange.FromLength(Data + offset, Page)], Access.Read, pages);
        _table.Relink(_gather);
        _table.Map(new(3 * Page), [PhysRange.FromLength(Data + 3 * Page, Page)], Access.Read, pages);
        Assert.Equal([0, 3 * Page], _table.Leaves().Select(leaf => leaf.Range.First.Value));
        pages.ReturnAll(_frames);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_table_is_linked_again_whatever_became_of_the_leaf_that_took_its_place(bool isUnmapped)
    {
        MapAsPages(_table);
        PhysAddr lowest = LowestTable();
        Assert.True(_table.TryMerge(Whole, _gather));
        if (isUnmapped) _table.Unmap(Whole, _gather);
        else _table.Protect(Whole, Access.Read, _gather);
        _table.Relink(_gather);
        _watch.AssertVisible("after a relink");
        Assert.Equal(lowest, LowestTable());
        Assert.Equal(512, _table.Leaves().Count(leaf => leaf.Access == Access.ReadWrite));
    }

    [Fact]
    public void What_was_merged_and_unmapped_stays_absent_whatever_the_leaves_before_have_noted()
    {
        MapAsPages(_table);
        PhysAddr lowest = LowestTable();
        Assert.True(_table.TryMerge(Whole, _gather));
        _table.Unmap(Whole, _gather);
        // Through a cached pointer.
        _ram.Port.Write64(lowest, _ram.Port.Read64(lowest) | Dirty);
        _table.Release(_gather);
        Assert.NotEqual(lowest, LowestTable());
        Assert.All(Entries(LowestTable()), entry => Assert.Equal(0UL, entry));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_lies_behind_a_table_is_no_part_of_it(bool fails)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 2));
        _table.Map(new(Large), [PhysRange.FromLength(Data, Page)], Access.Read, pages);
        MapAsPages(_table);
        // In the order of addresses: the root, the table below it, and that of the first pages.
        PhysAddr behind = _table.TablePages().ElementAt(2) + Page;
        Assert.DoesNotContain(behind, _table.TablePages());
        // What looks like a leaf that was written through.
        ulong foreign = Data.Value | 3 | Dirty;
        _ram.Port.Write64(behind, foreign);
        Assert.True(_table.TryMerge(Whole, _gather));
        if (fails)
        {
            SetOnce(Accessed);
            _table.Relink(_gather);
            Assert.Equal(512, _table.Leaves().Count(leaf => Whole.Contains(leaf.Range)));
        }
        else
        {
            _table.Release(_gather);
        }

        Assert.Equal(foreign, _ram.Port.Read64(behind));
        var dirty = new List<IovaRange>();
        _table.CollectDirty(Whole, clear: false, dirty, _gather);
        Assert.Empty(dirty);
    }

    [Fact]
    public void What_another_has_put_where_a_table_is_to_be_linked_is_not_written_over()
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 8));
        _table.Map(new(Large), [PhysRange.FromLength(Data, Page)], Access.Read, pages);
        var other = new Leaf(Whole, Data + 4 * Large, Access.Read);
        _watch.BeforeExchange = slot => _ram.Port.Write64(slot, VtdSecondStage.EncodeLeaf(other.First, 2, other.Attributes));
        // A page off: no large leaf, but a table of pages, all of it new.
        Assert.Throws<InvalidOperationException>(() => _table.Map(new(0), [PhysRange.FromLength(Data + Page, Large)], Access.Read, pages));
        Assert.Contains(other, _table.Leaves());
        pages.ReturnAll(_frames);
    }

    [Fact]
    public void A_leaf_that_only_the_end_of_a_range_cuts_is_cut_as_well()
    {
        Map(_table, PhysRange.FromLength(Data + Page, Large), PhysRange.FromLength(Data + 4 * Large, Large));
        Leaf[] before = [.. _table.Leaves()];
        Assert.Equal(Large, before[^1].Range.ByteCount);
        var range = IovaRange.FromLength(new(Large - Page), 2 * Page);
        Assert.Throws<InvalidOperationException>(() => _table.Protect(range, Access.Read, _gather));
        Assert.Throws<InvalidOperationException>(() => _table.CollectDirty(range, clear: true, [], _gather));
        Assert.Equal(before, _table.Leaves());
        Assert.Equal(0, _gather.Ranges.Length);
    }

    [Fact]
    public void What_hardware_notes_of_a_broken_table_is_in_the_leaf_that_is_made_of_it()
    {
        PageTable<BreakingFormat, WatchedMemory> table = Create<BreakingFormat>(new(BreakingFormat.Encoding, 3, 0b1110));
        MapAsPages(table);
        PhysAddr slot = table.TablePages().Last() + 7 * 8;
        Assert.True(table.TryMerge(Whole, _gather));
        Assert.True(_gather.HasBroken);
        Assert.Empty(table.Leaves());
        // Through a cached pointer.
        _ram.Port.Write64(slot, _ram.Port.Read64(slot) | Accessed);
        table.Release(_gather);
        _watch.AssertVisible("after a make");
        Assert.Equal([new Leaf(Whole, Data, Access.ReadWrite)], table.Leaves());
        var found = new List<IovaRange>();
        table.CollectAccessed(Whole, clear: false, found, _gather);
        Assert.Equal([Whole], found);
        // It notes no more than that.
        Assert.False(table.HasDirtyBits);
        Assert.Throws<InvalidOperationException>(() => table.CollectDirty(Whole, clear: false, found, _gather));
    }

    [Fact]
    public void A_broken_leaf_that_is_put_back_gives_its_table_back_and_not_what_pages_lead_to()
    {
        PageTable<BreakingFormat, WatchedMemory> table = Create<BreakingFormat>(new(BreakingFormat.Encoding, 3, 0b1110));
        Map(table, PhysRange.FromLength(Data, Large));
        ulong free = _frames.FreeBytes;
        Split(table, Second);
        Assert.Equal(free - Page, _frames.FreeBytes);
        table.Relink(_gather);
        Assert.Equal([new Leaf(Whole, Data, Access.ReadWrite)], table.Leaves());
        Assert.Equal(free, _frames.FreeBytes);
    }

    private void AssertBreaks(PageTable<OddFormat, WatchedMemory> table, PhysAddr address, ulong value)
    {
        if (!table.TablePages().Contains(new(address.Value & ~0xFFFUL))) return;
        ulong old = _ram.Port.Read64(address);
        if ((old & 1) == 0 || (value & 1) == 0) return;
        const ulong protection = 7UL << 61;
        Assert.True(((old ^ value) & ~protection) == 0, $"a live entry 0x{old:x} becomes 0x{value:x}");
    }

    /// <summary>Hardware sets bits in the entry that is about to be exchanged, the first time.</summary>
    private void SetOnce(ulong bits) => _watch.BeforeExchange = address =>
    {
        _watch.BeforeExchange = static _ => { };
        _ram.Port.Write64(address, _ram.Port.Read64(address) | bits);
    };

    private PhysAddr LowestTable() => _table.TablePages().Last();

    private IEnumerable<ulong> Entries(PhysAddr table) => Enumerable.Range(0, 512).Select(index => _ram.Port.Read64(table + 8 * (ulong)index));

    private PageTable<TFormat, WatchedMemory> Create<TFormat>(TableFormat format)
        where TFormat : struct, IPageTableFormat
    {
        Assert.Equal(VcmmError.None, PageTable<TFormat, WatchedMemory>.TryCreate(new(_ram.Port, _watch), _frames, format, out PageTable<TFormat, WatchedMemory>? table));
        return table!;
    }

    private void Map(IPageTable table, params PhysRange[] segments)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, table.CountMissingTables(new(0), segments)));
        table.Map(new(0), segments, Access.ReadWrite, pages);
        Assert.Equal(0, pages.Count);
    }

    /// <summary>2 MiB page by page, so that it could be one leaf and is not.</summary>
    private void MapAsPages(IPageTable table)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, 2));
        MapAsPages(table, pages);
        pages.ReturnAll(_frames);
    }

    private static void MapAsPages(IPageTable table, TablePagePool pages)
    {
        for (ulong offset = 0; offset < Large; offset += Page)
            table.Map(new(offset), [PhysRange.FromLength(Data + offset, Page)], Access.ReadWrite, pages);
    }

    private void Split(IPageTable table, IovaRange range)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, table.CountSplitTables(range)));
        table.Split(range, pages, _gather);
        Assert.Equal(0, pages.Count);
    }
}

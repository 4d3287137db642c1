using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>What a walker that snoops nothing, and one without a lock, may see of a table while it changes.</summary>
public sealed class TableOrderLaws : IDisposable
{
    private const ulong Page = FrameAllocator.FrameBytes;
    private const ulong Large = 2UL << 20;

    /// <summary>Where the mapped memory is; the tables lie far below.</summary>
    private static readonly PhysAddr Data = new(1UL << 30);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 1 << 20));
    private readonly MemoryWatch _watch = new();
    private readonly IFrameSource _frames;
    private readonly PageTable<VtdSecondStage, WatchedMemory> _table;

    public TableOrderLaws()
    {
        _frames = new WatchedFrames(new FrameAllocator(_ram.Range), _watch);
        // Frame 0 stays taken: an address of 0 in an entry must not be mistaken for a table.
        Assert.Equal(VcmmError.None, _frames.TryAllocate(Page, out _));
        var memory = new WatchedMemory(_ram.Port, _watch);
        var format = new TableFormat(VtdSecondStage.Encoding, 4, 0b1110);
        Assert.Equal(VcmmError.None, PageTable<VtdSecondStage, WatchedMemory>.TryCreate(memory, _frames, format, out PageTable<VtdSecondStage, WatchedMemory>? table));
        _table = table!;
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_new_root_is_clean()
    {
        Assert.Equal(512, _watch.WriteCount);
        Assert.Empty(_watch.Unclean);
    }

    [Fact]
    public void What_a_map_an_unmap_or_a_relink_wrote_is_clean_and_fenced_when_it_returns()
    {
        var range = IovaRange.FromLength(new(Large - 2 * Page), 2 * Large + 4 * Page);
        PhysRange[] memory = [PhysRange.FromLength(Data + (Large - 2 * Page), 2 * Large + 4 * Page)];
        Map(range.First, memory, Access.ReadWrite);
        _watch.AssertVisible("after a map of pages and of large leaves");
        Assert.Equal(2, _table.Leaves().Count(leaf => leaf.Range.ByteCount == Large));

        var gather = new InvalidationGather();
        _table.Unmap(range, gather);
        _watch.AssertVisible("after an unmap of pages and of large leaves");
        Assert.False(gather.HasTables);

        PhysRange[] scattered = [PhysRange.FromLength(Data + Large, Large - Page), PhysRange.FromLength(Data, Page)];
        Map(new(Large), scattered, Access.Read);
        _watch.AssertVisible("after a map below a new table");
        _table.Unmap(IovaRange.FromLength(new(Large), Large), gather);
        _watch.AssertVisible("after an unmap that unlinks a table");
        Assert.True(gather.HasTables);
        _table.Relink(gather);
        _watch.AssertVisible("after a relink");
        Assert.True(_watch.WriteCount > 1000 && _watch.FenceCount >= 5);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_walker_that_snoops_nothing_sees_every_change_when_the_call_returns(bool givesWords)
    {
        // Words for lines: what lies beside something that was cleaned is not cleaned with it.
        var seen = new NonCoherentMemory<Ram>(_ram.Port, sizeof(ulong));
        var memory = new MaybeWords(seen.Processor, givesWords);
        var frames = new FrameAllocator(_ram.Range);
        Assert.Equal(VcmmError.None, PageTable<X86FirstStage, MaybeWords>.TryCreate(
            memory, frames, new(X86FirstStage.Encoding, 4, 0b1110), out PageTable<X86FirstStage, MaybeWords>? made));
        PageTable<X86FirstStage, MaybeWords> table = made!;
        var pages = new TablePagePool();
        var gather = new InvalidationGather();
        var range = IovaRange.FromLength(new(Large - 2 * Page), 2 * Large + 4 * Page);
        PhysRange[] large = [PhysRange.FromLength(Data + (Large - 2 * Page), 2 * Large + 4 * Page)];
        PhysRange[] small = [PhysRange.FromLength(Data + Page, 2 * Large + 4 * Page)];

        AssertSeen("a new table");
        Map(large);
        AssertSeen("a map of pages and large leaves");
        Assert.Equal(VcmmError.None, pages.TryFill(frames, Page, table.CountSplitTables(IovaRange.FromLength(new(Large), Page))));
        table.Split(IovaRange.FromLength(new(Large), Page), pages, gather);
        AssertSeen("a split");
        table.Protect(IovaRange.FromLength(new(Large), Page), Access.Read, gather);
        AssertSeen("a narrowing");
        table.Protect(IovaRange.FromLength(new(Large), Page), Access.ReadWrite, gather);
        Assert.True(table.TryMerge(range, gather));
        AssertSeen("a merge");
        table.Relink(gather);
        AssertSeen("a merge taken back");
        gather.Clear();
        table.Unmap(range, gather);
        AssertSeen("an unmap");
        table.Release(gather);
        AssertSeen("a release");
        gather.Clear();
        Map(small);
        AssertSeen("a map of pages, through tables that it makes");
        table.Unmap(IovaRange.FromLength(new(Large + Page), 7 * Page), gather);
        AssertSeen("an unmap of some of a table's pages");
        Assert.Equal(2 * 512 + 4 - 7, table.Leaves().Count());
        table.Unmap(IovaRange.FromLength(new(Large + 3 * Page), 9 * Page), gather);
        AssertSeen("an unmap that begins with pages that are gone already");
        Assert.Equal(2 * 512 + 4 - 11, table.Leaves().Count());
        table.Unmap(IovaRange.FromLength(new(Large + 2 * Page), 13 * Page), gather);
        AssertSeen("an unmap that begins with many of them");
        Assert.Equal(2 * 512 + 4 - 14, table.Leaves().Count());

        void Map(PhysRange[] segments)
        {
            Assert.Equal(VcmmError.None, pages.TryFill(frames, Page, table.CountMissingTables(range.First, segments)));
            table.Map(range.First, segments, Access.ReadWrite, pages);
        }

        void AssertSeen(string what)
        {
            for (ulong at = 0; at < _ram.Range.ByteCount; at += 8)
                Assert.True(_ram.Port.Read64(new(at)) == seen.Walker.Read64(new(at)), $"after {what} the word at 0x{at:x} is not what the walker sees");
        }
    }

    [Fact]
    public void A_table_is_linked_only_when_its_zeroes_can_be_seen()
    {
        // What was in the frames before would translate.
        for (ulong at = 2 * Page; at < 1 << 20; at += 8) _ram.Port.Write64(new(at), Data.Value | 3);
        int links = 0;
        _watch.BeforeWrite = (_, value) =>
        {
            if ((value & 3) == 0 || value >= Data.Value) return;
            links++;
            Assert.Empty(_watch.Unclean);
            for (ulong offset = 0; offset < Page; offset += 8) Assert.Equal(0UL, _ram.Port.Read64(new((value & ~0xFFFUL) + offset)));
        };
        Map(new(5 * Page), [PhysRange.FromLength(Data, Page)], Access.Read);
        Assert.Equal(3, links);
        Assert.Single(_table.Leaves());
    }

    [Fact]
    public void Who_is_second_to_install_a_table_uses_the_first_and_keeps_its_own_page()
    {
        bool isFirst = true;
        _watch.BeforeExchange = _ =>
        {
            if (!isFirst) return;
            isFirst = false;
            // Another thread maps a neighbour, through the same missing tables.
            Map(new(7 * Page), [PhysRange.FromLength(Data + Page, Page)], Access.Write);
        };
        ulong free = _frames.FreeBytes;
        var pages = new TablePagePool();
        PhysRange[] memory = [PhysRange.FromLength(Data, Page)];
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, _table.CountMissingTables(new(5 * Page), memory)));
        Assert.Equal(3, pages.Count);
        _table.Map(new(5 * Page), memory, Access.Read, pages);
        Assert.Equal(3, pages.Count);
        pages.ReturnAll(_frames);
        Assert.Equal(0, pages.Count);
        Assert.Equal(free - 3 * Page, _frames.FreeBytes);
        Assert.Equal(
            [new(IovaRange.FromLength(new(5 * Page), Page), Data, Access.Read), new(IovaRange.FromLength(new(7 * Page), Page), Data + Page, Access.Write)],
            _table.Leaves());
        Assert.Equal(4, _table.TablePages().Distinct().Count());
        Assert.Equal(_table.Root, _table.TablePages().First());
    }

    [Fact]
    public void A_walk_that_a_release_overtakes_is_walked_again()
    {
        var range = IovaRange.FromLength(new(0), Large);
        Map(range.First, [PhysRange.FromLength(Data, Large - Page), PhysRange.FromLength(Data + 2 * Large, Page)], Access.Read);
        PhysAddr lowest = _table.TablePages().Last();
        int overtaken = 0;
        _watch.BeforeTryRead = address =>
        {
            if ((address.Value & ~0xFFFUL) != lowest.Value || overtaken++ != 0) return;
            var gather = new InvalidationGather();
            _table.Unmap(range, gather);
            _table.Release(gather);
            // The page is somebody else's now, and what is in it looks like an entry.
            _ram.Port.Write64(address, (Data + 4 * Large).Value | 3);
        };
        Assert.False(_table.TryWalk(new(Page), out Translation translation));
        Assert.Equal(default, translation);
        Assert.Equal(1, overtaken);
    }

    [Fact]
    public void A_walk_that_the_end_of_the_table_overtakes_finds_nothing()
    {
        Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read);
        int overtaken = 0;
        _watch.BeforeTryRead = _ =>
        {
            if (overtaken++ == 0) _table.Free();
        };
        Assert.False(_table.TryWalk(new(0), out Translation translation));
        Assert.Equal(default, translation);
        Assert.NotEqual(0, overtaken);
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
    }

    [Fact]
    public void A_walk_into_an_address_outside_memory_finds_nothing()
    {
        _ram.Port.Write64(_table.Root, (1UL << 40) | 3);
        Assert.False(_table.TryWalk(new(0), out _));
    }

    [Fact]
    public void Only_addresses_that_the_levels_span_are_walked()
    {
        Assert.True(_table.Covers(new(new(0), new((1UL << 48) - 1))));
        Assert.False(_table.Covers(new(new(0), new(1UL << 48))));
        Assert.False(_table.Covers(new(new(1UL << 63), new(ulong.MaxValue))));
        Map(new((1UL << 48) - Page), [PhysRange.FromLength(Data, Page)], Access.Read);
        Map(new(0), [PhysRange.FromLength(Data + Page, Page)], Access.Read);
        Assert.True(_table.TryWalk(new((1UL << 48) - 1), out Translation translation));
        Assert.Equal(Data + (Page - 1), translation.Address);
        Assert.False(_table.TryWalk(new(1UL << 48), out _));
        Assert.False(_table.TryWalk(new(ulong.MaxValue), out _));
    }

    [Fact]
    public void What_a_table_unlinked_is_relinked_and_released_by_it_alone()
    {
        var memory = new WatchedMemory(_ram.Port, _watch);
        var format = new TableFormat(VtdSecondStage.Encoding, 3, 0b1110);
        Assert.Equal(VcmmError.None, PageTable<VtdSecondStage, WatchedMemory>.TryCreate(memory, _frames, format, out PageTable<VtdSecondStage, WatchedMemory>? other));
        PhysRange[] data = [PhysRange.FromLength(Data, Large - Page), PhysRange.FromLength(Data + 2 * Large, Page)];
        Map(new(0), data, Access.Read);
        Leaf[] before = [.. _table.Leaves()];
        ulong free = _frames.FreeBytes;
        var gather = new InvalidationGather();
        _table.Unmap(IovaRange.FromLength(new(0), Large), gather);

        other!.Relink(gather);
        Assert.Empty(_table.Leaves());
        other.Release(gather);
        Assert.Equal(free, _frames.FreeBytes);
        _table.Relink(gather);
        Assert.Equal(before, _table.Leaves());
    }

    [Fact]
    public void A_live_page_is_never_mapped_over()
    {
        Map(new(0), [PhysRange.FromLength(Data, 2 * Page)], Access.Read);
        Leaf[] before = [.. _table.Leaves()];
        Assert.Throws<InvalidOperationException>(() => Map(new(Page), [PhysRange.FromLength(Data, Page)], Access.Read));
        Assert.Throws<InvalidOperationException>(() => Map(new(Page), [PhysRange.FromLength(Data + Page, Page)], Access.Write));
        Assert.Equal(before, _table.Leaves());
        Map(new(Page), [PhysRange.FromLength(Data + Page, Page)], Access.Read);
        Assert.Equal(before, _table.Leaves());
    }

    [Fact]
    public void A_leaf_is_never_taken_for_a_table()
    {
        Map(new(0), [PhysRange.FromLength(Data, Large)], Access.Read);
        Leaf[] before = [.. _table.Leaves()];
        Assert.Throws<InvalidOperationException>(() => Map(new(Page), [PhysRange.FromLength(Data + Page, Page)], Access.Read));
        Assert.Equal(before, _table.Leaves());
    }

    [Fact]
    public void Each_entry_is_read_and_written_once()
    {
        Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read);
        int writes = _watch.WriteCount;
        Map(new(Page), [PhysRange.FromLength(Data + Page, 5 * Page)], Access.Read);
        Assert.Equal(writes + 5, _watch.WriteCount);
        int reads = _watch.ReadCount;
        var gather = new InvalidationGather();
        _table.Unmap(IovaRange.FromLength(new(Page), 6 * Page), gather);
        Assert.Equal(writes + 10, _watch.WriteCount);
        Assert.Equal(reads + 3 + 6, _watch.ReadCount);
        // The sixth was absent: it is neither written nor invalidated.
        Assert.Equal(IovaRange.FromLength(new(Page), 5 * Page), Assert.Single(gather.Ranges.ToArray()));
    }

    [Fact]
    public void A_release_of_nothing_makes_no_walk_start_again()
    {
        Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read);
        _watch.BeforeTryRead = _ =>
        {
            _watch.BeforeTryRead = static _ => { };
            _table.Release(new());
        };
        int reads = _watch.ReadCount;
        Assert.True(_table.TryWalk(new(0), out _));
        Assert.Equal(reads + 4, _watch.ReadCount);
    }

    [Fact]
    public void A_map_that_needs_more_pages_than_were_set_aside_is_a_broken_promise() =>
        Assert.Throws<InvalidOperationException>(() => _table.Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read, new()));

    private void Map(Iova first, PhysRange[] segments, Access access)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(_frames, Page, _table.CountMissingTables(first, segments)));
        _table.Map(first, segments, access, pages);
        pages.ReturnAll(_frames);
    }
}

using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>
/// What the engine asks of memory, and no more: an entry is read once, what is cleaned is what was written, and a page in the table of
/// the page before is reached without a walk. Entries that memory gives out as words are treated as those that it does not.
/// </summary>
public sealed class TableAccessLaws : IDisposable
{
    private const ulong Page = FrameAllocator.FrameBytes, Large = 2UL << 20;
    private const ulong Accessed = 1 << 8, Dirty = 1 << 9;
    private const int LevelCount = 4;

    /// <summary>Where a table of the lowest level begins, and another ends.</summary>
    private const ulong Border = (3UL << 30) + (5 * Large);

    private static readonly PhysAddr Data = new(1UL << 32);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
    private readonly MemoryCalls _calls = new();
    private readonly FrameAllocator _frames;
    private readonly TablePagePool _pages = new();
    private readonly InvalidationGather _gather = new();

    public TableAccessLaws()
    {
        _frames = new(_ram.Range);
        Assert.Equal(VcmmError.None, _pages.TryFill(_frames, Page, 8));
    }

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    [InlineData(0, 511)]
    [InlineData(511, 0)]
    [InlineData(511, 510)]
    public void A_page_in_the_table_of_the_page_before_is_reached_without_a_walk(int first, int second)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords: false);
        Map(table, 100, 1, _pages);
        Map(table, first, 1, _pages);
        _calls.Clear();
        Map(table, second, 1, _pages);
        Assert.Equal((1, 1), (_calls.Reads, _calls.Writes));
        Assert.Equal(new[] { 100, first, second }.Order().Select(PageOf), table.Leaves());

        table.Unmap(PageOf(first).Range, _gather);
        _calls.Clear();
        table.Unmap(PageOf(second).Range, _gather);
        Assert.Equal((1, 1), (_calls.Reads, _calls.Writes));
        Assert.Equal([PageOf(100)], table.Leaves());
    }

    /// <summary>From the table in which the range divides: two entries there, and those of the pages.</summary>
    [Theory]
    [InlineData(1, false)]
    [InlineData(1, true)]
    [InlineData(3, false)]
    [InlineData(3, true)]
    public void Each_entry_of_a_range_in_two_tables_is_read_once(int pagesInEach, bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        var other = new TablePagePool();
        Assert.Equal(VcmmError.None, other.TryFill(_frames, Page, 8));
        Map(table, -10, 1, other);
        Map(table, 10, 1, other);
        Leaf[] before = [.. table.Leaves()];
        // One that stands alone is read, whatever memory gives.
        int single = givesWords && pagesInEach != 1 ? 0 : 2 * pagesInEach;
        var range = new IovaRange(PageOf(-pagesInEach).Range.First, PageOf(pagesInEach - 1).Range.Last);

        _calls.Clear();
        Map(table, -pagesInEach, 2 * pagesInEach, _pages);
        Assert.Equal((4 + single, single), (_calls.Reads, _calls.Writes));
        Assert.Equal(2 + (2 * pagesInEach), table.Leaves().Count());
        _calls.Clear();
        table.Unmap(range, _gather);
        Assert.Equal((4 + single, single), (_calls.Reads, _calls.Writes));
        Assert.Equal(before, table.Leaves());
        Assert.Equal(range, Assert.Single(_gather.Ranges.ToArray()));
    }

    /// <summary>Above the lowest level, for each end; then the way to the entry.</summary>
    [Fact]
    public void Whether_a_leaf_is_cut_is_not_asked_of_the_lowest_level()
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords: false);
        Map(table, 0, 1, _pages);
        _calls.Clear();
        table.Protect(PageOf(0).Range, Access.Read, _gather);
        Assert.Equal((2 * (LevelCount - 1)) + LevelCount, _calls.Reads);
    }

    [Theory]
    [InlineData(0, 1, false)]
    [InlineData(511, 1, false)]
    [InlineData(0, 3, false)]
    [InlineData(509, 3, false)]
    [InlineData(0, 3, true)]
    [InlineData(509, 3, true)]
    public void What_is_cleaned_is_what_was_written(int first, int count, bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        Map(table, 100, 1, _pages);
        _calls.Clear();
        Map(table, first, count, _pages);
        PhysRange entries = EntriesOf(table, first, count);
        Assert.Equal([entries], _calls.Cleaned);
        _calls.Clear();
        table.Unmap(new(PageOf(first).Range.First, PageOf(first + count - 1).Range.Last), _gather);
        Assert.Equal([entries], _calls.Cleaned);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Of_pages_that_are_unmapped_those_that_were_present_are_cleaned_and_told(bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        Map(table, 13, 1, _pages);
        Map(table, 15, 1, _pages);
        _calls.Clear();
        table.Unmap(new(PageOf(4).Range.First, PageOf(20).Range.Last), _gather);
        Assert.Equal([EntriesOf(table, 13, 3)], _calls.Cleaned);
        Assert.Equal([new(PageOf(13).Range.First, PageOf(15).Range.Last)], _gather.Ranges.ToArray());
        Assert.Empty(table.Leaves());
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public void Where_nothing_is_present_nothing_is_written_cleaned_or_told(int count, bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        Map(table, 100, 1, _pages);
        _calls.Clear();
        table.Unmap(new(PageOf(0).Range.First, PageOf(count - 1).Range.Last), _gather);
        Assert.Equal((0, 0, 0), (_calls.Writes, _calls.Cleaned.Count, _gather.Ranges.Length));
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(2, true)]
    public void Of_pages_that_are_mapped_none_may_be_live_as_another(int live, bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        var other = new Leaf(PageOf(live).Range, Data + Large, Access.ReadWrite);
        table.Map(other.Range.First, [PhysRange.FromLength(other.First, Page)], Access.ReadWrite, _pages);
        Assert.Throws<InvalidOperationException>(() => Map(table, 0, 3, _pages));
        Assert.Contains(other, table.Leaves());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Pages_that_are_live_as_what_is_mapped_keep_what_hardware_noted(bool givesWords)
    {
        PageTable<VtdSecondStage, CountedMemory> table = Create(givesWords);
        Map(table, 0, 3, _pages);
        PhysAddr second = EntriesOf(table, 1, 1).First;
        ulong used = _ram.Port.Read64(second) | Accessed | Dirty;
        _ram.Port.Write64(second, used);
        Map(table, 0, 4, _pages);
        Assert.Equal(used, _ram.Port.Read64(second));
        Assert.Equal(4, table.Leaves().Count());
    }

    private PageTable<VtdSecondStage, CountedMemory> Create(bool givesWords)
    {
        Assert.Equal(VcmmError.None, PageTable<VtdSecondStage, CountedMemory>.TryCreate(
            new(_ram.Port, _calls, givesWords), _frames, new(VtdSecondStage.Encoding, LevelCount, 0b1110), out PageTable<VtdSecondStage, CountedMemory>? table));
        return table!;
    }

    /// <summary>The leaf of a page, counted from the border; a page behind it, so that no large leaf would fit.</summary>
    private static Leaf PageOf(int page)
    {
        ulong offset = unchecked((ulong)(long)page * Page);
        return new(IovaRange.FromLength(new(unchecked(Border + offset)), Page), new(unchecked(Data.Value + Page + offset)), Access.ReadWrite);
    }

    private static void Map(PageTable<VtdSecondStage, CountedMemory> table, int first, int count, TablePagePool pages)
    {
        Leaf leaf = PageOf(first);
        table.Map(leaf.Range.First, [PhysRange.FromLength(leaf.First, (ulong)count * Page)], leaf.Attributes, pages);
    }

    /// <summary>The entries of pages in the table that begins at the border, the last one.</summary>
    private static PhysRange EntriesOf(PageTable<VtdSecondStage, CountedMemory> table, int first, int count) =>
        PhysRange.FromLength(table.TablePages().Last() + ((ulong)first * sizeof(ulong)), (ulong)count * sizeof(ulong));
}

using Platform;
using Properties.Library;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>Tables that the library did not write, or not all of them: where they may lie, and that nothing is followed below the lowest level.</summary>
public sealed class MalformedTableLaws : IDisposable
{
    private const ulong Page = FrameAllocator.FrameBytes;

    private static readonly PhysAddr Data = new(1UL << 32);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 15 * Page));

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Tables_in_the_first_and_the_last_frame_of_memory_are_tables_like_others()
    {
        PhysAddr root = new(Page), last = new(14 * Page);
        _ram.Port.Write64(root, VtdSecondStage.EncodeTable(new(0)));
        _ram.Port.Write64(root + 8, VtdSecondStage.EncodeTable(last));
        TableAudit audit = PageTable<VtdSecondStage, Ram>.Adopt(_ram.Port, new(VtdSecondStage.Encoding, 3, 0b1110), root).Audit();
        Assert.Empty(audit.Malformed);
        Assert.Equal([root, new(0), last], audit.TablePages);
    }

    /// <summary>In a format that says with a bit of its own what a table is.</summary>
    [Fact]
    public void A_pointer_in_a_table_of_the_lowest_level_is_not_followed()
    {
        var frames = new FrameAllocator(_ram.Range);
        Assert.Equal(VcmmError.None, PageTable<OddFormat, Ram>.TryCreate(_ram.Port, frames, new(OddFormat.Encoding, 4, 0b1010), out PageTable<OddFormat, Ram>? table));
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(frames, Page, 8));
        table!.Map(new(0), [PhysRange.FromLength(Data, Page)], Access.Read, pages);
        PhysAddr first = table.TablePages().Last();
        table.Map(new(4 * Page), [PhysRange.FromLength(Data + (4 * Page), Page)], Access.Read, pages);
        PhysAddr second = table.TablePages().Last();
        Assert.NotEqual(first, second);

        _ram.Port.Write64(first, OddFormat.EncodeTable(second));
        Assert.False(table.TryWalk(new(0), out _));
        MalformedEntry malformed = Assert.Single(table.Audit().Malformed);
        Assert.Equal((first, EntryDefect.WrongLevel), (malformed.Slot, malformed.Defect));
        // Where there is no memory: to look would be an error.
        _ram.Port.Write64(first, OddFormat.EncodeTable(new(1UL << 40)));
        Assert.False(table.TryMerge(IovaRange.FromLength(new(0), 16 * Page), new()));
    }
}

using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>The table engine against a dictionary of pages, over VT-d's format and over an odd one.</summary>
public sealed class PageTableProperties
{
    [Fact]
    public void Second_stage_tables_say_exactly_what_was_mapped() =>
        Sample<VtdSecondStage>(new(VtdSecondStage.Encoding, 3, 0b1110), pageLog2: 12, slotPages: 128, slotCount: 12);

    [Fact]
    public void Second_stage_tables_without_large_leaves_say_exactly_what_was_mapped() =>
        Sample<VtdSecondStage>(new(VtdSecondStage.Encoding, 4, 0b0010), pageLog2: 12, slotPages: 128, slotCount: 12);

    [Fact]
    public void Odd_tables_say_exactly_what_was_mapped() =>
        Sample<OddFormat>(new(OddFormat.Encoding, 5, 0b1010), pageLog2: 12, slotPages: 4, slotCount: 24);

    [Fact]
    public void The_largest_leaf_that_fits_is_used()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        PageTable<VtdSecondStage, Ram> table = Create<VtdSecondStage>(ram, new(VtdSecondStage.Encoding, 4, 0b1110), out IFrameSource frames);
        Map(table, frames, new(1UL << 30), [PhysRange.FromLength(new(2UL << 30), 1UL << 30)], Access.Read);
        Map(table, frames, new(4UL << 21), [PhysRange.FromLength(new(6UL << 21), 1UL << 21)], Access.Write);
        Map(table, frames, new(8UL << 21), [PhysRange.FromLength(new((6UL << 21) + 4096), 1UL << 21)], Access.ReadWrite);
        ulong[] sizes = [.. table.Leaves().Select(leaf => leaf.Range.ByteCount)];
        Assert.Equal(1UL << 21, sizes[0]);
        Assert.Equal(512, sizes.Count(size => size == 4096));
        Assert.Equal(1UL << 30, sizes[^1]);
        Assert.True(table.TryWalk(new((1UL << 30) + 0x12345678), out Translation translation));
        Assert.Equal(new Translation(new((2UL << 30) + 0x12345678), Access.Read, 1UL << 30), translation);
    }

    [Theory]
    [InlineData(new[] { 1 << 20, 1 << 20 })]
    [InlineData(new[] { 1 << 19, 1 << 19, 1 << 19, 1 << 19 })]
    public void Segments_that_continue_each_other_are_mapped_as_one(int[] sizes)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        PageTable<VtdSecondStage, Ram> table = Create<VtdSecondStage>(ram, new(VtdSecondStage.Encoding, 4, 0b1110), out IFrameSource frames);
        var segments = new PhysRange[sizes.Length];
        PhysAddr next = new(1UL << 21);
        for (int i = 0; i < sizes.Length; i++, next += (ulong)sizes[i - 1]) segments[i] = PhysRange.FromLength(next, (ulong)sizes[i]);
        Map(table, frames, new(0), segments, Access.Read);
        Assert.Equal([new Leaf(IovaRange.FromLength(new(0), 1UL << 21), new(1UL << 21), Access.Read)], table.Leaves());
    }

    [Fact]
    public void A_range_that_cuts_a_leaf_is_a_broken_promise()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        PageTable<VtdSecondStage, Ram> table = Create<VtdSecondStage>(ram, new(VtdSecondStage.Encoding, 4, 0b1110), out IFrameSource frames);
        Map(table, frames, new(0), [PhysRange.FromLength(new(0), 1UL << 21)], Access.Read);
        Assert.Throws<InvalidOperationException>(() => table.Unmap(IovaRange.FromLength(new(0), 4096), new()));
        Assert.Throws<InvalidOperationException>(() => Map(table, frames, new(0), [PhysRange.FromLength(new(1UL << 21), 1UL << 21)], Access.Read));
    }

    [Fact]
    public void A_relinked_unmap_is_as_if_nothing_had_been_unmapped()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        PageTable<VtdSecondStage, Ram> table = Create<VtdSecondStage>(ram, new(VtdSecondStage.Encoding, 4, 0b0010), out IFrameSource frames);
        PhysRange[] memory = [PhysRange.FromLength(new(1UL << 30), (1UL << 21) + 8192)];
        Map(table, frames, new((1UL << 21) - 4096), memory, Access.ReadWrite);
        Leaf[] before = [.. table.Leaves()];
        ulong free = frames.FreeBytes;
        var gather = new InvalidationGather();
        table.Unmap(IovaRange.FromLength(new((1UL << 21) - 4096), (1UL << 21) + 8192), gather);
        Assert.True(gather.HasTables);
        Assert.Empty(table.Leaves());
        table.Relink(gather);
        table.Map(new((1UL << 21) - 4096), memory, Access.ReadWrite, new());
        Assert.Equal(before, table.Leaves());
        Assert.Equal(free, frames.FreeBytes);
    }

    [Fact]
    public void A_table_below_the_last_level_is_no_translation()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 16));
        PageTable<OddFormat, Ram> table = Create<OddFormat>(ram, new(OddFormat.Encoding, 1, 0b0010), out _);
        ram.Port.Write64(table.Root, OddFormat.EncodeTable(table.Root));
        Assert.False(table.TryWalk(new(0), out Translation translation));
        Assert.Equal(default, translation);
    }

    [Theory]
    [InlineData("vtd-first-stage", 4, 0b1110u)]
    [InlineData("vtd-second-stage", 6, 0b1110u)]
    [InlineData("vtd-second-stage", 2, 0b1110u)]
    [InlineData("vtd-second-stage", 0, 0b1110u)]
    [InlineData("vtd-second-stage", 4, 0b1100u)]
    [InlineData("vtd-second-stage", 4, 0b11110u)]
    public void A_format_that_the_encoding_does_not_know_is_refused(string encoding, int levelCount, uint leafLevels)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 16));
        Assert.Throws<ArgumentException>(() => Create<VtdSecondStage>(ram, new(encoding, levelCount, leafLevels), out _));
    }

    private static void Sample<TFormat>(TableFormat format, int pageLog2, int slotPages, int slotCount)
        where TFormat : struct, IPageTableFormat =>
        Gen.Select(Gen.Int[0, slotCount - 1], Gen.Int[1, slotCount], Gen.Int[0, slotCount], Gen.Int[1, 3], Gen.Bool).Array[1, 12]
            .ForAll(100, steps => Run<TFormat>(format, pageLog2, slotPages, slotCount, steps));

    /// <summary>Maps runs of slots to memory at some distance, or unmaps them; a slot is the unit in which ranges are given out.</summary>
    private static void Run<TFormat>(
        TableFormat format, int pageLog2, int slotPages, int slotCount, (int Slot, int Slots, int Distance, int Access, bool Split)[] steps)
        where TFormat : struct, IPageTableFormat
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        PageTable<TFormat, Ram> table = Create<TFormat>(ram, format, out IFrameSource frames);
        var mapped = new SortedDictionary<ulong, Leaf>();
        var live = new List<IovaRange>();
        ulong slotBytes = (ulong)slotPages << pageLog2;
        foreach ((int slot, int slots, int distance, int access, bool split) in steps)
        {
            if (slot + slots > slotCount) continue;
            var range = IovaRange.FromLength(new((ulong)slot * slotBytes), (ulong)slots * slotBytes);
            foreach (IovaRange overlapping in live.Where(range.Overlaps).ToArray())
            {
                live.Remove(overlapping);
                Unmap(table, overlapping);
                for (ulong page = overlapping.First.Value; page < overlapping.Last.Value; page += 1UL << pageLog2) mapped.Remove(page);
            }

            // Memory twice as far as the address, shifted by whole slots: contiguous, or cut and swapped half way.
            var memory = PhysRange.FromLength(new(range.First.Value + (ulong)distance * slotBytes), range.ByteCount);
            PhysRange[] segments = split && slots > 1
                ? [PhysRange.FromLength(memory.First + slotBytes, range.ByteCount - slotBytes), PhysRange.FromLength(memory.First, slotBytes)]
                : [memory];
            Map(table, frames, range.First, segments, (Access)access);
            live.Add(range);
            ulong iova = range.First.Value;
            foreach (PhysRange segment in segments)
            {
                for (ulong offset = 0; offset < segment.ByteCount; offset += 1UL << pageLog2, iova += 1UL << pageLog2)
                    mapped[iova] = new(IovaRange.FromLength(new(iova), 1UL << pageLog2), segment.First + offset, (Access)access);
            }

            AssertSame(table, mapped, pageLog2, slotBytes * (ulong)slotCount);
        }

        foreach (IovaRange range in live) Unmap(table, range);
        Assert.Empty(table.Leaves());
        table.Free();
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        Assert.False(table.TryWalk(new(0), out _));
    }

    private static void AssertSame(IPageTable table, SortedDictionary<ulong, Leaf> mapped, int pageLog2, ulong byteCount)
    {
        var pages = table.Leaves().SelectMany(leaf => Pages(leaf, pageLog2));
        Assert.Equal(mapped.Values, pages);
        for (ulong iova = 0; iova < byteCount; iova += 1UL << pageLog2)
        {
            bool isMapped = mapped.TryGetValue(iova, out Leaf leaf);
            Assert.Equal(isMapped, table.TryWalk(new(iova + 1), out Translation translation));
            if (!isMapped) continue;
            Assert.Equal(leaf.First + 1, translation.Address);
            Assert.Equal(leaf.Access, translation.Access);
        }
    }

    private static IEnumerable<Leaf> Pages(Leaf leaf, int pageLog2)
    {
        for (ulong offset = 0; offset < leaf.Range.ByteCount; offset += 1UL << pageLog2)
            yield return new(IovaRange.FromLength(leaf.Range.First + offset, 1UL << pageLog2), leaf.First + offset, leaf.Access);
    }

    private static PageTable<TFormat, Ram> Create<TFormat>(RamBlock ram, TableFormat format, out IFrameSource frames)
        where TFormat : struct, IPageTableFormat
    {
        frames = new FrameAllocator(ram.Range);
        Assert.Equal(VcmmError.None, PageTable<TFormat, Ram>.TryCreate(ram.Port, frames, format, out PageTable<TFormat, Ram>? table));
        return table!;
    }

    /// <summary>Sets aside as many pages as are said to be missing, and finds every one of them used.</summary>
    private static void Map(IPageTable table, IFrameSource frames, Iova first, PhysRange[] segments, Access access)
    {
        var pages = new TablePagePool();
        Assert.Equal(VcmmError.None, pages.TryFill(frames, FrameAllocator.FrameBytes, table.CountMissingTables(first, segments)));
        table.Map(first, segments, access, pages);
        Assert.Equal(0, pages.Count);
    }

    private static void Unmap(IPageTable table, IovaRange range)
    {
        var gather = new InvalidationGather();
        table.Unmap(range, gather);
        table.Release(gather);
    }
}

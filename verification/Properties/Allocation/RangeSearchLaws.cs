using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What a search passes over, and what it remembers, hides nothing that fits another request.</summary>
public sealed class RangeSearchLaws
{
    private const ulong Page = 4096;
    private const ulong LeafBytes = 1UL << 24;

    [Theory]
    [InlineData(Placement.BottomUp)]
    [InlineData(Placement.TopDown)]
    public void A_bitmap_of_which_all_is_taken_has_nothing_for_a_part_of_a_page(Placement placement)
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 3 * LeafBytes));
        ulong full = placement == Placement.BottomUp ? 0 : 2 * LeafBytes;
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(full), Page)));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(full + Page), LeafBytes - Page)));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page / 2, Page / 2, placement, new(new(0), new(ulong.MaxValue)), out IovaRange range));
        Assert.Equal(placement == Placement.BottomUp ? LeafBytes : 2 * LeafBytes - Page / 2, range.First.Value);
    }

    /// <summary>The gap lies across the border of two words of a bitmap, and its only aligned address is the first of the second.</summary>
    [Fact]
    public void A_gap_that_ends_with_the_first_byte_of_a_word_is_known_there()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), Page));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(new(new(63), new(64))));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(3, 2, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(1, 2, Placement.BottomUp, new(new(64), new(Page - 1)), out IovaRange range));
        Assert.Equal(64UL, range.First.Value);
    }

    /// <summary>The second search looks at the block of 16 MiB, and not at the word in which the first one found too little.</summary>
    [Fact]
    public void What_a_search_knows_of_a_word_counts_for_all_above_it()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 2 * LeafBytes));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(8 * Page), 4 * Page)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(5 * Page, Page, out _));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(640 * Page), Page)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(5 * Page, Page, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(4 * Page, Page, out IovaRange range));
        Assert.Equal(8 * Page, range.First.Value);
    }

    /// <summary>Below the gap that the search from the top saw there is less than was asked for; it may do for a shorter request.</summary>
    [Fact]
    public void What_lies_below_the_last_gap_is_found_by_a_shorter_request()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 64 * Page));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(0), 11 * Page)));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(12 * Page), 4 * Page)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(13 * Page, 4 * Page, Placement.TopDown, allocator.Space, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(11 * Page, 4 * Page, out IovaRange range));
        Assert.Equal(0UL, range.First.Value);
    }

    [Theory]
    [InlineData(24, Placement.BottomUp)]
    [InlineData(24, Placement.TopDown)]
    [InlineData(30, Placement.BottomUp)]
    [InlineData(36, Placement.TopDown)]
    public void All_of_a_space_is_a_block_also_within_bounds(int log2, Placement placement)
    {
        ulong byteCount = 1UL << log2;
        var allocator = new RangeAllocator(IovaRange.FromLength(new(byteCount), byteCount));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(byteCount, byteCount, placement, allocator.Space, out IovaRange range));
        Assert.Equal(allocator.Space, range);
    }

    /// <summary>A page in one of 64 slots that begin at a power of two, and a bound as far below 2^64 as they begin above 0.</summary>
    [Theory]
    [InlineData(12)]
    [InlineData(18)]
    [InlineData(24)]
    [InlineData(36)]
    [InlineData(48)]
    public void A_bound_far_above_hides_nothing(int slotLog2)
    {
        ulong first = 64UL << slotLog2;
        var page = IovaRange.FromLength(new(first + (5UL << slotLog2)), Page);
        var allocator = new RangeAllocator(new(new(0), new(ulong.MaxValue)));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(page));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, Placement.BottomUp, new(new(0), new(unchecked(0 - first))), out IovaRange range));
        Assert.Equal(page, range);
    }
}

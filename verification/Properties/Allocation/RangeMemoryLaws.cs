using Harness;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What a range allocator takes memory for: nodes where a block is free in part, and what a search has learned.</summary>
public sealed class RangeMemoryLaws
{
    private const ulong Page = 4096;

    /// <summary>The bookkeeping of a block that is free in part.</summary>
    private const long NodeBytes = 640;

    /// <summary>What the first call of all allocates is not counted.</summary>
    public RangeMemoryLaws()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 30));
        Require(allocator.TryAllocate(3 * Page, Page, out IovaRange range));
        Require(allocator.TryFree(range));
    }

    /// <summary>A search that finds nothing takes memory for what it learns, at either end of the 64-bit space and in between; the next one has it.</summary>
    [Theory]
    [InlineData(0UL)]
    [InlineData(1UL << 40)]
    [InlineData(ulong.MaxValue - 64 * Page + 1)]
    public void A_search_in_vain_is_remembered(ulong first)
    {
        long unsearched = Bytes(0);
        long searched = Bytes(1);
        Assert.InRange(searched - unsearched, 1, 2 * NodeBytes);
        Assert.Equal(searched, Bytes(5));

        long Bytes(int searches) => Allocations.Of(() =>
        {
            var allocator = new RangeAllocator(IovaRange.FromLength(new(first), 64 * Page));
            Require(allocator.TryAllocateAt(allocator.Space));
            Require(allocator.TryFree(IovaRange.FromLength(new(first + 10 * Page), 3 * Page)));
            for (int i = 0; i < searches; i++)
            {
                if (allocator.TryAllocate(5 * Page, Page, out _) != VcmmError.NoSpace) Assert.Fail("found");
            }
        });
    }

    /// <summary>One node for a space of up to 16 MiB, and one more for each six bits.</summary>
    [Theory]
    [InlineData(24, 1)]
    [InlineData(25, 2)]
    [InlineData(30, 2)]
    [InlineData(36, 3)]
    public void A_page_that_is_taken_takes_a_node_for_each_level(int log2, int levels)
    {
        long bytes = Allocations.Of(() =>
        {
            var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << log2));
            Require(allocator.TryAllocate(Page, Page, out _));
        });
        Assert.InRange(bytes, 1, levels * NodeBytes + 512);
    }

    [Fact]
    public void A_range_that_fills_a_slot_takes_no_node()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 57));
        Assert.Equal(0, Allocations.Of(() => Require(allocator.TryAllocateAt(IovaRange.FromLength(new(1UL << 54), 1UL << 54)))));
    }

    /// <summary>Whole blocks of 16 MiB, each in another block of 1 GiB, none of which keeps a node; what is above them is in use.</summary>
    [Fact]
    public void Blocks_that_come_and_go_leave_nothing_behind()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 48));
        Require(allocator.TryAllocateAt(IovaRange.FromLength(new(0), Page)));
        ComeAndGo(1);
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (ulong i = 2; i < 64; i++) ComeAndGo(i);
        }));

        void ComeAndGo(ulong which)
        {
            var range = IovaRange.FromLength(new((which << 30) + (1UL << 24)), 1UL << 24);
            Require(allocator.TryAllocateAt(range));
            Require(allocator.TryFree(range));
        }
    }

    private static void Require(VcmmError error)
    {
        if (error != VcmmError.None) Assert.Fail(error.ToString());
    }
}

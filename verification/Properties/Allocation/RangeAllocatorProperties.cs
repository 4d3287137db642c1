using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>The range allocator against a row of flags, at both ends of the 64-bit space and in between.</summary>
[Collection(QuickFirst.Last + nameof(RangeAllocatorProperties))]
public sealed class RangeAllocatorProperties
{
    private const ulong PageBytes = 4096;

    [Fact]
    public void A_range_is_the_first_that_fits_from_the_end_asked_for_and_refused_only_where_there_is_none() =>
        Gen.Select(RangeSteps.Worlds, RangeSteps.Steps).ForAll(
            3000,
            (world, steps) => RangeSteps.Run(world, steps, static space => new RangeAllocator(space), isFirstFit: true, isWhole: false));

    /// <summary>So many gaps that each word of the bitmaps has some, and that words fill and empty.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Among_thousands_of_gaps_the_first_that_fits_is_found(int seed)
    {
        // Nearly every mutant of the library is tried with this.
        int count = UnderMutation.IsOn ? 1 << 12 : 1 << 14;
        ulong first = seed switch { 1 => 0, 2 => 5 * PageBytes, _ => ulong.MaxValue - (ulong)count * PageBytes + 1 };
        var random = new Random(seed);
        var allocator = new RangeAllocator(IovaRange.FromLength(new(first), (ulong)count * PageBytes));
        var map = new GranuleMap(first, count, PageBytes);
        var pages = new List<IovaRange>();
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(VcmmError.None, allocator.TryAllocate(PageBytes, PageBytes, out IovaRange page));
            Assert.Equal(map.AddressOf(i), page.First.Value);
            map.Mark(page.First.Value, PageBytes, true);
            pages.Add(page);
        }

        Shuffle(pages, random);
        for (int round = 0; round < 4; round++)
        {
            // Few are free, then half in thousands of gaps, then nearly all; then they are taken again.
            while (pages.Count > 300)
            {
                Give(pages, pages.Count - 1);
                if (random.Next(12) == 0) Take(pages);
            }

            while (map.FreeCount > 1000) Take(pages);
            Shuffle(pages, random);
        }

        foreach (IovaRange range in pages) Assert.Equal(VcmmError.None, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));

        void Give(List<IovaRange> live, int which)
        {
            IovaRange range = live[which];
            live.RemoveAt(which);
            Assert.Equal(VcmmError.None, allocator.TryFree(range));
            map.Mark(range.First.Value, range.ByteCount, false);
        }

        void Take(List<IovaRange> live)
        {
            int granules = random.Next(3) == 0 ? random.Next(1, 12) : 1 << random.Next(4);
            ulong alignment = random.Next(2) == 0 && int.IsPow2(granules) ? (ulong)granules * PageBytes : PageBytes << random.Next(6);
            Placement placement = random.Next(2) == 0 ? Placement.BottomUp : Placement.TopDown;
            int from = random.Next(3) == 0 ? random.Next(count) : 0;
            ulong low = from == 0 ? 0 : map.AddressOf(from);
            ulong high = from == 0 ? ulong.MaxValue : map.AddressOf(Math.Min(count - 1, from + random.Next(1, 2000))) + (PageBytes - 1);
            ulong? place = map.Find(granules, alignment, placement, low, high);
            VcmmError error = allocator.TryAllocate((ulong)granules * PageBytes, alignment, placement, new(new(low), new(high)), out IovaRange range);
            Assert.Equal((place is null ? VcmmError.NoSpace : VcmmError.None, place ?? 0), (error, range.First.Value));
            if (place is null) return;
            map.Mark(range.First.Value, range.ByteCount, true);
            live.Add(range);
        }
    }

    [Theory]
    [InlineData(1UL << 63, 1UL << 63, Placement.BottomUp, 0UL)]
    [InlineData(1UL << 63, 1UL << 63, Placement.TopDown, 1UL << 63)]
    [InlineData(1UL << 63, 1UL, Placement.TopDown, 1UL << 63)]
    [InlineData(ulong.MaxValue, 1UL, Placement.BottomUp, 0UL)]
    [InlineData(ulong.MaxValue, 1UL, Placement.TopDown, 1UL)]
    [InlineData(ulong.MaxValue, 2UL, Placement.TopDown, 0UL)]
    [InlineData(1UL, 1UL, Placement.TopDown, ulong.MaxValue)]
    public void The_whole_64_bit_space_is_a_space(ulong byteCount, ulong alignment, Placement placement, ulong place)
    {
        var whole = new IovaRange(new(0), new(ulong.MaxValue));
        foreach (IRangeAllocator allocator in new IRangeAllocator[] { new RangeAllocator(whole), new CachedRangeAllocator(new RangeAllocator(whole)) })
        {
            Assert.Equal(VcmmError.None, allocator.TryAllocate(byteCount, alignment, placement, whole, out IovaRange range));
            Assert.Equal(IovaRange.FromLength(new(place), byteCount), range);
            Assert.Equal(VcmmError.NoSpace, allocator.TryAllocateAt(whole));
            Assert.Equal(VcmmError.Invalid, allocator.TryFree(whole));
            Assert.Equal(VcmmError.None, allocator.TryFree(range));
            Assert.Equal(VcmmError.None, allocator.TryAllocateAt(whole));
            Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(1, 1, out _));
            Assert.Equal(VcmmError.None, allocator.TryFree(whole));
        }
    }

    [Fact]
    public void What_is_not_wholly_inside_is_invalid()
    {
        var space = IovaRange.FromLength(new(PageBytes), 4 * PageBytes);
        var allocator = new RangeAllocator(space);
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocateAt(IovaRange.FromLength(new(0), 2 * PageBytes)));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocateAt(IovaRange.FromLength(new(4 * PageBytes), 2 * PageBytes)));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(0, PageBytes, out _));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(PageBytes, 3 * PageBytes, out _));
        Assert.Equal(VcmmError.Invalid, allocator.TryFind(0, PageBytes, space, out _));
        Assert.Equal(VcmmError.Invalid, allocator.TryFind(PageBytes, 3 * PageBytes, space, out _));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(ulong.MaxValue, PageBytes, out _));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(PageBytes, 1UL << 63, out _));
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(IovaRange.FromLength(new(PageBytes), PageBytes)));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(4 * PageBytes, PageBytes, out IovaRange all));
        Assert.Equal(space, all);
    }

    [Fact]
    public void A_single_byte_is_a_range_too()
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 16));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(0), 15)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(2, 1, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(1, 1, out IovaRange last));
        Assert.Equal(new IovaRange(new(15), new(15)), last);
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(1, 1, out _));
    }

    [Fact]
    public void A_range_of_which_a_byte_is_free_is_not_given_back()
    {
        const ulong size = 16;
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 5 * size));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(size), size)));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(3 * size), size)));
        IovaRange[] partlyFree =
        [
            new(new(size - 1), new(2 * size - 1)),        // the last byte before it
            new(new(size), new(2 * size)),                // the first byte after it
            new(new(size), new(4 * size - 1)),            // what lies between two
            new(new(size), new(5 * size - 1)),
            new(new(0), new(5 * size - 1)),
        ];
        Assert.All(partlyFree, range => Assert.Equal(VcmmError.Invalid, allocator.TryFree(range)));

        // Nothing has changed: the two are taken, and what is around them is free.
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(size + 1, 1, out _));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(size), size)));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(3 * size), size)));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
    }

    /// <summary>
    /// A search finds nothing in a slot of a node, and what it learns there no longer holds when the slot was free as a whole meanwhile.
    /// </summary>
    [Theory]
    [InlineData(6, 0)]
    [InlineData(18, 12)]
    [InlineData(24, 12)]
    [InlineData(24, 14)]
    [InlineData(24, 18)]
    [InlineData(30, 20)]
    [InlineData(30, 24)]
    [InlineData(36, 12)]
    public void What_was_free_as_a_whole_is_looked_at_anew(int slotLog2, int unitLog2)
    {
        ulong unit = 1UL << unitLog2;
        ulong slot = 1UL << slotLog2;
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 4 * slot));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(slot + 10 * unit), 3 * unit)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(5 * unit, unit, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(slot + 10 * unit), 3 * unit)));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(0), 3 * slot)));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(new(new(0), new(slot + 9 * unit - 1))));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(new(new(slot + 16 * unit), new(3 * slot - 1))));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(5 * unit, unit, out IovaRange range));
        Assert.Equal(slot + 9 * unit, range.First.Value);
    }

    /// <summary>From the top, a search goes on at the next aligned place; what lies between may do for a shorter request.</summary>
    /// <param name="next">In pages: the next aligned place.</param>
    [Theory]
    [InlineData(0)]
    [InlineData(256)]
    public void What_a_search_passes_over_is_found_by_a_shorter_request(ulong next)
    {
        ulong first = (next + 32) * PageBytes;
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 4096 * PageBytes));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(first), 41 * PageBytes)));
        Assert.Equal(VcmmError.None, allocator.TryFree(IovaRange.FromLength(new(first + 42 * PageBytes), 23 * PageBytes)));
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(47 * PageBytes, 32 * PageBytes, Placement.TopDown, allocator.Space, out _));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(41 * PageBytes, 32 * PageBytes, out IovaRange range));
        Assert.Equal(first, range.First.Value);
    }

    /// <summary>A block that is smaller than a page of the bitmap, from the top, where there is a bitmap: the last of the last free page.</summary>
    [Theory]
    [InlineData(1UL)]
    [InlineData(16UL)]
    [InlineData(2048UL)]
    [InlineData(4096UL)]
    [InlineData(8192UL)]
    public void From_the_top_a_small_block_is_the_last_that_is_free(ulong byteCount)
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 64 * PageBytes));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(62 * PageBytes), 2 * PageBytes)));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(byteCount, byteCount, Placement.TopDown, new(new(0), new(ulong.MaxValue)), out IovaRange range));
        Assert.Equal(new IovaRange(new(62 * PageBytes - byteCount), new(62 * PageBytes - 1)), range);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(byteCount, byteCount, Placement.TopDown, new(new(0), new(ulong.MaxValue)), out range));
        Assert.Equal(62 * PageBytes - 2 * byteCount, range.First.Value);
    }

    private static void Shuffle<T>(List<T> items, Random random)
    {
        for (int i = items.Count - 1; i > 0; i--)
        {
            int j = random.Next(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}

using CsCheck;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>The range allocator against a row of flags, at both ends of the 64-bit space and in between.</summary>
public sealed class RangeAllocatorProperties
{
    private const int PageCount = 24;
    private const ulong PageBytes = 4096;

    private static readonly Gen<ulong> Bases = Gen.OneOf(Gen.Const(0UL), Gen.Const(3 * PageBytes), Gen.Const(ulong.MaxValue - PageCount * PageBytes + 1));

    private static readonly Gen<Step> Steps = Gen.OneOf(
        Gen.Select(Gen.Int[1, 6], Gen.Int[0, 3], (pages, log2) => (Step)new Take(pages, 1 << log2)),
        Gen.Select(Gen.Int[0, PageCount - 1], Gen.Int[1, 4], (page, pages) => (Step)new TakeAt(page, pages)),
        Gen.Int[0, 63].Select(which => (Step)new Give(which)));

    [Fact]
    public void Ranges_never_overlap_and_space_is_refused_only_where_there_is_none() =>
        Gen.Select(Bases, Steps.Array[1, 60]).Sample((first, steps) => Run(new Iova(first), steps), seed: "0N0XIzNsQ0O2", iter: 2000, threads: 1);

    [Fact]
    public void What_is_not_wholly_inside_is_invalid()
    {
        var space = IovaRange.FromLength(new(PageBytes), 4 * PageBytes);
        var allocator = new RangeAllocator(space);
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocateAt(IovaRange.FromLength(new(0), 2 * PageBytes)));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocateAt(IovaRange.FromLength(new(4 * PageBytes), 2 * PageBytes)));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(0, PageBytes, out _));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(PageBytes, 3 * PageBytes, out _));
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

    private static void Run(Iova first, Step[] steps)
    {
        var allocator = new RangeAllocator(IovaRange.FromLength(first, PageCount * PageBytes));
        var taken = new bool[PageCount];
        var live = new List<IovaRange>();
        foreach (Step step in steps)
        {
            switch (step)
            {
                case Take(int pages, int alignment):
                    VcmmError error = allocator.TryAllocate((ulong)pages * PageBytes, (ulong)alignment * PageBytes, out IovaRange range);
                    bool fits = Enumerable.Range(0, PageCount - pages + 1).Any(page =>
                        ((first.Value / PageBytes) + (ulong)page) % (ulong)alignment == 0 && !taken[page..(page + pages)].Contains(true));
                    Assert.Equal(fits ? VcmmError.None : VcmmError.NoSpace, error);
                    if (!fits) break;
                    Assert.True(range.First.IsAligned((ulong)alignment * PageBytes));
                    Assert.Equal((ulong)pages * PageBytes, range.ByteCount);
                    Mark(range, true);
                    live.Add(range);
                    break;
                case TakeAt(int page, int pages) when page + pages <= PageCount:
                    IovaRange wanted = IovaRange.FromLength(first + (ulong)page * PageBytes, (ulong)pages * PageBytes);
                    bool free = !taken[page..(page + pages)].Contains(true);
                    Assert.Equal(free ? VcmmError.None : VcmmError.NoSpace, allocator.TryAllocateAt(wanted));
                    if (!free) break;
                    Mark(wanted, true);
                    live.Add(wanted);
                    break;
                case Give(int which) when live.Count != 0:
                    IovaRange given = live[which % live.Count];
                    live.Remove(given);
                    Assert.Equal(VcmmError.None, allocator.TryFree(given));
                    Assert.Equal(VcmmError.Invalid, allocator.TryFree(given));
                    Mark(given, false);
                    break;
            }
        }

        foreach (IovaRange range in live) Assert.Equal(VcmmError.None, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(allocator.Space));

        void Mark(IovaRange range, bool value)
        {
            Assert.True(allocator.Space.Contains(range));
            int page = (int)((range.First.Value - first.Value) / PageBytes);
            for (int i = page; i < page + (int)(range.ByteCount / PageBytes); i++)
            {
                Assert.NotEqual(value, taken[i]);
                taken[i] = value;
            }
        }
    }

    private abstract record Step;

    private sealed record Take(int Pages, int Alignment) : Step;

    private sealed record TakeAt(int Page, int Pages) : Step;

    private sealed record Give(int Which) : Step;
}

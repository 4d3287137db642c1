using Harness;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What allocators cost in memory. Nothing runs beside it: what allocates for long is counted only where no collection comes.</summary>
[Trait("Category", "Slow")]
[CollectionDefinition(nameof(AllocatorCost), DisableParallelization = true)]
[Collection(nameof(AllocatorCost))]
public sealed class AllocatorCost
{
    private const ulong Page = 4096;

    // So many mutants are tried with these.
    private static readonly int Part = UnderMutation.IsOn ? 10 : 1;
    private static readonly int Count = 200_000 / Part;

    public static TheoryData<bool> Kinds => [false, true];

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public void A_range_that_is_out_takes_at_most_64_bytes(bool isCached, bool isHalved)
    {
        var random = new Random(1);
        var live = new IovaRange[Count];
        // All that was ever allocated for it, on this thread: no less than what it holds, and other tests have no part in it. Each collection
        // makes the runtime's count 8 KiB too high at most, which is nothing beside the 12 MiB that are allowed.
        long before = GC.GetAllocatedBytesForCurrentThread();
        IRangeAllocator allocator = Make(isCached);
        Fill(allocator, live, random);
        Exchange(allocator, live, random, 2 * Count);
        // Every second one goes, so that there are as many gaps as ranges that are left.
        for (int i = 0; isHalved && i < Count; i += 2) Require(allocator.TryFree(live[i]));
        long after = GC.GetAllocatedBytesForCurrentThread();
        Assert.InRange((after - before) / (double)(isHalved ? Count / 2 : Count), 1, 64);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void In_steady_state_nothing_is_allocated(bool isCached)
    {
        var random = new Random(2);
        IRangeAllocator allocator = Make(isCached);
        var live = new IovaRange[8000];
        Fill(allocator, live, random);
        // More gaps and more addresses than there will be later: what they took is kept for use.
        var more = new IovaRange[live.Length];
        Fill(allocator, more, random);
        for (int i = 0; i < live.Length; i += 2) Require(allocator.TryFree(live[i]));
        for (int i = 0; i < live.Length; i += 2) Take(allocator, random, out live[i]);
        foreach (IovaRange range in more) Require(allocator.TryFree(range));
        Exchange(allocator, live, random, 100_000 / Part);
        Assert.Equal(0, Allocations.Of(() => Exchange(allocator, live, random, 200_000 / Part)));
    }

    /// <summary>Lengths and alignments that need more than the order of a block.</summary>
    [Fact]
    public void In_steady_state_nothing_is_allocated_for_other_lengths_either()
    {
        var random = new Random(3);
        var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 48));
        var live = new IovaRange[2000];
        for (int i = 0; i < live.Length; i++) TakeOther(out live[i]);
        Exchange(40_000 / Part);
        Assert.Equal(0, Allocations.Of(() => Exchange(40_000 / Part)));

        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                ref IovaRange range = ref live[random.Next(live.Length)];
                Require(allocator.TryFree(range));
                TakeOther(out range);
            }
        }

        void TakeOther(out IovaRange range) =>
            Require(allocator.TryAllocate((ulong)random.Next(1, 20) * Page, Page << random.Next(3), out range));
    }

    /// <summary>Ranges that come and go all over 57 bits of address, with a page too many or too few: what one took the next one uses.</summary>
    [Fact]
    public void What_is_given_back_leaves_nothing_behind()
    {
        RangeAllocator allocator = null!;
        long bytes = Allocations.Of(() =>
        {
            var random = new Random(4);
            allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 57));
            ulong first = 0;
            for (int i = 0; i < 20_000 / Part; i++)
            {
                ulong byteCount = (ulong)random.NextInt64(1, 1L << random.Next(13, 45)) & ~(Page - 1) | (i % 16 == 0 ? 1 : Page);
                // Every second one lies beside the one before, in the next leaf or soon behind it.
                first = i % 2 == 0 ? (ulong)random.NextInt64(1L << 56) & ~(Page - 1) : first + (1UL << 24);
                var range = IovaRange.FromLength(new(first), byteCount);
                Require(allocator.TryAllocateAt(range));
                Require(allocator.TryFree(range));
            }
        });
        Assert.InRange(bytes, 1, 40 << 10);
        Require(allocator.TryAllocateAt(allocator.Space));
    }

    /// <summary>Its ends take a node of each level each, whatever lies between.</summary>
    [Fact]
    public void A_huge_range_takes_little_more_than_its_ends()
    {
        long bytes = Allocations.Of(() =>
        {
            var allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 57));
            for (int i = 0; i < 4; i++) Require(allocator.TryAllocate((1UL << 54) + 3 * Page, Page, out _));
        });
        Assert.InRange(bytes, 1, 4 * 7 * 700 + 2048);
    }

    [Fact]
    public void Frames_are_handed_out_and_taken_back_without_allocating()
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 4096 * Page));
        Exchange(frames, 1000);
        Assert.Equal(0, Allocations.Of(() => Exchange(frames, 1000)));

        static void Exchange(FrameAllocator frames, int count)
        {
            for (int i = 0; i < count; i++)
            {
                Require(frames.TryAllocate(Page << (i % 4), out PhysAddr block));
                Require(frames.TryAllocateContiguous(5 * Page, 2 * Page, out PhysAddr five));
                Require(frames.TryFree(block));
                Require(frames.TryFree(five));
            }
        }
    }

    private static IRangeAllocator Make(bool isCached)
    {
        IRangeAllocator allocator = new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 48));
        return isCached ? new CachedRangeAllocator(allocator) : allocator;
    }

    private static void Fill(IRangeAllocator allocator, IovaRange[] live, Random random)
    {
        for (int i = 0; i < live.Length; i++) Take(allocator, random, out live[i]);
    }

    private static void Exchange(IRangeAllocator allocator, IovaRange[] live, Random random, int count)
    {
        for (int i = 0; i < count; i++)
        {
            ref IovaRange range = ref live[random.Next(live.Length)];
            Require(allocator.TryFree(range));
            Take(allocator, random, out range);
        }
    }

    private static void Take(IRangeAllocator allocator, Random random, out IovaRange range)
    {
        ulong byteCount = Page << random.Next(5);
        Require(allocator.TryAllocate(byteCount, byteCount, out range));
    }

    private static void Require(VcmmError error)
    {
        if (error != VcmmError.None) Assert.Fail(error.ToString());
    }
}

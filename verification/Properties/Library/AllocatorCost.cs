using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>What allocators cost in memory.</summary>
[Trait("Category", "Slow")]
public sealed class AllocatorCost
{
    private const ulong Page = 4096;
    private const int Count = 200_000;

    public static TheoryData<bool> Kinds => [false, true];

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public void A_range_that_is_out_takes_at_most_64_bytes(bool isCached, bool isHalved)
    {
        var random = new Random(1);
        var live = new IovaRange[Count];
        // All that was ever allocated for it, on this thread: no less than what it holds, and other tests have no part in it.
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
        // More gaps than there will be later: what they took is kept for use.
        for (int i = 0; i < live.Length; i += 2) Require(allocator.TryFree(live[i]));
        for (int i = 0; i < live.Length; i += 2) Take(allocator, random, out live[i]);
        Exchange(allocator, live, random, 100_000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Exchange(allocator, live, random, 200_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Frames_are_handed_out_and_taken_back_without_allocating()
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 4096 * Page));
        Exchange(frames, 1000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Exchange(frames, 1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

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

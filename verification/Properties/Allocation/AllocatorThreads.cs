using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Two threads on one allocator: nothing is handed out twice, nor refused while it is free. What is right passes in every order.</summary>
[Trait("Category", "Threads")]
public sealed class AllocatorThreads
{
    private const ulong Page = 4096;
    private const int Rounds = 40_000;

    /// <summary>Each thread holds fewer than half of the pages: none may ever be refused one.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Ranges_of_two_threads_never_overlap_and_none_is_refused_while_one_is_free(bool isCached)
    {
        const int count = 16;
        var space = IovaRange.FromLength(new(0), count * Page);
        IRangeAllocator allocator = new RangeAllocator(space);
        if (isCached) allocator = new CachedRangeAllocator(allocator, 4);
        Hammer(count, 7, allocator.TryAllocate, range => allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(space));

        // No bounds, so that what is at hand is used.
        static void Hammer(int count, int most, Take take, Func<IovaRange, VcmmError> give) => AllocatorThreads.Hammer(
            count, most,
            () => (take(Page, Page, out IovaRange range), range.First.Value),
            address => give(IovaRange.FromLength(new(address), Page)));
    }

    [Fact]
    public void Frames_of_two_threads_never_overlap_and_none_is_refused_while_one_is_free()
    {
        const int count = 16;
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), count * Page));
        Hammer(count, 7, () => (frames.TryAllocate(Page, out PhysAddr block), block.Value), address => frames.TryFree(new(address)));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        Assert.Equal(VcmmError.None, frames.TryAllocate(count * Page, out _));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Of_two_threads_that_give_back_the_same_range_one_succeeds(bool isCached)
    {
        IRangeAllocator allocator = new RangeAllocator(IovaRange.FromLength(new(0), 64 * Page));
        if (isCached) allocator = new CachedRangeAllocator(allocator, 4);
        var ranges = new IovaRange[64];
        var successes = new int[ranges.Length];
        for (int round = 0; round < 50; round++)
        {
            for (int i = 0; i < ranges.Length; i++) Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out ranges[i]));
            Array.Clear(successes);
            int arrived = 0;
            InTwoThreads(_ =>
            {
                for (int i = 0; i < ranges.Length; i++)
                {
                    // At each range they meet.
                    Interlocked.Increment(ref arrived);
                    var spin = new SpinWait();
                    while (Volatile.Read(ref arrived) < 2 * (i + 1)) spin.SpinOnce(sleep1Threshold: -1);
                    if (allocator.TryFree(ranges[i]) == VcmmError.None) Interlocked.Increment(ref successes[i]);
                }
            });
            Assert.All(successes, count => Assert.Equal(1, count));
        }
    }

    private static void Hammer(int pageCount, int most, Func<(VcmmError Error, ulong Address)> take, Func<ulong, VcmmError> give)
    {
        var owners = new int[pageCount];
        InTwoThreads(me =>
        {
            var random = new Random(me);
            var live = new List<ulong>();
            for (int round = 0; round < Rounds; round++)
            {
                if (live.Count == 0 || live.Count < most && random.Next(2) == 0)
                {
                    (VcmmError error, ulong address) = take();
                    Assert.Equal(VcmmError.None, error);
                    Assert.Equal(0, Interlocked.Exchange(ref owners[address / Page], me));
                    live.Add(address);
                }
                else
                {
                    Give(live, random.Next(live.Count));
                }
            }

            while (live.Count != 0) Give(live, 0);
        });

        void Give(List<ulong> live, int which)
        {
            ulong address = live[which];
            live.RemoveAt(which);
            Assert.NotEqual(0, Interlocked.Exchange(ref owners[address / Page], 0));
            Assert.Equal(VcmmError.None, give(address));
        }
    }

    private static void InTwoThreads(Action<int> body)
    {
        var failures = new Exception?[3];
        using var start = new Barrier(2);
        Thread[] threads = [.. new[] { 1, 2 }.Select(me => new Thread(() =>
        {
            try
            {
                start.SignalAndWait();
                body(me);
            }
            catch (Exception e)
            {
                failures[me] = e;
            }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Assert.All(failures, Assert.Null);
    }

    private delegate VcmmError Take(ulong byteCount, ulong alignment, out IovaRange range);
}

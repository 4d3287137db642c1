using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Ranges at hand count as free, for every thread, and are given back once.</summary>
public sealed class CachedRangeProperties
{
    private const ulong Page = 4096;

    /// <summary>The thread changes from call to call, so that what one gave back another one needs.</summary>
    [Fact]
    public void What_is_at_hand_counts_as_free() =>
        Gen.Select(RangeSteps.Worlds, RangeSteps.Steps, Gen.Int[0, 2]).ForAll(
            3000,
            (world, steps, slots) =>
            {
                int calls = 0;
                RangeSteps.Run(
                    world, steps, space => new CachedRangeAllocator(new RangeAllocator(space), 1 << slots, () => calls++ / 2 * 7 / 3),
                    isFirstFit: false, isWhole: true);
            });

    [Fact]
    public void A_range_at_hand_is_used_first_and_by_its_thread()
    {
        int thread = 0;
        var allocator = new CachedRangeAllocator(new RangeAllocator(IovaRange.FromLength(new(0), 64 * Page)), 2, () => thread);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange first));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange second));
        Assert.Equal(VcmmError.None, allocator.TryFree(first));
        Assert.Equal(VcmmError.None, allocator.TryFree(second));
        thread = 1;
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange others));
        Assert.Equal(2 * Page, others.First.Value);
        thread = 0;
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange again));
        Assert.Equal(second, again);
        allocator.GiveBack();
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange lowest));
        Assert.Equal(first, lowest);
    }

    /// <summary>Who gives back has it at hand, whoever was handed it; whole and once, whoever tries.</summary>
    [Fact]
    public void What_another_threads_range_was_is_at_hand_for_who_gave_it_back()
    {
        int thread = 0;
        var allocator = new CachedRangeAllocator(new RangeAllocator(IovaRange.FromLength(new(0), 1024 * Page)), 4, () => thread);
        var ranges = new IovaRange[200];
        for (int i = 0; i < ranges.Length; i++) Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out ranges[i]));
        thread = 3;
        for (int i = 0; i < ranges.Length; i++)
        {
            Assert.Equal(VcmmError.Invalid, allocator.TryFree(new(ranges[i].First, new(ranges[i].Last.Value + Page))));
            Assert.Equal(VcmmError.None, allocator.TryFree(ranges[i]));
            foreach (int other in new[] { 3, 0, 1 })
            {
                thread = other;
                Assert.Equal(VcmmError.Invalid, allocator.TryFree(ranges[i]));
            }

            thread = 3;
        }

        // As many as a slot keeps; what came later went to the allocator behind.
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange again));
        Assert.Equal(ranges[62], again);
        Assert.Equal(VcmmError.None, allocator.TryFree(again));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(0), 1024 * Page)));
    }

    /// <summary>A thread has filled the slot and waits to give half of it back; others of the slot give back meanwhile.</summary>
    [Fact]
    public void A_slot_that_is_full_keeps_no_more()
    {
        var space = IovaRange.FromLength(new(0), 1024 * Page);
        using var behind = new HeldRanges(new RangeAllocator(space));
        var allocator = new CachedRangeAllocator(behind, 1, () => 0);
        var ranges = new IovaRange[70];
        for (int i = 0; i < ranges.Length; i++) Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out ranges[i]));
        for (int i = 0; i < 63; i++) Assert.Equal(VcmmError.None, allocator.TryFree(ranges[i]));
        behind.Holds = true;
        IovaRange asked = default;
        var asks = new Thread(() => allocator.TryAllocate(64 * Page, Page, out asked));
        asks.Start();
        behind.Held.Wait();
        var errors = new VcmmError[ranges.Length - 63];
        Thread[] givers = [.. Enumerable.Range(0, errors.Length).Select(i => new Thread(() => errors[i] = allocator.TryFree(ranges[63 + i])))];
        foreach (Thread giver in givers)
        {
            giver.Start();
            var spin = new SpinWait();
            while ((giver.ThreadState & (ThreadState.WaitSleepJoin | ThreadState.Stopped)) == 0) spin.SpinOnce(sleep1Threshold: -1);
        }

        behind.GoesOn.Set();
        asks.Join();
        foreach (Thread giver in givers) giver.Join();
        Assert.All(errors, error => Assert.Equal(VcmmError.None, error));
        Assert.Equal(VcmmError.None, allocator.TryFree(asked));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(space));
    }

    /// <summary>More than a slot keeps at hand, and more than the table of known ranges begins with: both are passed, again and again.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Thousands_of_ranges_are_each_given_back_once(int seed)
    {
        const int count = 1 << 13;
        var random = new Random(seed);
        var allocator = new CachedRangeAllocator(new RangeAllocator(IovaRange.FromLength(new(0), count * Page)), 1, () => 0);
        var map = new GranuleMap(0, count, Page);
        var live = new List<IovaRange>();
        for (int step = 0; step < 40_000; step++)
        {
            bool grows = step / 5000 % 2 == 0;
            if (random.Next(10) < (grows ? 8 : 2))
            {
                ulong byteCount = Page << random.Next(7);
                if (allocator.TryAllocate(byteCount, random.Next(3) == 0 ? Page : byteCount, out IovaRange range) != VcmmError.None) continue;
                map.Mark(range.First.Value, byteCount, true);
                live.Add(range);
            }
            else if (live.Count != 0)
            {
                int which = random.Next(live.Count);
                IovaRange range = live[which];
                live[which] = live[^1];
                live.RemoveAt(live.Count - 1);
                Assert.Equal(VcmmError.None, allocator.TryFree(range));
                Assert.Equal(VcmmError.Invalid, allocator.TryFree(range));
                map.Mark(range.First.Value, range.ByteCount, false);
            }
        }

        foreach (IovaRange range in live) Assert.Equal(VcmmError.None, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(IovaRange.FromLength(new(0), count * Page)));
    }

    /// <summary>After a while a thread has at hand what it will need.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    [InlineData(45)]
    [InlineData(180)]
    public void A_thread_that_gives_back_and_takes_anew_stops_asking_behind(int liveCount)
    {
        var random = new Random(liveCount);
        var behind = new CountedRanges(new RangeAllocator(IovaRange.FromLength(new(0), 1UL << 40)));
        var allocator = new CachedRangeAllocator(behind, 1, () => 0);
        var live = new IovaRange[liveCount];
        for (int i = 0; i < liveCount; i++) Take(out live[i]);
        for (int i = 0; i < 20_000; i++) Exchange();
        int calls = behind.Calls;
        for (int i = 0; i < 20_000; i++) Exchange();
        Assert.InRange(behind.Calls - calls, 0, 200);

        void Exchange()
        {
            ref IovaRange range = ref live[random.Next(liveCount)];
            Assert.Equal(VcmmError.None, allocator.TryFree(range));
            Take(out range);
        }

        void Take(out IovaRange range) => Assert.Equal(VcmmError.None, allocator.TryAllocate(Page << random.Next(5), Page, out range));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(3)]
    [InlineData(64)]
    public void Slots_are_a_power_of_two_up_to_32(int slotCount) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new CachedRangeAllocator(new RangeAllocator(IovaRange.FromLength(new(0), Page)), slotCount));

    /// <summary>Waits in the middle of a call, with the cache's gate held.</summary>
    private sealed class HeldRanges(IRangeAllocator inner) : IRangeAllocator, IDisposable
    {
        public bool Holds { get; set; }

        public ManualResetEventSlim Held { get; } = new();

        public ManualResetEventSlim GoesOn { get; } = new();

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
        {
            if (Holds)
            {
                Held.Set();
                GoesOn.Wait();
            }

            return inner.TryAllocate(byteCount, alignment, placement, within, out range);
        }

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => inner.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => inner.TryAllocateAt(range);

        public VcmmError TryFree(IovaRange range) => inner.TryFree(range);

        public void Dispose()
        {
            Held.Dispose();
            GoesOn.Dispose();
        }
    }

    private sealed class CountedRanges(IRangeAllocator inner) : IRangeAllocator
    {
        public int Calls { get; private set; }

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
        {
            Calls++;
            return inner.TryAllocate(byteCount, alignment, placement, within, out range);
        }

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => inner.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => inner.TryAllocateAt(range);

        public VcmmError TryFree(IovaRange range)
        {
            Calls++;
            return inner.TryFree(range);
        }
    }
}

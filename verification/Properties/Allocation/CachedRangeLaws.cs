using System.Numerics;
using Harness;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What the cache asks of the allocator behind it and what it keeps, where that hands out ranges as the law wants them.</summary>
public sealed class CachedRangeLaws
{
    private const ulong Page = 4096;

    private readonly EverNewRanges _behind = new();

    /// <summary>
    /// The table of known ranges is as large as what it knows needs: ranges that were never there before come, and others go, and it does not grow. What has gone is cleared
    /// away in place, and none that is out is lost by that. As many as do not yet need a larger table.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(20)]
    [InlineData(39)]
    public void Ranges_that_come_and_go_take_no_memory_and_each_is_given_back_once(int liveCount)
    {
        var random = new Random(liveCount);
        var allocator = new CachedRangeAllocator(_behind, 1, static () => 0);
        var live = new IovaRange[liveCount];
        for (int i = 0; i < liveCount; i++) Take(out live[i]);
        for (int round = 0; round < 100; round++) Exchange();
        // The next larger table takes a kibibyte.
        Assert.InRange(
            Allocations.Of(() =>
            {
                for (int round = 0; round < 4000; round++) Exchange();
            }),
            0, 512);
        foreach (IovaRange range in live) Give(range, VcmmError.None);
        allocator.GiveBack();
        Assert.Equal(_behind.Given, _behind.Taken);

        void Exchange()
        {
            ref IovaRange range = ref live[random.Next(liveCount)];
            Give(range, VcmmError.None);
            Give(range, VcmmError.Invalid);
            allocator.GiveBack();
            Give(range, VcmmError.Invalid);
            Take(out range);
        }

        void Take(out IovaRange range)
        {
            if (allocator.TryAllocate(Page << random.Next(6), Page, out range) != VcmmError.None) Assert.Fail("refused");
        }

        void Give(IovaRange range, VcmmError expected)
        {
            VcmmError error = allocator.TryFree(range);
            if (error != expected) Assert.Fail($"the free of {range} is {error} and should be {expected}");
        }
    }

    [Fact]
    public void A_slot_with_64_of_a_size_at_hand_gives_half_of_them_back()
    {
        var allocator = new CachedRangeAllocator(_behind, 1, static () => 0);
        var ranges = new IovaRange[64];
        for (int i = 0; i < ranges.Length; i++) Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out ranges[i]));
        for (int i = 0; i < 63; i++) Assert.Equal(VcmmError.None, allocator.TryFree(ranges[i]));
        Assert.Equal(0, _behind.Taken);
        Assert.Equal(VcmmError.None, allocator.TryFree(ranges[63]));
        Assert.Equal(32, _behind.Taken);
        allocator.GiveBack();
        Assert.Equal(64, _behind.Taken);
    }

    /// <summary>Aligned to its length, then as it was asked for; then, if anything was at hand, once more.</summary>
    [Theory]
    [InlineData(2, false, 1)]
    [InlineData(1, false, 2)]
    [InlineData(2, true, 2)]
    [InlineData(1, true, 3)]
    public void A_refusal_asks_behind_again_only_if_anything_was_at_hand(int alignmentPages, bool hasAtHand, int asked)
    {
        var allocator = new CachedRangeAllocator(_behind, 2, static () => 0);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange range));
        if (hasAtHand) Assert.Equal(VcmmError.None, allocator.TryFree(range));
        _behind.IsFull = true;
        int before = _behind.Asked;
        Assert.Equal(VcmmError.NoSpace, allocator.TryAllocate(2 * Page, (ulong)alignmentPages * Page, out _));
        Assert.Equal(asked, _behind.Asked - before);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(32)]
    public void Who_says_nothing_of_threads_has_them_numbered(int slotCount)
    {
        var allocator = new CachedRangeAllocator(_behind, slotCount);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange range));
        Assert.Equal(VcmmError.None, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange again));
        Assert.Equal(range, again);
    }

    /// <summary>Twice as many slots as there are processors, to a power of two, and 32 at most.</summary>
    [Fact]
    public void By_default_the_slots_suit_the_machine()
    {
        int slotCount = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(32, 2 * Environment.ProcessorCount));
        int thread = 0;
        var allocator = new CachedRangeAllocator(_behind, 0, () => thread);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange range));
        Assert.Equal(VcmmError.None, allocator.TryFree(range));
        for (thread = 1; thread < slotCount; thread++)
        {
            Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange others));
            Assert.NotEqual(range, others);
        }

        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange again));
        Assert.Equal(range, again);
    }

    [Fact]
    public void An_allocator_behind_that_does_not_know_what_it_handed_out_is_told_so()
    {
        var allocator = new CachedRangeAllocator(_behind, 1, static () => 0);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange range));
        Assert.Equal(VcmmError.None, allocator.TryFree(range));
        _behind.KnowsNothing = true;
        Assert.Throws<InvalidOperationException>(allocator.GiveBack);
    }

    /// <summary>Hands out each address once.</summary>
    private sealed class EverNewRanges : IRangeAllocator
    {
        private ulong _next = Page;

        /// <summary>Whether it has no range to give.</summary>
        public bool IsFull { get; set; }

        /// <summary>Whether it has forgotten what it gave.</summary>
        public bool KnowsNothing { get; set; }

        /// <summary>How often it was asked for a range.</summary>
        public int Asked { get; private set; }

        /// <summary>How many it gave.</summary>
        public int Given { get; private set; }

        /// <summary>How many it took back.</summary>
        public int Taken { get; private set; }

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
        {
            Asked++;
            range = default;
            if (IsFull) return VcmmError.NoSpace;
            Given++;
            ulong first = (_next + alignment - 1) & ~(alignment - 1);
            _next = first + byteCount;
            range = IovaRange.FromLength(new(first), byteCount);
            return VcmmError.None;
        }

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range)
        {
            range = default;
            return VcmmError.NoSpace;
        }

        public VcmmError TryAllocateAt(IovaRange range) => VcmmError.NoSpace;

        public VcmmError TryFree(IovaRange range)
        {
            if (KnowsNothing) return VcmmError.Invalid;
            Taken++;
            return VcmmError.None;
        }
    }
}

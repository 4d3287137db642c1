using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>The buddy allocator against a row of flags, over banks that start and end anywhere.</summary>
public sealed class FrameAllocatorProperties
{
    private const ulong FrameBytes = FrameAllocator.FrameBytes;

    [Fact]
    public void Blocks_never_overlap_and_memory_is_refused_only_where_there_is_none() =>
        Gen.Select(Gen.ULong[0, 20], Gen.Int[1, 40], Gen.Select(Gen.Int[0, 5], Gen.Int[0, 63]).Array[1, 60])
            .ForAll(2000, (firstFrame, frameCount, steps) => Run(firstFrame, frameCount, steps));

    [Fact]
    public void A_foreign_free_is_refused_and_changes_nothing()
    {
        var allocator = new FrameAllocator(PhysRange.FromLength(new(16 * FrameBytes), 16 * FrameBytes));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(4 * FrameBytes, out PhysAddr block));
        ulong free = allocator.FreeBytes;
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(block + FrameBytes));
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(block + 1));
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(new(0)));
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(new(32 * FrameBytes)));
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(new(ulong.MaxValue & ~(FrameBytes - 1))));
        Assert.Equal(free, allocator.FreeBytes);
        Assert.Throws<InvalidOperationException>(() => ((IFrameSource)allocator).Free(block + FrameBytes));
        Assert.Equal(VcmmError.None, allocator.TryFree(block));
        Assert.Equal(allocator.TotalBytes, allocator.FreeBytes);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(1UL)]
    [InlineData(2048UL)]
    [InlineData(3 * 4096UL)]
    [InlineData(2UL << 30)]
    [InlineData(ulong.MaxValue)]
    public void A_size_that_no_block_has_is_invalid(ulong byteCount)
    {
        var allocator = new FrameAllocator(PhysRange.FromLength(new(0), 16 * FrameBytes));
        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(byteCount, out _));
        Assert.Equal(allocator.TotalBytes, allocator.FreeBytes);
    }

    [Fact]
    public void A_bank_of_the_largest_block_hands_it_out_whole()
    {
        var allocator = new FrameAllocator(PhysRange.FromLength(new(FrameAllocator.LargestBlockBytes), FrameAllocator.LargestBlockBytes));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(FrameAllocator.LargestBlockBytes, out PhysAddr block));
        Assert.Equal(new PhysAddr(FrameAllocator.LargestBlockBytes), block);
        Assert.Equal(VcmmError.NoMemory, allocator.TryAllocate(FrameBytes, out _));
    }

    [Fact]
    public void Two_largest_blocks_that_are_free_side_by_side_stay_two()
    {
        var allocator = new FrameAllocator(PhysRange.FromLength(new(0), 2 * FrameAllocator.LargestBlockBytes));
        for (int round = 0; round < 2; round++)
        {
            Assert.Equal(VcmmError.None, allocator.TryAllocate(FrameAllocator.LargestBlockBytes, out PhysAddr first));
            Assert.Equal(VcmmError.None, allocator.TryAllocate(FrameAllocator.LargestBlockBytes, out PhysAddr second));
            Assert.Equal(VcmmError.None, allocator.TryFree(first));
            Assert.Equal(VcmmError.None, allocator.TryFree(second));
        }

        Assert.Equal(VcmmError.Invalid, allocator.TryAllocate(2 * FrameAllocator.LargestBlockBytes, out _));
    }

    [Fact]
    public void A_bank_of_more_frames_than_can_be_counted_is_refused() =>
        Assert.Throws<OverflowException>(() => new FrameAllocator(PhysRange.FromLength(new(0), (1UL << 43) + FrameBytes)));

    [Theory]
    [InlineData(1UL, 4096UL)]
    [InlineData(4096UL, 4097UL)]
    public void A_bank_that_cuts_a_frame_is_refused(ulong first, ulong byteCount) =>
        Assert.Throws<ArgumentException>(() => new FrameAllocator(PhysRange.FromLength(new(first), byteCount)));

    private static void Run(ulong firstFrame, int frameCount, (int Order, int Which)[] steps)
    {
        var allocator = new FrameAllocator(PhysRange.FromLength(new(firstFrame * FrameBytes), (ulong)frameCount * FrameBytes));
        var taken = new bool[frameCount];
        var live = new List<(PhysAddr Block, int FrameCount)>();
        foreach ((int order, int which) in steps)
        {
            if (order == 5)
            {
                if (live.Count == 0) continue;
                (PhysAddr freed, int count) = live[which % live.Count];
                live.RemoveAt(which % live.Count);
                Assert.Equal(VcmmError.None, allocator.TryFree(freed));
                Assert.Equal(VcmmError.Invalid, allocator.TryFree(freed));
                Mark(freed, count, false);
            }
            else
            {
                int frames = 1 << order;
                bool fits = Enumerable.Range(0, Math.Max(0, frameCount - frames + 1)).Any(frame =>
                    (firstFrame + (ulong)frame) % (ulong)frames == 0 && !taken[frame..(frame + frames)].Contains(true));
                VcmmError error = allocator.TryAllocate((ulong)frames * FrameBytes, out PhysAddr block);
                Assert.Equal(fits ? VcmmError.None : VcmmError.NoMemory, error);
                if (!fits) continue;
                Assert.True(block.IsAligned((ulong)frames * FrameBytes));
                Mark(block, frames, true);
                live.Add((block, frames));
            }

            Assert.Equal((ulong)taken.Count(isTaken => !isTaken) * FrameBytes, allocator.FreeBytes);
        }

        void Mark(PhysAddr block, int frames, bool value)
        {
            int frame = (int)(block.Value / FrameBytes - firstFrame);
            for (int i = frame; i < frame + frames; i++)
            {
                Assert.NotEqual(value, taken[i]);
                taken[i] = value;
            }
        }
    }
}

using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Single frames that were given back: up to 64 are kept at hand, the last of them is handed out first.</summary>
public sealed class FramesAtHandLaws
{
    private const ulong FrameBytes = FrameAllocator.FrameBytes;
    private const ulong LargestBytes = FrameAllocator.LargestBlockBytes;

    [Fact]
    public void The_last_of_64_frames_that_came_back_goes_out_first()
    {
        FrameAllocator frames = Full(128);
        for (int i = 0; i < 64; i++) Give(frames, i);
        for (int i = 63; i >= 0; i--) Assert.Equal(i, Take(frames, 1));
    }

    [Fact]
    public void With_the_65th_half_of_those_at_hand_are_joined_with_their_buddies()
    {
        FrameAllocator frames = Full(128);
        for (int i = 0; i < 65; i++) Give(frames, i);
        Assert.Equal(65 * FrameBytes, frames.FreeBytes);
        Assert.Equal(32, Take(frames, 32));
        Assert.Equal(64, Take(frames, 1));
        Assert.Equal(31, Take(frames, 1));
    }

    [Fact]
    public void A_frame_that_was_taken_as_contiguous_memory_is_kept_at_hand_too()
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 16 * FrameBytes));
        var blocks = new PhysAddr[4];
        for (int i = 0; i < blocks.Length; i++) Assert.Equal(VcmmError.None, frames.TryAllocateContiguous(FrameBytes, FrameBytes, out blocks[i]));
        Assert.Equal(VcmmError.None, frames.TryFree(blocks[2]));
        Assert.Equal(VcmmError.None, frames.TryFree(blocks[3]));
        Assert.Equal(VcmmError.None, frames.TryAllocate(FrameBytes, out PhysAddr block));
        Assert.Equal(blocks[3], block);
    }

    /// <summary>Contiguous memory is first sought where a block holds it; only where none does, those at hand are joined and the bank is read.</summary>
    [Theory]
    [InlineData(2 * FrameBytes)]
    [InlineData(LargestBytes)]
    public void What_is_at_hand_stays_there_while_a_block_holds_contiguous_memory(ulong byteCount)
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 2 * byteCount));
        Assert.Equal(0, Take(frames, 1));
        Give(frames, 0);
        Assert.Equal(VcmmError.None, frames.TryAllocateContiguous(byteCount, byteCount, out PhysAddr block));
        Assert.Equal(new(byteCount), block);
        Assert.Equal(0, Take(frames, 1));
    }

    [Fact]
    public void Two_largest_blocks_that_were_taken_as_one_are_two_when_they_are_given_back()
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 2 * LargestBytes));
        Assert.Equal(VcmmError.None, frames.TryAllocateContiguous(2 * LargestBytes, FrameBytes, out PhysAddr both));
        Assert.Equal(VcmmError.None, frames.TryFree(both));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        for (int i = 0; i < 2; i++) Assert.Equal(VcmmError.None, frames.TryAllocate(LargestBytes, out _));
    }

    /// <summary>Of which each frame is out on its own.</summary>
    private static FrameAllocator Full(int count)
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), (ulong)count * FrameBytes));
        for (int i = 0; i < count; i++) Assert.Equal(i, Take(frames, 1));
        return frames;
    }

    private static int Take(FrameAllocator frames, int count)
    {
        Assert.Equal(VcmmError.None, frames.TryAllocate((ulong)count * FrameBytes, out PhysAddr block));
        return (int)(block.Value / FrameBytes);
    }

    private static void Give(FrameAllocator frames, int frame) => Assert.Equal(VcmmError.None, frames.TryFree(new((ulong)frame * FrameBytes)));
}

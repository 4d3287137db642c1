using System.Runtime.CompilerServices;
using Platform;

namespace Properties.Values;

/// <summary>What stands for physical memory is zeroed, and its frames are frames of the host.</summary>
public sealed class RamBlockLaws
{
    private const int FrameBytes = 4096;

    /// <summary>What was given back may be handed out again; a small block is where another was.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(300)]
    public void A_block_is_zeroed_and_begins_with_a_frame_of_the_host(int frameCount)
    {
        PhysRange range = PhysRange.FromLength(new(3 * FrameBytes), (ulong)frameCount * FrameBytes);
        for (int round = 0; round < 20; round++)
        {
            using var block = new RamBlock(range);
            Assert.True(block.Port.TryGetWords(range.First, frameCount * FrameBytes / sizeof(ulong), out Span<ulong> words));
            Assert.False(words.ContainsAnyExcept(0UL));
            Assert.Equal(0, Unsafe.ByteOffset(ref Unsafe.NullRef<ulong>(), ref words[0]) % FrameBytes);
            words.Fill(ulong.MaxValue);
            Assert.Equal(ulong.MaxValue, block.Port.Read64(new(range.Last.Value - 7)));
        }
    }

    [Fact]
    public void A_block_that_was_disposed_has_no_port()
    {
        var block = new RamBlock(PhysRange.FromLength(new(0), FrameBytes));
        block.Dispose();
        Assert.Throws<ObjectDisposedException>(() => block.Port);
        block.Dispose();
    }
}

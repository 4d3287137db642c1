using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Blocks, contiguous memory of any length and given ranges, side by side, against a row of flags.</summary>
public sealed class ContiguousFrameProperties
{
    private const ulong FrameBytes = FrameAllocator.FrameBytes;

    private static readonly Gen<Step[]> Steps = Gen.OneOf(
        Gen.Int[0, 4].Select(log2 => (Step)new TakeBlock(1 << log2)),
        Gen.Int[0, 4].Select(log2 => (Step)new TakeBlock(1 << log2)),
        Gen.Select(Gen.Int[1, 20], Gen.Int[0, 6], (frames, log2) => (Step)new Take(frames, log2)),
        Gen.Select(Gen.Int[-2, 64], Gen.Int[1, 12], (frame, frames) => (Step)new TakeAt(frame, frames)),
        Gen.Select(Gen.Int[1, 20], Gen.Int[0, 4], Gen.Int[-2, 60], Gen.Int[1, 40], Gen.Bool, (frames, log2, low, length, cut) => (Step)new TakeWithin(frames, log2, low, length, cut)),
        Gen.Int[0, 64].Select(frame => (Step)new GiveForeign(frame)),
        Gen.Int[0, 63].Select(which => (Step)new Give(which)),
        Gen.Int[0, 63].Select(which => (Step)new Give(which)),
        Gen.Int[0, 63].Select(which => (Step)new Give(which))).Array[1, 80];

    [Fact]
    public void Memory_is_refused_only_where_no_place_fits_and_no_frame_is_lost() =>
        Gen.Select(Gen.ULong[2, 40], Gen.Int[16, 64], Steps).ForAll(4000, Run);

    [Theory]
    [InlineData(0UL, 4096UL)]
    [InlineData(4097UL, 4096UL)]
    [InlineData(4096UL, 0UL)]
    [InlineData(4096UL, 12288UL)]
    [InlineData(4096UL, 2UL << 30)]
    public void A_length_or_an_alignment_that_no_memory_has_is_invalid(ulong byteCount, ulong alignment)
    {
        var frames = new FrameAllocator(PhysRange.FromLength(new(0), 16 * FrameBytes));
        Assert.Equal(VcmmError.Invalid, frames.TryAllocateContiguous(byteCount, alignment, out _));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }

    [Fact]
    public void More_than_the_largest_block_can_be_contiguous()
    {
        const ulong largest = FrameAllocator.LargestBlockBytes;
        var frames = new FrameAllocator(PhysRange.FromLength(new(largest / 2), 4 * largest));
        Assert.Equal(VcmmError.NoMemory, frames.TryAllocateContiguous(4 * largest, largest, out _));
        Assert.Equal(VcmmError.None, frames.TryAllocateContiguous(3 * largest + FrameBytes, largest, out PhysAddr block));
        Assert.Equal(new(largest), block);
        Assert.Equal(largest - FrameBytes, frames.FreeBytes);
        Assert.Equal(VcmmError.None, frames.TryFree(block));
        Assert.Equal(VcmmError.Invalid, frames.TryFree(block));
        Assert.Equal(VcmmError.None, frames.TryAllocateContiguous(4 * largest, 1, out block));
        Assert.Equal(0UL, frames.FreeBytes);
        Assert.Equal(VcmmError.NoMemory, frames.TryAllocateContiguous(ulong.MaxValue & ~(FrameBytes - 1), FrameBytes, out _));
    }

    private static void Run(ulong firstFrame, int frameCount, Step[] steps)
    {
        ulong first = firstFrame * FrameBytes;
        var frames = new FrameAllocator(PhysRange.FromLength(new(first), (ulong)frameCount * FrameBytes));
        var map = new GranuleMap(first, frameCount, FrameBytes);
        var live = new List<(PhysAddr Block, int Count)>();
        foreach (Step step in steps)
        {
            VcmmError error;
            switch (step)
            {
                case TakeBlock(int count):
                    Judge(frames.TryAllocate((ulong)count * FrameBytes, out PhysAddr block), block, count, (ulong)count * FrameBytes);
                    break;
                case Take(int count, int alignmentLog2):
                    ulong alignment = FrameBytes << alignmentLog2;
                    Judge(frames.TryAllocateContiguous((ulong)count * FrameBytes, alignment, out block), block, count, alignment);
                    break;
                case TakeWithin(int count, int alignmentLog2, int low, int span, bool isCut):
                    ulong lowest = (ulong)((long)firstFrame + low) * FrameBytes;
                    // A bound that cuts a frame leaves it outside.
                    var within = new PhysRange(new(isCut ? lowest + 1 : lowest), new(lowest + (ulong)span * FrameBytes - (isCut ? 2UL : 1)));
                    (int from, int until) = isCut ? (low + 1, low + span - 1) : (low, low + span);
                    if (within.Last.Value < within.First.Value) break;
                    int[] places = [.. Enumerable.Range(Math.Max(0, from), Math.Max(0, Math.Min(until, frameCount) - Math.Max(0, from)))
                        .Where(frame => frame + count <= Math.Min(until, frameCount) && map.IsFree(frame, count) && map.AddressOf(frame) % (FrameBytes << alignmentLog2) == 0)];
                    bool fits = places.Length != 0;
                    error = frames.TryFindWithin((ulong)count * FrameBytes, FrameBytes << alignmentLog2, within, out block);
                    Assert.Equal(fits ? (VcmmError.None, map.AddressOf(places[0])) : (VcmmError.NoMemory, 0), (error, block.Value));
                    error = frames.TryAllocateWithin((ulong)count * FrameBytes, FrameBytes << alignmentLog2, within, out block);
                    Assert.Equal(fits ? VcmmError.None : VcmmError.NoMemory, error);
                    if (!fits) break;
                    Assert.True(within.Contains(PhysRange.FromLength(block, (ulong)count * FrameBytes)) && block.IsAligned(FrameBytes << alignmentLog2));
                    Keep(block, count);
                    break;
                case TakeAt(int frame, int count):
                    PhysRange wanted = PhysRange.FromLength(new((ulong)((long)firstFrame + frame) * FrameBytes), (ulong)count * FrameBytes);
                    VcmmError expected = !frames.Bank.Contains(wanted) ? VcmmError.Invalid : map.IsFree(frame, count) ? VcmmError.None : VcmmError.NoMemory;
                    Assert.Equal(expected, frames.TryAllocateAt(wanted));
                    Assert.Equal(VcmmError.Invalid, frames.TryAllocateAt(new(wanted.First + 1, wanted.Last)));
                    if (expected == VcmmError.None) Keep(wanted.First, count);
                    break;
                case GiveForeign(int frame) when !live.Exists(own => own.Block.Value == map.AddressOf(frame)):
                    Assert.Equal(VcmmError.Invalid, frames.TryFree(new(map.AddressOf(frame))));
                    break;
                case Give(int which) when live.Count != 0:
                    (PhysAddr given, int length) = live[which % live.Count];
                    live.RemoveAt(which % live.Count);
                    Assert.Equal(VcmmError.None, frames.TryFree(given));
                    Assert.Equal(VcmmError.Invalid, frames.TryFree(given));
                    map.Mark(given.Value, (ulong)length * FrameBytes, false);
                    break;
            }

            Assert.Equal((ulong)map.FreeCount * FrameBytes, frames.FreeBytes);
        }

        foreach ((PhysAddr block, _) in live) Assert.Equal(VcmmError.None, frames.TryFree(block));
        Assert.Equal(VcmmError.None, frames.TryAllocateAt(frames.Bank));

        void Judge(VcmmError error, PhysAddr block, int count, ulong alignment)
        {
            bool fits = map.Find(count, alignment, Placement.BottomUp) is not null;
            Assert.Equal(fits ? VcmmError.None : VcmmError.NoMemory, error);
            if (!fits) return;
            Assert.True(block.IsAligned(alignment));
            Keep(block, count);
        }

        void Keep(PhysAddr block, int count)
        {
            map.Mark(block.Value, (ulong)count * FrameBytes, true);
            live.Add((block, count));
        }
    }

    private abstract record Step;

    private sealed record TakeBlock(int Frames) : Step;

    private sealed record Take(int Frames, int AlignmentLog2) : Step;

    private sealed record TakeWithin(int Frames, int AlignmentLog2, int Low, int Length, bool IsCut) : Step;

    private sealed record TakeAt(int Frame, int Frames) : Step;

    private sealed record Give(int Which) : Step;

    /// <summary>Of a frame at which nothing that is out begins.</summary>
    private sealed record GiveForeign(int Frame) : Step;
}

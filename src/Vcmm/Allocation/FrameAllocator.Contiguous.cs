using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

// Contiguous memory of any length, and given ranges.
public sealed partial class FrameAllocator
{
    /// <inheritdoc/>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block) =>
        TryAllocateWithin(byteCount, alignment, Bank, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
    {
        VcmmError error = TryMeasure(byteCount, alignment, within, out Wanted wanted);
        block = default;
        if (error != VcmmError.None) return error;
        bool isAnywhere = within.Contains(Bank);
        lock (_gate)
        {
            if (!(isAnywhere && TryFindInBlock(wanted, out int frame)) && !TryFindAcrossBlocks(wanted, out frame)) return VcmmError.NoMemory;
            TakeFrames(frame, wanted.Count);
            block = AddressOf(frame);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
    {
        VcmmError error = TryMeasure(byteCount, alignment, within, out Wanted wanted);
        block = default;
        if (error != VcmmError.None) return error;
        lock (_gate)
        {
            if (!TryFindAcrossBlocks(wanted, out int frame)) return VcmmError.NoMemory;
            block = AddressOf(frame);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(PhysRange range)
    {
        if (!Bank.Contains(range) || !range.First.IsAligned(FrameBytes) || range.ByteCount % FrameBytes != 0) return VcmmError.Invalid;
        int frame = FrameOf(range.First);
        int count = (int)(range.ByteCount >> FrameLog2);
        lock (_gate)
        {
            JoinAtHand(0);
            if (!AreFree(frame, count)) return VcmmError.NoMemory;
            TakeFrames(frame, count);
            return VcmmError.None;
        }
    }

    /// <summary>What is asked for, in frames of the bank.</summary>
    private VcmmError TryMeasure(ulong byteCount, ulong alignment, PhysRange within, out Wanted wanted)
    {
        wanted = default;
        if (byteCount == 0 || byteCount % FrameBytes != 0) return VcmmError.Invalid;
        if (!BitOperations.IsPow2(alignment) || alignment > LargestBlockBytes) return VcmmError.Invalid;
        if (byteCount > Bank.ByteCount || !within.Overlaps(Bank)) return VcmmError.NoMemory;
        // A frame that a bound cuts is outside.
        int low = (int)((Math.Max(within.First.Value, Bank.First.Value) - Bank.First.Value + FrameBytes - 1) >> FrameLog2);
        int high = (int)((Math.Min(within.Last.Value, Bank.Last.Value) - Bank.First.Value + 1) >> FrameLog2);
        if (low >= high) return VcmmError.NoMemory;
        wanted = new((int)(byteCount >> FrameLog2), (int)Math.Max(1, alignment >> FrameLog2), low, high);
        return VcmmError.None;
    }

    /// <summary>A block of this order holds the frames wherever they must be aligned to.</summary>
    private bool TryFindInBlock(in Wanted wanted, out int frame)
    {
        frame = None;
        for (int order = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(wanted.Count, wanted.Aligned))); order <= MaxOrder && frame == None; order++)
            frame = _freeLists[order];
        return frame != None;
    }

    /// <summary>Reads the bank, as far as the bounds go, for free blocks side by side.</summary>
    private bool TryFindAcrossBlocks(in Wanted wanted, out int frame)
    {
        JoinAtHand(0);
        ulong mask = (ulong)wanted.Aligned - 1;
        // What the first frame lies in may begin before the bounds.
        int start = _heads.AsSpan(0, wanted.Low + 1).LastIndexOfAnyExcept(Inside);
        int end = start;
        while (end < wanted.High)
        {
            byte head = _heads[end];
            int order = head & OrderMask;
            bool isFree = (head & FreeHead) != 0;
            end += order == AnyLength ? _next[end] : 1 << order;
            if (!isFree) start = end;
            ulong first = (_firstFrame + (ulong)Math.Max(start, wanted.Low) + mask & ~mask) - _firstFrame;
            int usable = Math.Min(end, wanted.High);
            frame = (int)Math.Min(first, (ulong)usable);
            if (usable - frame >= wanted.Count) return true;
        }

        frame = None;
        return false;
    }

    private bool AreFree(int frame, int count)
    {
        int end = frame + count;
        while (frame < end)
        {
            if (!TryFindFreeBlock(frame, out int block, out int order)) return false;
            frame = block + (1 << order);
        }

        return true;
    }

    private bool TryFindFreeBlock(int frame, out int block, out int order)
    {
        for (order = 0; order <= MaxOrder; order++)
        {
            ulong first = _firstFrame + (ulong)frame & ~((1UL << order) - 1);
            if (first < _firstFrame) break;
            block = (int)(first - _firstFrame);
            if (_heads[block] == (FreeHead | order)) return true;
        }

        block = None;
        return false;
    }

    /// <summary>Takes frames that are free out of the blocks that they lie in.</summary>
    private void TakeFrames(int frame, int count)
    {
        int end = frame + count;
        for (int next = frame; next < end;)
        {
            TryFindFreeBlock(next, out int block, out int order);
            int blockEnd = block + (1 << order);
            Unlink(block, order);
            LinkFrames(block, Math.Max(block, frame));
            LinkFrames(Math.Min(blockEnd, end), blockEnd);
            next = blockEnd;
        }

        _freeFrames -= (ulong)count;
        int ownOrder = BitOperations.Log2((uint)count);
        // Survives as `ownOrder < MaxOrder`: equivalent, frames of a largest block are freed as that one block, whether they are known as a block or by their number
        bool isBlock = BitOperations.IsPow2(count) && ownOrder <= MaxOrder && (_firstFrame + (ulong)frame & (ulong)count - 1) == 0;
        _heads[frame] = (byte)(AllocatedHead | (isBlock ? ownOrder : AnyLength));
        if (!isBlock) _next[frame] = count;
    }

    /// <summary>Links what is left of a block: no two parts are buddies.</summary>
    private void LinkFrames(int frame, int end)
    {
        while (frame < end)
        {
            int order = LargestOrder(frame, end);
            Link(frame, order);
            frame += 1 << order;
        }
    }

    private void FreeFrames(int frame, int count)
    {
        int end = frame + count;
        while (frame < end)
        {
            int order = LargestOrder(frame, end);
            FreeBlock(frame, order);
            frame += 1 << order;
        }
    }

    private int LargestOrder(int frame, int end) =>
        Math.Min(MaxOrder, Math.Min(BitOperations.TrailingZeroCount(_firstFrame + (ulong)frame), BitOperations.Log2((uint)(end - frame))));

    /// <summary>So many frames, the first a multiple of so many, from <see cref="Low"/> to below <see cref="High"/>.</summary>
    private readonly record struct Wanted(int Count, int Aligned, int Low, int High);
}

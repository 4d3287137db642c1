using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>A buddy allocator over one bank of physical memory.</summary>
/// <remarks>
/// <para><b>Cost.</b> Allocate and free of a block take time in the number of orders (19), whatever the size of the bank; 9
/// bytes of bookkeeping a frame, outside the bank. Single frames that were freed are kept at hand, up to 64, and joined with
/// their buddies before a request is refused. Contiguous memory is first sought where a block holds it; only before it is
/// refused, the bank is read from end to end.</para>
/// <para><b>Errors.</b> A double free and the free of an address that was never handed out are refused.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// <para><b>Source.</b> Knuth, The Art of Computer Programming, volume 1, section 2.5, "The buddy system".</para>
/// </remarks>
public sealed partial class FrameAllocator : IContiguousFrameSource
{
    /// <summary>The smallest block: 4 KiB.</summary>
    public const ulong FrameBytes = 1UL << FrameLog2;

    /// <summary>The largest block: 1 GiB.</summary>
    public const ulong LargestBlockBytes = 1UL << (FrameLog2 + MaxOrder);

    private const int FrameLog2 = 12;
    private const int MaxOrder = 18;
    private const int None = -1;

    // One byte a frame: what starts there.
    private const byte Inside = 0;
    private const byte AtHand = 0x20;
    private const byte FreeHead = 0x40;
    private const byte AllocatedHead = 0x80;
    private const byte OrderMask = 0x1F;

    /// <summary>Instead of an order: the number of frames is where a free block has its successor.</summary>
    private const byte AnyLength = OrderMask;

    private const int MostAtHand = 64;

    [LockRank(LockRank.Frames)]
    private readonly object _gate = new();
    private readonly ulong _firstFrame;
    private readonly byte[] _heads;
    private readonly int[] _next;
    private readonly int[] _previous;
    private readonly int[] _freeLists = new int[MaxOrder + 1];
    private readonly int[] _atHand = new int[MostAtHand];
    private int _atHandCount;
    private ulong _freeFrames;

    /// <summary>Takes a bank under management, all of it free.</summary>
    /// <param name="bank">Starts and ends on 4 KiB boundaries; at most 8 TiB.</param>
    /// <exception cref="ArgumentException">The bank is not made of whole 4 KiB frames.</exception>
    /// <exception cref="OverflowException">The bank is larger than that.</exception>
    public FrameAllocator(PhysRange bank)
    {
        if (!bank.First.IsAligned(FrameBytes) || bank.ByteCount % FrameBytes != 0)
            throw new ArgumentException($"{bank} is not made of whole 4 KiB frames", nameof(bank));
        Bank = bank;
        _firstFrame = bank.First.Value >> FrameLog2;
        int frameCount = (int)(bank.ByteCount >> FrameLog2);
        _heads = new byte[frameCount];
        _next = new int[frameCount];
        _previous = new int[frameCount];
        Array.Fill(_freeLists, None);
        SeedFreeLists(frameCount);
    }

    /// <summary>The memory under management.</summary>
    public PhysRange Bank { get; }

    /// <inheritdoc/>
    public ulong TotalBytes => Bank.ByteCount;

    /// <inheritdoc/>
    public ulong FreeBytes
    {
        get
        {
            lock (_gate) return _freeFrames << FrameLog2;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        block = default;
        if (!BitOperations.IsPow2(byteCount) || byteCount < FrameBytes || byteCount > LargestBlockBytes) return VcmmError.Invalid;
        int order = BitOperations.Log2(byteCount) - FrameLog2;
        lock (_gate)
        {
            int frame;
            if (order == 0 && _atHandCount != 0)
            {
                frame = _atHand[--_atHandCount];
            }
            else if (!TryTakeBlock(order, out frame))
            {
                JoinAtHand(0);
                if (!TryTakeBlock(order, out frame)) return VcmmError.NoMemory;
            }

            _heads[frame] = (byte)(AllocatedHead | order);
            _freeFrames -= 1UL << order;
            block = AddressOf(frame);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFree(PhysAddr block)
    {
        if (!Bank.Contains(block) || !block.IsAligned(FrameBytes)) return VcmmError.Invalid;
        int frame = FrameOf(block);
        lock (_gate)
        {
            byte head = _heads[frame];
            if ((head & AllocatedHead) == 0) return VcmmError.Invalid;
            int order = head & OrderMask;
            if (order == 0)
            {
                if (_atHandCount == MostAtHand) JoinAtHand(MostAtHand / 2);
                _atHand[_atHandCount++] = frame;
                _heads[frame] = AtHand;
                _freeFrames++;
                return VcmmError.None;
            }

            _heads[frame] = Inside;
            if (order == AnyLength) FreeFrames(frame, _next[frame]);
            else FreeBlock(frame, order);
            return VcmmError.None;
        }
    }

    private PhysAddr AddressOf(int frame) => new((_firstFrame + (ulong)frame) << FrameLog2);

    private int FrameOf(PhysAddr address) => (int)((address.Value >> FrameLog2) - _firstFrame);

    /// <summary>Takes a block out of the free ones, splitting a larger one.</summary>
    private bool TryTakeBlock(int order, out int frame)
    {
        int found = order;
        while (found <= MaxOrder && _freeLists[found] == None) found++;
        frame = None;
        if (found > MaxOrder) return false;
        frame = _freeLists[found];
        Unlink(frame, found);
        while (found > order)
        {
            found--;
            Link(frame + (1 << found), found);
        }

        return true;
    }

    /// <summary>Joins single frames with their buddies until only so many are at hand.</summary>
    private void JoinAtHand(int left)
    {
        while (_atHandCount > left)
        {
            int frame = _atHand[--_atHandCount];
            _heads[frame] = Inside;
            _freeFrames--;
            FreeBlock(frame, 0);
        }
    }

    private void FreeBlock(int frame, int order)
    {
        _freeFrames += 1UL << order;
        while (order < MaxOrder && TryFindFreeBuddy(frame, order, out int buddy))
        {
            Unlink(buddy, order);
            frame = Math.Min(frame, buddy);
            order++;
        }

        Link(frame, order);
    }

    /// <summary>Covers the bank with the largest blocks that are aligned to their size, from the top down, so that low memory is handed out first.</summary>
    private void SeedFreeLists(int frameCount)
    {
        ulong end = _firstFrame + (ulong)frameCount;
        while (end > _firstFrame)
        {
            int alignment = BitOperations.TrailingZeroCount(end);
            int size = BitOperations.Log2(end - _firstFrame);
            int order = Math.Min(MaxOrder, Math.Min(alignment, size));
            end -= 1UL << order;
            Link((int)(end - _firstFrame), order);
        }

        _freeFrames = (ulong)frameCount;
    }

    /// <summary>Buddies pair by absolute address: a block's alignment is the memory's, not the bank's.</summary>
    private bool TryFindFreeBuddy(int frame, int order, out int buddy)
    {
        ulong absolute = (_firstFrame + (ulong)frame) ^ (1UL << order);
        buddy = None;
        if (absolute < _firstFrame || absolute - _firstFrame >= (ulong)_heads.Length) return false;
        buddy = (int)(absolute - _firstFrame);
        return _heads[buddy] == (FreeHead | order);
    }

    private void Link(int frame, int order)
    {
        int head = _freeLists[order];
        _next[frame] = head;
        _previous[frame] = None;
        if (head != None) _previous[head] = frame;
        _freeLists[order] = frame;
        _heads[frame] = (byte)(FreeHead | order);
    }

    private void Unlink(int frame, int order)
    {
        int next = _next[frame];
        int previous = _previous[frame];
        if (next != None) _previous[next] = previous;
        if (previous != None) _next[previous] = next;
        else _freeLists[order] = next;
        _heads[frame] = Inside;
    }
}

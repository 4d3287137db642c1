using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>A range allocator that keeps what is free in bitmaps of pages under a radix tree: the first that fits, from either end.</summary>
/// <remarks>
/// <para><b>Cost.</b> Every operation takes time in the bits of the address by which the space is longer than 16 MiB, a sixth of them levels:
/// for lengths that are a power of two and aligned to it in the worst case, for others averaged over the operations before. It does not grow
/// with the number of ranges.</para>
/// <para><b>Memory.</b> 640 bytes for each block of 16 MiB that is neither free nor taken by one range, and as much for each block of 1 GiB,
/// 64 GiB and so on that is not: with ranges side by side a few bytes a range, and never more than is in use at once takes. A page that is
/// taken in parts takes 640 bytes more, and so does its block of 256 KiB. Lengths and alignments other than a power of two and itself
/// take up to twice as much again for each alignment that was asked for.</para>
/// <para><b>Errors.</b> A range that was taken can be given back in parts.</para>
/// <para><b>Threads.</b> Any number at once, one after the other.</para>
/// </remarks>
public sealed class RangeAllocator : IRangeAllocator
{
    private static readonly IovaRange Anywhere = new(new(0), new(ulong.MaxValue));

    [LockRank(LockRank.Ranges)]
    private readonly ThinLock _gate = new();
    private readonly FreeTree _free;

    /// <summary>Takes <paramref name="space"/> under management, all of it free.</summary>
    public RangeAllocator(IovaRange space)
    {
        Space = space;
        _free = new(space.First.Value, space.Last.Value);
    }

    /// <summary>What ranges are taken from.</summary>
    public IovaRange Space { get; }

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, ulong alignment, out IovaRange range) =>
        TryAllocate(byteCount, alignment, Placement.BottomUp, Anywhere, out range);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
    {
        range = default;
        if (byteCount == 0 || !BitOperations.IsPow2(alignment)) return VcmmError.Invalid;
        var request = new GapRequest(byteCount, alignment, placement, within);
        _gate.Enter();
        try
        {
            if (!_free.TryFind(request, out FreeLeaf? leaf, out ulong first)) return VcmmError.NoSpace;
            ulong last = unchecked(first + (byteCount - 1));
            _free.Take(leaf, first, last);
            range = new(new(first), new(last));
            return VcmmError.None;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range)
    {
        range = default;
        if (byteCount == 0 || !BitOperations.IsPow2(alignment)) return VcmmError.Invalid;
        var request = new GapRequest(byteCount, alignment, Placement.BottomUp, within);
        _gate.Enter();
        try
        {
            if (!_free.TryFind(request, out _, out ulong first)) return VcmmError.NoSpace;
            range = new(new(first), new(unchecked(first + (byteCount - 1))));
            return VcmmError.None;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(IovaRange range)
    {
        if (!Space.Contains(range)) return VcmmError.Invalid;
        _gate.Enter();
        try
        {
            return _free.TryTake(range.First.Value, range.Last.Value) ? VcmmError.None : VcmmError.NoSpace;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFree(IovaRange range)
    {
        if (!Space.Contains(range)) return VcmmError.Invalid;
        _gate.Enter();
        try
        {
            return _free.TryGive(range.First.Value, range.Last.Value) ? VcmmError.None : VcmmError.Invalid;
        }
        finally
        {
            _gate.Exit();
        }
    }
}

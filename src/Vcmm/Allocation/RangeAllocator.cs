using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>A range allocator that keeps the free ranges in a tree: the first that fits, from either end.</summary>
/// <remarks>
/// <para><b>Cost.</b> Every operation takes time in the logarithm of the number of free ranges: for lengths that are a power
/// of two and aligned to it in the worst case, for others averaged over the operations before. Memory follows the largest
/// number of free ranges that there ever was: about 27 bytes each, at most 60.</para>
/// <para><b>Errors.</b> A range that was taken can be given back in parts.</para>
/// <para><b>Threads.</b> Any number at once, one after the other.</para>
/// </remarks>
public sealed class RangeAllocator : IRangeAllocator
{
    private static readonly IovaRange Anywhere = new(new(0), new(ulong.MaxValue));

    [LockRank(LockRank.Ranges)]
    private readonly ThinLock _gate = new();
    private readonly GapTree _free;

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
            if (!_free.TryFind(request, out GapPlace place)) return VcmmError.NoSpace;
            ulong last = unchecked(place.First + (byteCount - 1));
            _free.Carve(place.Leaf, place.Slot, place.First, last);
            range = new(new(place.First), new(last));
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
            if (!_free.TryFind(request, out GapPlace place)) return VcmmError.NoSpace;
            range = new(new(place.First), new(unchecked(place.First + (byteCount - 1))));
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
            GapLeaf leaf = _free.Find(range.First.Value, out int slot);
            if (slot < 0 || leaf.Lasts[slot] < range.Last.Value) return VcmmError.NoSpace;
            _free.Carve(leaf, slot, range.First.Value, range.Last.Value);
            return VcmmError.None;
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
            return _free.TryAdd(range.First.Value, range.Last.Value) ? VcmmError.None : VcmmError.Invalid;
        }
        finally
        {
            _gate.Exit();
        }
    }
}

using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>A first-fit range allocator: the free ranges in the order of their addresses, lowest first.</summary>
/// <remarks>
/// <para><b>Cost.</b> A search grows with the number of free ranges, not with that of ranges handed out.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public sealed class RangeAllocator : IRangeAllocator
{
    private readonly object _gate = new();
    private readonly List<IovaRange> _free;

    /// <summary>Takes <paramref name="space"/> under management, all of it free.</summary>
    public RangeAllocator(IovaRange space)
    {
        Space = space;
        _free = [space];
    }

    /// <summary>What ranges are taken from.</summary>
    public IovaRange Space { get; }

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, ulong alignment, out IovaRange range)
    {
        range = default;
        if (byteCount == 0 || !BitOperations.IsPow2(alignment)) return VcmmError.Invalid;
        lock (_gate)
        {
            for (int i = 0; i < _free.Count; i++)
            {
                if (!TryFit(_free[i], byteCount, alignment, out range)) continue;
                Carve(i, range);
                return VcmmError.None;
            }
        }

        return VcmmError.NoSpace;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(IovaRange range)
    {
        if (!Space.Contains(range)) return VcmmError.Invalid;
        lock (_gate)
        {
            int i = LastStartingAtOrBefore(range.First);
            if (i < 0 || !_free[i].Contains(range)) return VcmmError.NoSpace;
            Carve(i, range);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFree(IovaRange range)
    {
        if (!Space.Contains(range)) return VcmmError.Invalid;
        lock (_gate)
        {
            int before = LastStartingAtOrBefore(range.First);
            int after = before + 1;
            if (before >= 0 && _free[before].Last.Value >= range.First.Value) return VcmmError.Invalid;
            if (after < _free.Count && _free[after].First.Value <= range.Last.Value) return VcmmError.Invalid;

            // The neighbours' ends are strictly inside the 64-bit space on the side that is looked at, so neither sum wraps.
            bool joinsBefore = before >= 0 && _free[before].Last.Value + 1 == range.First.Value;
            bool joinsAfter = after < _free.Count && range.Last.Value + 1 == _free[after].First.Value;
            Iova first = joinsBefore ? _free[before].First : range.First;
            Iova last = joinsAfter ? _free[after].Last : range.Last;
            if (joinsAfter) _free.RemoveAt(after);
            if (joinsBefore) _free[before] = new(first, last);
            else _free.Insert(after, new(first, last));
            return VcmmError.None;
        }
    }

    /// <summary>The lowest aligned place in <paramref name="free"/>; written so that nothing wraps at either end of the space.</summary>
    private static bool TryFit(IovaRange free, ulong byteCount, ulong alignment, out IovaRange range)
    {
        range = default;
        ulong padding = unchecked(0UL - free.First.Value) & (alignment - 1);
        ulong span = free.Last.Value - free.First.Value;
        if (padding > span || byteCount - 1 > span - padding) return false;
        range = IovaRange.FromLength(free.First + padding, byteCount);
        return true;
    }

    private void Carve(int index, IovaRange taken)
    {
        IovaRange free = _free[index];
        bool leavesBefore = free.First.Value < taken.First.Value;
        bool leavesAfter = taken.Last.Value < free.Last.Value;
        if (leavesBefore) _free[index] = new(free.First, new(taken.First.Value - 1));
        if (!leavesAfter)
        {
            if (!leavesBefore) _free.RemoveAt(index);
            return;
        }

        IovaRange after = new(new(taken.Last.Value + 1), free.Last);
        if (leavesBefore) _free.Insert(index + 1, after);
        else _free[index] = after;
    }

    private int LastStartingAtOrBefore(Iova address)
    {
        int low = 0;
        int high = _free.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_free[middle].First.Value <= address.Value) low = middle + 1;
            else high = middle;
        }

        return low - 1;
    }
}

using Explorer.Scenarios;
using Platform;
using Vcmm;

namespace Explorer.Faults;

/// <summary>A region that finds a free range under its lock, lets go of it, and takes the range under the lock.</summary>
internal sealed class CheckThenActRanges(IovaRange space) : IRanges
{
    private readonly object _gate = new();
    private readonly List<IovaRange> _taken = [];

    public VcmmError TryTake(ulong byteCount, out IovaRange range)
    {
        if (!TryFind(byteCount, out range)) return VcmmError.NoSpace;
        lock (_gate) _taken.Add(range);
        return VcmmError.None;
    }

    public VcmmError TryGive(IovaRange range)
    {
        lock (_gate) return _taken.Remove(range) ? VcmmError.None : VcmmError.NotFound;
    }

    private bool TryFind(ulong byteCount, out IovaRange range)
    {
        lock (_gate)
        {
            for (Iova first = space.First; first.Value + byteCount - 1 <= space.Last.Value; first += byteCount)
            {
                range = IovaRange.FromLength(first, byteCount);
                IovaRange candidate = range;
                if (!_taken.Exists(taken => taken.Overlaps(candidate))) return true;
            }
        }

        range = default;
        return false;
    }
}

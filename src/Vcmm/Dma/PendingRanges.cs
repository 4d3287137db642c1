using Platform;

namespace Vcmm.Dma;

/// <summary>Ranges that were unmapped and that hardware may still translate: nothing else may be mapped there.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
internal sealed class PendingRanges
{
    [LockRank(LockRank.DmaPending)]
    private readonly object _gate = new();

    /// <summary>In the order of their addresses; no two overlap.</summary>
    private readonly List<IovaRange> _ranges = [];
    private int _count;

    /// <summary>Whether there is none. Takes no lock.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    public bool Overlaps(IovaRange range)
    {
        if (IsEmpty) return false;
        lock (_gate)
        {
            int after = FirstStartingAfter(range.Last);
            // Survives as `_ranges[after - 1].Last.Value > range.First.Value`: equivalent, ranges are whole pages, of which no last byte is a first
            return after > 0 && _ranges[after - 1].Last.Value >= range.First.Value;
        }
    }

    public void Add(IovaRange range)
    {
        lock (_gate)
        {
            // Survives as `range.First`: equivalent, it overlaps none
            _ranges.Insert(FirstStartingAfter(range.Last), range);
            Volatile.Write(ref _count, _ranges.Count);
        }
    }

    public void Remove(List<IovaRange> ranges)
    {
        lock (_gate)
        {
            foreach (IovaRange range in ranges) _ranges.RemoveAt(FirstStartingAfter(range.First) - 1);
            Volatile.Write(ref _count, _ranges.Count);
        }
    }

    private int FirstStartingAfter(Iova address)
    {
        int low = 0;
        int high = _ranges.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_ranges[middle].First.Value <= address.Value) low = middle + 1;
            else high = middle;
        }

        return low;
    }
}

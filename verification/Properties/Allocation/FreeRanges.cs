using Platform;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What an allocator must know of its space, as plainly as can be: a list of what is free, in numbers that do not wrap.</summary>
internal sealed class FreeRanges(IovaRange space)
{
    private readonly List<(UInt128 First, UInt128 Last)> _gaps = [(space.First.Value, space.Last.Value)];

    public bool IsFree(IovaRange range) => _gaps.Exists(gap => gap.First <= range.First.Value && gap.Last >= range.Last.Value);

    public bool IsTaken(IovaRange range) => !_gaps.Exists(gap => gap.First <= range.Last.Value && gap.Last >= range.First.Value);

    /// <summary>The place that is preferred, or null if there is none.</summary>
    public ulong? Find(ulong byteCount, ulong alignment, Placement placement, IovaRange within)
    {
        bool isUp = placement == Placement.BottomUp;
        foreach ((UInt128 first, UInt128 last) in isUp ? _gaps : Enumerable.Reverse(_gaps))
        {
            UInt128 low = UInt128.Max(first, within.First.Value);
            UInt128 high = UInt128.Min(last, within.Last.Value);
            if (high < low || high - low + 1 < byteCount) continue;
            UInt128 place = (isUp ? low + (alignment - 1) : high + 1 - byteCount) / alignment * alignment;
            if (place >= low && place + byteCount - 1 <= high) return (ulong)place;
        }

        return null;
    }

    public void Take(IovaRange range)
    {
        int which = _gaps.FindIndex(gap => gap.First <= range.First.Value && gap.Last >= range.Last.Value);
        (UInt128 first, UInt128 last) = _gaps[which];
        _gaps.RemoveAt(which);
        if (last > range.Last.Value) _gaps.Insert(which, ((UInt128)range.Last.Value + 1, last));
        if (first < range.First.Value) _gaps.Insert(which, (first, (UInt128)range.First.Value - 1));
    }

    public void Give(IovaRange range)
    {
        int which = _gaps.FindIndex(gap => gap.First > range.Last.Value);
        if (which < 0) which = _gaps.Count;
        _gaps.Insert(which, (range.First.Value, range.Last.Value));
        if (which + 1 < _gaps.Count && _gaps[which].Last + 1 == _gaps[which + 1].First) Join(which);
        if (which > 0 && _gaps[which - 1].Last + 1 == _gaps[which].First) Join(which - 1);
    }

    private void Join(int which)
    {
        _gaps[which] = (_gaps[which].First, _gaps[which + 1].Last);
        _gaps.RemoveAt(which + 1);
    }
}

using Platform;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>What an allocator must know of its space, as plainly as can be: a flag for each granule.</summary>
internal sealed class GranuleMap(ulong first, int count, ulong granuleBytes)
{
    private readonly bool[] _taken = new bool[count];

    public int FreeCount => _taken.Count(taken => !taken);

    /// <summary>Whether all of it lies in the space and none of it is taken.</summary>
    public bool IsFree(long granule, int granules) =>
        granule >= 0 && granule + granules <= count && !_taken.AsSpan((int)granule, granules).Contains(true);

    public bool IsTaken(int granule, int granules) => !_taken.AsSpan(granule, granules).Contains(false);

    /// <summary>The place that is preferred, or null if there is none.</summary>
    public ulong? Find(int granules, ulong alignment, Placement placement, ulong low = 0, ulong high = ulong.MaxValue)
    {
        for (int i = 0; i < count; i++)
        {
            int granule = placement == Placement.BottomUp ? i : count - 1 - i;
            if (!IsFree(granule, granules)) continue;
            ulong place = AddressOf(granule);
            if (place % alignment == 0 && place >= low && place + ((ulong)granules * granuleBytes - 1) <= high) return place;
        }

        return null;
    }

    public ulong AddressOf(int granule) => first + (ulong)granule * granuleBytes;

    public void Mark(ulong address, ulong byteCount, bool taken)
    {
        Assert.Equal(0UL, (address - first) % granuleBytes);
        Span<bool> flags = _taken.AsSpan((int)((address - first) / granuleBytes), (int)(byteCount / granuleBytes));
        Assert.DoesNotContain(taken, flags.ToArray());
        flags.Fill(taken);
    }
}

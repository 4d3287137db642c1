using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Allocation;

/// <summary>
/// What threads of one slot were handed, and what they have at hand: for each size a stack of places in <see cref="Known"/>. All of
/// it under its own lock, which it is.
/// </summary>
[LockRank(LockRank.RangeSlot)]
internal sealed class RangeSlot : ThinLock
{
    /// <summary>When so many of a size are at hand, half of them go back.</summary>
    public const int Depth = 64;

    private int[]? _places;
    private Counts _counts;

    // Two threads' slots in one cache line would contend for it.
#pragma warning disable CS0169, IDE0051 // Nobody reads it: it is there for its length.
    private CacheLine _padding;
#pragma warning restore CS0169, IDE0051

    private KnownRanges Known { get; } = new();

    public bool IsFull(int sizeClass) => _counts[sizeClass] == Depth;

    /// <summary>Hands out the last that came to hand of a size.</summary>
    public bool TryTake(int sizeClass, out Iova first)
    {
        int count = _counts[sizeClass];
        if (count == 0)
        {
            first = default;
            return false;
        }

        count = unchecked(count - 1);
        _counts[sizeClass] = count;
        first = Known.Take(_places![unchecked(sizeClass * Depth + count)]);
        return true;
    }

    /// <summary>Makes one that is out be at hand; there is room.</summary>
    /// <returns>False if this slot knows of none that is out.</returns>
    public bool TryGiveBack(ulong entry, int sizeClass)
    {
        if (!Known.TryGiveBack(entry, out int place)) return false;
        Push(sizeClass, place);
        return true;
    }

    /// <summary>Adds one that is out, and that no slot knows.</summary>
    public void Add(ulong entry)
    {
        if (Known.IsFull) Rebuild();
        Known.Add(entry);
    }

    /// <summary>Adds one that no slot knows, at hand.</summary>
    /// <returns>False if there is no room.</returns>
    public bool TryKeep(ulong entry, int sizeClass)
    {
        if (_counts[sizeClass] >= Depth - 1) return false;
        Add(entry);
        return TryGiveBack(entry, sizeClass);
    }

    /// <summary>Forgets one that is out.</summary>
    /// <returns>False if this slot knows of none that is out.</returns>
    public bool TryForget(ulong entry) => Known.TryForget(entry);

    /// <summary>Forgets the last that came to hand of a size.</summary>
    public bool TryDrop(int sizeClass, out IovaRange range)
    {
        range = default;
        if (_counts[sizeClass] == 0) return false;
        _counts[sizeClass]--;
        range = Known.Remove(_places![sizeClass * Depth + _counts[sizeClass]]);
        return true;
    }

    /// <summary>Makes room among those that are known: places move, also of those at hand.</summary>
    private void Rebuild()
    {
        Span<ulong> atHand = stackalloc ulong[KnownRanges.ClassCount * Depth];
        for (int sizeClass = 0; sizeClass < KnownRanges.ClassCount; sizeClass++)
        {
            for (int i = sizeClass * Depth; i < sizeClass * Depth + _counts[sizeClass]; i++) atHand[i] = Known[_places![i]];
        }

        Known.Rebuild(Known.LengthWanted);
        for (int sizeClass = 0; sizeClass < KnownRanges.ClassCount; sizeClass++)
        {
            for (int i = sizeClass * Depth; i < sizeClass * Depth + _counts[sizeClass]; i++) _places![i] = Known.PlaceOf(atHand[i]);
        }
    }

    private void Push(int sizeClass, int place)
    {
        _places ??= new int[KnownRanges.ClassCount * Depth];
        _places[unchecked(sizeClass * Depth + _counts[sizeClass])] = place;
        _counts[sizeClass] = unchecked(_counts[sizeClass] + 1);
    }

    [InlineArray(KnownRanges.ClassCount)]
    private struct Counts
    {
        private int _first;
    }
}

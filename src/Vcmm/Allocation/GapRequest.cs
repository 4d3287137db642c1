using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>What a search in a <see cref="GapTree"/> is for, and the arithmetic of what fits in a gap.</summary>
/// <remarks>Nothing wraps at either end of the 64-bit space, except where it says so.</remarks>
internal readonly struct GapRequest
{
    /// <summary>A request for <paramref name="byteCount"/> bytes, not 0, at a power of two, within bounds.</summary>
    public GapRequest(ulong byteCount, ulong alignment, Placement placement, IovaRange within)
    {
        ByteCount = byteCount;
        AlignmentLog2 = BitOperations.Log2(alignment);
        IsTopDown = placement == Placement.TopDown;
        First = within.First.Value;
        Last = within.Last.Value;
        IsBounded = First != 0 || Last != ulong.MaxValue;
        IsRankExact = byteCount == alignment;
        // A gap of n bytes holds an aligned block of the order log2(n) or of the one below.
        LeastRank = IsRankExact ? AlignmentLog2 + 1 : Math.Max(1, BitOperations.Log2(byteCount));
    }

    public ulong ByteCount { get; }

    public int AlignmentLog2 { get; }

    public bool IsTopDown { get; }

    public ulong First { get; }

    public ulong Last { get; }

    /// <summary>Whether the bounds exclude anything.</summary>
    public bool IsBounded { get; }

    /// <summary>Whether a gap, if not cut by the bounds, fits just if it has the rank.</summary>
    public bool IsRankExact { get; }

    /// <summary>Gaps of lower ranks do not fit.</summary>
    public int LeastRank { get; }

    /// <summary>One more than the order of the largest block, aligned to its size, that lies in a gap; the whole space has that of its half.</summary>
    public static byte RankOf(ulong first, ulong last)
    {
        unchecked
        {
            ulong span = last - first;
            if (span == ulong.MaxValue) return 64;
            int order = BitOperations.Log2(span + 1);
            ulong mask = (1UL << order) - 1;
            // Up to the first aligned address, and a block from there: less than 2^64, and no branch to guess.
            bool fits = (0 - first & mask) + mask <= span;
            // Twice as long as a block of the order below, a gap holds one wherever it starts.
            return (byte)(order + (fits ? 1 : 0));
        }
    }

    /// <summary>The bytes of a gap from its first aligned address on; 2^64-1 for the whole space.</summary>
    public static ulong FitBytes(ulong first, ulong last, int alignmentLog2)
    {
        ulong mask = (1UL << alignmentLog2) - 1;
        ulong aligned = unchecked(first + mask) & ~mask;
        if (aligned < first || aligned > last) return 0;
        ulong span = last - aligned;
        return span == ulong.MaxValue ? span : span + 1;
    }

    /// <summary>Of some entries, one bit each and not none: the one that the request prefers.</summary>
    public int FirstOf(ulong slots) => IsTopDown ? BitOperations.Log2(slots) : BitOperations.TrailingZeroCount(slots);

    /// <summary>The place that the request prefers in a gap that it fits in, if it has no bounds.</summary>
    public ulong PlaceIn(ulong gapFirst, ulong gapLast)
    {
        unchecked
        {
            ulong mask = (1UL << AlignmentLog2) - 1;
            return (IsTopDown ? gapLast - (ByteCount - 1) : gapFirst + mask) & ~mask;
        }
    }

    /// <summary>The place in a gap that the request prefers.</summary>
    public bool TryFit(ulong gapFirst, ulong gapLast, out ulong first)
    {
        ulong low = Math.Max(gapFirst, First);
        ulong high = Math.Min(gapLast, Last);
        ulong mask = (1UL << AlignmentLog2) - 1;
        ulong more = ByteCount - 1;
        first = 0;
        if (high < low || high - low < more) return false;
        if (IsTopDown)
        {
            first = (high - more) & ~mask;
            return first >= low;
        }

        first = unchecked(low + mask) & ~mask;
        return first >= low && first <= high && high - first >= more;
    }
}

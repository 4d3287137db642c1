using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>What a search in a <see cref="FreeTree"/> is for, and the arithmetic of what fits in a gap.</summary>
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
        IsBlock = byteCount == alignment;
        // A gap of n bytes holds an aligned block of the order log2(n) or of the one below.
        Order = IsBlock ? AlignmentLog2 : Math.Max(0, BitOperations.Log2(byteCount) - 1);
    }

    public ulong ByteCount { get; }

    public int AlignmentLog2 { get; }

    public bool IsTopDown { get; }

    public ulong First { get; }

    public ulong Last { get; }

    /// <summary>Whether the bounds exclude anything.</summary>
    public bool IsBounded { get; }

    /// <summary>Whether any free block of the order, aligned to its size, is what is asked for.</summary>
    public bool IsBlock { get; }

    /// <summary>Where something fits, there is a free block of this order.</summary>
    public int Order { get; }

    /// <summary>A gap of more bytes holds a block of the order.</summary>
    // Survives as `(false?0 :(2UL << Order) - 1)` and as `(2UL << Order) + 1`: performance only, a bound that is too high is still a bound
    public ulong UnseenBytes => Order == 0 ? 0 : (2UL << Order) - 1;

    /// <summary>The bytes of a gap from its first aligned address on; 2^64-1 for the whole space.</summary>
    public static ulong FitBytes(ulong first, ulong last, int alignmentLog2)
    {
        ulong mask = (1UL << alignmentLog2) - 1;
        ulong aligned = unchecked(first + mask) & ~mask;
        if (aligned < first || aligned > last) return 0;
        ulong span = last - aligned;
        return span == ulong.MaxValue ? span : span + 1;
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

using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vcmm.Allocation;

/// <summary>Runs of ones in 64 bits.</summary>
internal static class FreeBits
{
    private static ReadOnlySpan<ulong> Aligned =>
    [
        ulong.MaxValue, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, 0x0101_0101_0101_0101, 0x0001_0001_0001_0001, 0x0000_0001_0000_0001, 1,
    ];

    /// <summary>The first bits of the runs of 2^<paramref name="order"/> ones that are aligned to their length.</summary>
    /// <param name="bits">Where.</param>
    /// <param name="order">0 … 6.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong RunStarts(ulong bits, int order)
    {
        unchecked
        {
            // A shift by 0 changes nothing: no branch that depends on the order.
            int more = (1 << order) - 1;
            bits &= bits >> (more & 1);
            bits &= bits >> (more & 2);
            bits &= bits >> (more & 4);
            bits &= bits >> (more & 8);
            bits &= bits >> (more & 16);
            bits &= bits >> (more & 32);
            return bits & Aligned[order];
        }
    }

    /// <summary>One more than the order of the longest aligned run of ones; 0 if there are none.</summary>
    public static int RunRank(ulong bits)
    {
        int rank = 0;
        while (rank <= 6 && RunStarts(bits, rank) != 0) rank++;
        return rank;
    }

    /// <summary>Of some bits, not none: the highest or the lowest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Pick(ulong bits, bool highest) => highest ? BitOperations.Log2(bits) : BitOperations.TrailingZeroCount(bits);

    /// <summary>The bits from <paramref name="low"/> to <paramref name="high"/>, each 0 … 63.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Between(int low, int high) => ulong.MaxValue << low & ulong.MaxValue >> unchecked(63 - high);
}

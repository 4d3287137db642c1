using System.Numerics;
using Platform;

namespace Vcmm.Dma;

/// <summary>
/// Locks by address: whoever works on a range holds the stripes that it touches, so that calls on ranges that share a byte
/// come one after the other, and calls on distant ones at once.
/// </summary>
/// <remarks>Several stripes are taken in the order of their numbers, never the other way round: nobody waits in a ring.</remarks>
internal sealed class RangeStripes
{
    public const int Count = 64;

    /// <summary>The stripes of every range.</summary>
    public const ulong All = ulong.MaxValue;

    /// <summary>256 KiB: most buffers touch one or two stripes, and neighbours are apart.</summary>
    private const int StripeLog2 = 18;

    [LockRank(LockRank.DmaRanges)]
    private readonly ThinLock[] _gates = new ThinLock[Count];

    public RangeStripes()
    {
        for (int i = 0; i < Count; i++) _gates[i] = new();
    }

    /// <summary>Takes every stripe that the range touches.</summary>
    /// <returns>Which they are, a bit each; for <see cref="Exit"/>.</returns>
    public ulong Enter(IovaRange range)
    {
        ulong stripes = Of(range);
        Enter(stripes);
        return stripes;
    }

    public void Enter(ulong stripes)
    {
        for (ulong rest = stripes; rest != 0; rest &= rest - 1) _gates[BitOperations.TrailingZeroCount(rest)].Enter();
    }

    public void Exit(ulong stripes)
    {
        for (ulong rest = stripes; rest != 0; rest &= rest - 1) _gates[BitOperations.TrailingZeroCount(rest)].Exit();
    }

    private static ulong Of(IovaRange range)
    {
        ulong first = range.First.Value >> StripeLog2;
        ulong more = (range.Last.Value >> StripeLog2) - first;
        return more >= Count - 1 ? All : BitOperations.RotateLeft((2UL << (int)more) - 1, (int)(first % Count));
    }
}

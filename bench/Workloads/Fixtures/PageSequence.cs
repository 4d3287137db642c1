namespace Workloads.Fixtures;

/// <summary>Random numbers at the cost of a multiplication, the same for a seed every time.</summary>
/// <remarks><b>Source.</b> Knuth's MMIX generator: The Art of Computer Programming, volume 2, section 3.3.4, table 1.</remarks>
internal struct PageSequence(ulong seed)
{
    /// <summary>Where the workloads begin.</summary>
    public const ulong Seed = 1;

    private ulong _state = seed;

    /// <summary>A page's first address within 1 GiB.</summary>
    public ulong Next() => NextBits(18) << 12;

    /// <summary>A number below 2^<paramref name="count"/>, from the best bits.</summary>
    /// <param name="count">1 … 63.</param>
    public ulong NextBits(int count)
    {
        _state = unchecked(_state * 6364136223846793005 + 1442695040888963407);
        return _state >> (64 - count);
    }

    /// <summary>A number below <paramref name="limit"/>.</summary>
    public int NextBelow(int limit) => (int)(NextBits(32) * (ulong)limit >> 32);
}

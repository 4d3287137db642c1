namespace IommuSim.Cpu;

/// <summary>Some of the cores.</summary>
/// <param name="Bits">Bit n: core n.</param>
public readonly record struct CoreSet(ulong Bits)
{
    /// <summary>The most cores that there can be.</summary>
    public const int Most = 64;

    /// <summary>The first cores.</summary>
    /// <param name="count">How many: 0 … 64.</param>
    /// <returns>Cores 0 to <paramref name="count"/> - 1.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There cannot be so many.</exception>
    public static CoreSet First(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Most);
        return new(count == Most ? ulong.MaxValue : (1UL << count) - 1);
    }

    /// <summary>Whether a core is one of them.</summary>
    /// <param name="core">Its number, 0 … 63.</param>
    /// <returns>True if it is.</returns>
    public bool Contains(int core) => (Bits & 1UL << core) != 0;

    /// <summary>All of them but one.</summary>
    /// <param name="core">Its number, 0 … 63.</param>
    /// <returns>The same where it is none of them.</returns>
    public CoreSet Without(int core) => new(Bits & ~(1UL << core));

    /// <summary><c>cores:0x3</c>.</summary>
    public override string ToString() => $"cores:0x{Bits:x}";
}

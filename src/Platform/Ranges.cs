using System.Diagnostics.CodeAnalysis;

namespace Platform;

/// <summary>A range of physical memory with an inclusive end, so that the last byte of the address space can be said.</summary>
public readonly record struct PhysRange
{
    /// <summary>The range from <paramref name="first"/> to <paramref name="last"/>, both included.</summary>
    /// <exception cref="ArgumentException"><paramref name="last"/> lies before <paramref name="first"/>.</exception>
    public PhysRange(PhysAddr first, PhysAddr last)
    {
        if (last.Value < first.Value) ThrowReversed(first, last);
        First = first;
        Last = last;
    }

    /// <summary>The first byte.</summary>
    public PhysAddr First { get; }

    /// <summary>The last byte.</summary>
    public PhysAddr Last { get; }

    /// <summary>The length in bytes, 1 … 2^64-1.</summary>
    /// <exception cref="OverflowException">The range is the whole 64-bit space.</exception>
    public ulong ByteCount => checked(Last.Value - First.Value + 1);

    /// <summary>The range of <paramref name="byteCount"/> bytes from <paramref name="first"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="byteCount"/> is 0.</exception>
    /// <exception cref="OverflowException">The range does not end within 64 bits.</exception>
    public static PhysRange FromLength(PhysAddr first, ulong byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfZero(byteCount);
        return new(first, first + (byteCount - 1));
    }

    /// <summary>Whether <paramref name="address"/> lies in the range.</summary>
    public bool Contains(PhysAddr address) => address.Value >= First.Value && address.Value <= Last.Value;

    /// <summary>Whether all of <paramref name="other"/> lies in the range.</summary>
    public bool Contains(PhysRange other) => other.First.Value >= First.Value && other.Last.Value <= Last.Value;

    /// <summary>Whether the two ranges share a byte.</summary>
    public bool Overlaps(PhysRange other) => other.First.Value <= Last.Value && First.Value <= other.Last.Value;

    /// <summary><c>pa:0x1000-0x1fff</c>.</summary>
    public override string ToString() => $"{First}-0x{Last.Value:x}";

    [DoesNotReturn]
    private static void ThrowReversed(PhysAddr first, PhysAddr last) =>
        throw new ArgumentException($"a range cannot end at {last} and start at {first}", nameof(last));
}

/// <summary>A range of device addresses with an inclusive end, so that the last byte of the address space can be said.</summary>
public readonly record struct IovaRange
{
    /// <summary>The range from <paramref name="first"/> to <paramref name="last"/>, both included.</summary>
    /// <exception cref="ArgumentException"><paramref name="last"/> lies before <paramref name="first"/>.</exception>
    public IovaRange(Iova first, Iova last)
    {
        if (last.Value < first.Value) ThrowReversed(first, last);
        First = first;
        Last = last;
    }

    /// <summary>The first byte.</summary>
    public Iova First { get; }

    /// <summary>The last byte.</summary>
    public Iova Last { get; }

    /// <summary>The length in bytes, 1 … 2^64-1.</summary>
    /// <exception cref="OverflowException">The range is the whole 64-bit space.</exception>
    public ulong ByteCount => checked(Last.Value - First.Value + 1);

    /// <summary>The range of <paramref name="byteCount"/> bytes from <paramref name="first"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="byteCount"/> is 0.</exception>
    /// <exception cref="OverflowException">The range does not end within 64 bits.</exception>
    public static IovaRange FromLength(Iova first, ulong byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfZero(byteCount);
        return new(first, first + (byteCount - 1));
    }

    /// <summary>Whether <paramref name="address"/> lies in the range.</summary>
    public bool Contains(Iova address) => address.Value >= First.Value && address.Value <= Last.Value;

    /// <summary>Whether all of <paramref name="other"/> lies in the range.</summary>
    public bool Contains(IovaRange other) => other.First.Value >= First.Value && other.Last.Value <= Last.Value;

    /// <summary>Whether the two ranges share a byte.</summary>
    public bool Overlaps(IovaRange other) => other.First.Value <= Last.Value && First.Value <= other.Last.Value;

    /// <summary><c>iova:0x1000-0x1fff</c>.</summary>
    public override string ToString() => $"{First}-0x{Last.Value:x}";

    [DoesNotReturn]
    private static void ThrowReversed(Iova first, Iova last) =>
        throw new ArgumentException($"a range cannot end at {last} and start at {first}", nameof(last));
}

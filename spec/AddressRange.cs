namespace Vcmm.Spec;

/// <summary>A range of addresses with an inclusive end, so that the last address of the space can be said.</summary>
public readonly record struct AddressRange
{
    /// <summary>The range from <paramref name="first"/> to <paramref name="last"/>, both included.</summary>
    /// <exception cref="ArgumentException"><paramref name="last"/> lies before <paramref name="first"/>.</exception>
    public AddressRange(ulong first, ulong last)
    {
        if (last < first) throw new ArgumentException($"a range cannot end at 0x{last:x} and start at 0x{first:x}", nameof(last));
        First = first;
        Last = last;
    }

    /// <summary>The first address.</summary>
    public ulong First { get; }

    /// <summary>The last address.</summary>
    public ulong Last { get; }

    /// <summary>Every address there is.</summary>
    public static AddressRange All => new(0, ulong.MaxValue);

    /// <summary>Whether <paramref name="address"/> lies in the range.</summary>
    public bool Contains(ulong address) => First <= address && address <= Last;

    /// <summary>Whether all of <paramref name="other"/> lies in the range.</summary>
    public bool Contains(AddressRange other) => First <= other.First && other.Last <= Last;

    /// <summary>Whether the two ranges share an address.</summary>
    public bool Overlaps(AddressRange other) => First <= other.Last && other.First <= Last;

    /// <summary><c>0x1000-0x1fff</c>.</summary>
    public override string ToString() => $"0x{First:x}-0x{Last:x}";
}

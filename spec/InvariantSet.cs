namespace Vcmm.Spec;

/// <summary>Some of the invariants.</summary>
public readonly record struct InvariantSet
{
    private readonly uint _bits;

    private InvariantSet(uint bits) => _bits = bits;

    /// <summary>None.</summary>
    public static InvariantSet None => default;

    /// <summary>Whether there is none.</summary>
    public bool IsEmpty => _bits == 0;

    /// <summary>Those in it, by their numbers.</summary>
    public IEnumerable<Invariant> Members => Enum.GetValues<Invariant>().Where(Contains);

    /// <summary>These.</summary>
    public static InvariantSet Of(params IEnumerable<Invariant> invariants) => new(invariants.Aggregate(0U, static (bits, invariant) => bits | Bit(invariant)));

    /// <summary>Whether it is in it.</summary>
    public bool Contains(Invariant invariant) => (_bits & Bit(invariant)) != 0;

    /// <summary><c>I4, I9</c>.</summary>
    public override string ToString() => string.Join(", ", Members.Select(Invariants.Id));

    private static uint Bit(Invariant invariant) => 1U << (int)invariant;
}

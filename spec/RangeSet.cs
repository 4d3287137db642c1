using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>A set of addresses, as an immutable value: ranges in ascending order of which no two touch.</summary>
public sealed class RangeSet
{
    private RangeSet(ImmutableArray<AddressRange> ranges) => Ranges = ranges;

    /// <summary>No address.</summary>
    public static RangeSet Empty { get; } = new([]);

    /// <summary>The ranges.</summary>
    public ImmutableArray<AddressRange> Ranges { get; }

    /// <summary>The addresses of all these ranges, which may touch and overlap.</summary>
    public static RangeSet Of(IEnumerable<AddressRange> ranges) => ranges.Aggregate(Empty, static (set, range) => set.With(range));

    /// <summary>And the addresses of <paramref name="range"/>.</summary>
    public RangeSet With(AddressRange range)
    {
        var others = ImmutableArray.CreateBuilder<AddressRange>();
        foreach (AddressRange other in Ranges)
        {
            bool touches = (range.Last == ulong.MaxValue || other.First <= range.Last + 1) && (other.Last == ulong.MaxValue || range.First <= other.Last + 1);
            if (touches) range = new(Math.Min(range.First, other.First), Math.Max(range.Last, other.Last));
            else others.Add(other);
        }

        others.Add(range);
        others.Sort(static (one, other) => one.First.CompareTo(other.First));
        return new(others.ToImmutable());
    }

    /// <summary>Without the addresses of <paramref name="range"/>.</summary>
    public RangeSet Without(AddressRange range)
    {
        if (!Ranges.Any(range.Overlaps)) return this;
        var rest = ImmutableArray.CreateBuilder<AddressRange>();
        foreach (AddressRange other in Ranges)
        {
            if (!other.Overlaps(range))
            {
                rest.Add(other);
                continue;
            }

            if (other.First < range.First) rest.Add(new(other.First, range.First - 1));
            if (other.Last > range.Last) rest.Add(new(range.Last + 1, other.Last));
        }

        return new(rest.ToImmutable());
    }

    /// <summary>The addresses that are in <paramref name="range"/>, too.</summary>
    public RangeSet Within(AddressRange range) => new(
    [
        .. Ranges.Where(range.Overlaps).Select(other => new AddressRange(Math.Max(range.First, other.First), Math.Min(range.Last, other.Last))),
    ]);

    /// <summary>The lowest address that is not in <paramref name="other"/>; null: all are.</summary>
    public ulong? FirstNotIn(RangeSet other)
    {
        foreach (AddressRange range in Ranges)
        {
            AddressRange? covering = null;
            foreach (AddressRange candidate in other.Ranges)
            {
                if (candidate.Contains(range.First)) covering = candidate;
            }

            if (covering is not { } found) return range.First;
            if (found.Last < range.Last) return found.Last + 1;
        }

        return null;
    }

    /// <summary><c>0x1000-0x1fff, 0x4000-0x4fff</c>.</summary>
    public override string ToString() => string.Join(", ", Ranges);
}

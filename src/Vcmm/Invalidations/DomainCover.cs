using Platform;

namespace Vcmm.Invalidations;

/// <summary>
/// What is to be forgotten of one domain: up to <see cref="Limit"/> ranges that neither overlap nor touch, in the order of
/// their addresses; past that the domain as a whole, which is one command instead of many.
/// </summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
internal sealed class DomainCover
{
    /// <summary>As many ranges as are told one by one.</summary>
    public const int Limit = 8;

    /// <summary>Stands for the domain as a whole.</summary>
    public static readonly IovaRange Everything = new(new(0), new(ulong.MaxValue));

    private readonly IovaRange[] _ranges = new IovaRange[Limit + 1];

    public IIommu? Iommu { get; private set; }

    public DomainId Domain { get; private set; }

    public bool LeavesOnly { get; private set; }

    public int Count { get; private set; }

    public ReadOnlySpan<IovaRange> Ranges => _ranges.AsSpan(0, Count);

    public void Begin(IIommu? iommu, DomainId domain)
    {
        Iommu = iommu;
        Domain = domain;
        LeavesOnly = true;
        Count = 0;
    }

    public void Add(IovaRange range, bool leavesOnly)
    {
        LeavesOnly &= leavesOnly;
        // The ranges that the new one overlaps or touches are neighbours of each other: [first, end).
        int first = 0;
        while (first < Count && EndsBefore(_ranges[first], range)) first++;
        int end = first;
        ulong from = range.First.Value;
        ulong to = range.Last.Value;
        while (end < Count && !EndsBefore(range, _ranges[end]))
        {
            from = Math.Min(from, _ranges[end].First.Value);
            to = Math.Max(to, _ranges[end].Last.Value);
            end++;
        }

        _ranges.AsSpan(end, Count - end).CopyTo(_ranges.AsSpan(first + 1));
        _ranges[first] = new(new(from), new(to));
        Count += first + 1 - end;
        if (Count <= Limit) return;
        _ranges[0] = Everything;
        Count = 1;
    }

    /// <summary>Whether a byte at least lies between the end of the one and the start of the other.</summary>
    private static bool EndsBefore(IovaRange range, IovaRange other) =>
        // Survives as `range.Last.Value <= other.First.Value`: equivalent, where the two are the same nothing lies between
        range.Last.Value < other.First.Value && other.First.Value - range.Last.Value > 1;
}

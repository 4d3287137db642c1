using Vcmm.Spec;

namespace Harness.Running;

/// <summary>What was run and checked, and which interesting states were reached.</summary>
/// <remarks><b>Threads.</b> One.</remarks>
public sealed class RunCounts
{
    private readonly long[] _checks = new long[1 + (int)Invariant.BreakBeforeMake];
    private readonly SortedDictionary<Invariant, long> _mutedBreaches = [];
    private readonly SortedDictionary<string, long> _sometimes = new(StringComparer.Ordinal);

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>How often each of those was found broken.</summary>
    public IReadOnlyDictionary<Invariant, long> MutedBreaches => _mutedBreaches;

    /// <summary>Sequences that ended where the model could not follow past what is muted.</summary>
    public long Lost { get; set; }

    /// <summary>Operations of the library that ran.</summary>
    public long Operations { get; set; }

    /// <summary>Accesses that devices made.</summary>
    public long DeviceAccesses { get; set; }

    /// <summary>How often each invariant was checked, for those that were.</summary>
    public IReadOnlyDictionary<Invariant, long> Checks =>
        Enum.GetValues<Invariant>().Where(invariant => _checks[(int)invariant] != 0).ToDictionary(invariant => invariant, invariant => _checks[(int)invariant]);

    /// <summary>How often any invariant was checked.</summary>
    public long AllChecks => _checks.Sum();

    /// <summary>How often each interesting state was reached.</summary>
    public IReadOnlyDictionary<string, long> Sometimes => _sometimes;

    /// <summary>An invariant was checked.</summary>
    public void Check(Invariant invariant, long times = 1) => _checks[(int)invariant] += times;

    /// <summary>Whatever is found broken comes by here: what is muted is counted, and goes no further.</summary>
    /// <returns>What is to be told; null: nothing.</returns>
    public Violation? Tell(Violation? found)
    {
        if (found is null || !Muted.Contains(found.Invariant)) return found;
        _mutedBreaches[found.Invariant] = _mutedBreaches.GetValueOrDefault(found.Invariant) + 1;
        return null;
    }

    /// <summary>The first of what was found that is to be told; null: nothing.</summary>
    public Violation? FirstToTell(IEnumerable<Violation> found)
    {
        foreach (Violation violation in found)
        {
            if (Tell(violation) is { } told) return told;
        }

        return null;
    }

    /// <summary>An interesting state was reached.</summary>
    public void Reach(string state) => _sometimes[state] = _sometimes.GetValueOrDefault(state) + 1;
}

using Vcmm.Spec;

namespace Harness.Running;

/// <summary>What was run and checked, and which interesting states were reached.</summary>
/// <remarks><b>Threads.</b> One.</remarks>
public sealed class RunCounts
{
    private readonly long[] _checks = new long[1 + (int)Invariant.BreakBeforeMake];
    private readonly SortedDictionary<string, long> _sometimes = new(StringComparer.Ordinal);

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

    /// <summary>An interesting state was reached.</summary>
    public void Reach(string state) => _sometimes[state] = _sometimes.GetValueOrDefault(state) + 1;
}

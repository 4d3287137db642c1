using System.Globalization;

namespace Mutation.Report;

/// <summary>How many mutants came to what.</summary>
/// <param name="statuses">What became of each.</param>
public sealed class MutantCounts(IEnumerable<MutantStatus> statuses)
{
    private readonly Dictionary<MutantStatus, int> _counts = statuses.CountBy(static status => status).ToDictionary();

    /// <summary>How many came to this.</summary>
    public int this[MutantStatus status] => _counts.GetValueOrDefault(status);

    /// <summary>All.</summary>
    public int All => _counts.Values.Sum();

    /// <summary>Those that could be tested: the others say nothing about the tests.</summary>
    public int Valid => this[MutantStatus.Killed] + this[MutantStatus.Timeout] + Undetected;

    /// <summary>Those that could be tested and were not found.</summary>
    public int Undetected => this[MutantStatus.Survived] + this[MutantStatus.NoCoverage];

    /// <summary>The score as is usual: found of all valid ones, in percent, time-outs counted as found. Null if there are none.</summary>
    public double? Score => Share(this[MutantStatus.Killed] + this[MutantStatus.Timeout]);

    /// <summary>The same, time-outs counted as not found: a busy machine makes some.</summary>
    public double? ScoreWithoutTimeouts => Share(this[MutantStatus.Killed]);

    /// <summary>A share for people to read.</summary>
    public static string Percent(double? share) => share is { } known ? string.Create(CultureInfo.InvariantCulture, $"{known:0.0}%") : "–";

    private double? Share(int found) => Valid == 0 ? null : 100.0 * found / Valid;
}

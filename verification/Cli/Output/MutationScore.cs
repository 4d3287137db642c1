using System.Text.Json.Nodes;
using Mutation.Report;

namespace Verify.Output;

/// <summary>How many mutants were found.</summary>
/// <param name="Counts">What became of them.</param>
/// <param name="Low">Below which score, in percent, the tests are too weak.</param>
internal sealed record MutationScore(MutantCounts Counts, double Low)
{
    /// <summary>How many of those that are left out are excused where they are: they were tried, and no test found them.</summary>
    public int Excused { get; init; }

    /// <summary>Whether the tests are too weak.</summary>
    public bool IsLow => Counts.Score < Low;

    /// <summary>Counts what a report says.</summary>
    /// <exception cref="InvalidOperationException">It is no report of mutation testing.</exception>
    public static MutationScore Of(JsonNode report) => new(
        new MutantCounts(StrykerOutput.MutantsOf(report).Select(static mutant => Enum.Parse<MutantStatus>((string)mutant["status"]!))),
        (double)StrykerOutput.Of(StrykerOutput.Of(report, "thresholds"), "low"));

    /// <inheritdoc/>
    public override string ToString()
    {
        string score = Counts.Score is { } percent ? MutantCounts.Percent(percent) : "none, nothing was mutated";
        string apart = Counts[MutantStatus.Timeout] == 0 ? "" : $" ({MutantCounts.Percent(Counts.ScoreWithoutTimeouts)} without time-outs)";
        return $"mutation score {score}{apart}: {Counts[MutantStatus.Killed]} killed, {Counts[MutantStatus.Timeout]} timed out, {Counts[MutantStatus.Survived]} survived, {Counts[MutantStatus.NoCoverage]} not covered"
            + (Excused == 0 ? "" : $", {Excused} excused");
    }
}

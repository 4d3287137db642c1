using System.Text.Json.Nodes;
using Mutation.Report;

namespace Verify.Output;

/// <summary>How many mutants were found.</summary>
/// <param name="Counts">What became of them.</param>
internal sealed record MutationScore(MutantCounts Counts)
{
    /// <summary>Counts what a report says.</summary>
    /// <exception cref="InvalidOperationException">It is no report of mutation testing.</exception>
    public static MutationScore Of(JsonNode report) => new(new MutantCounts(StrykerOutput.MutantsOf(report).Select(static mutant => Enum.Parse<MutantStatus>((string)mutant["status"]!))));

    /// <inheritdoc/>
    public override string ToString()
    {
        string score = Counts.Score is { } percent ? MutantCounts.Percent(percent) : "none, nothing was mutated";
        string apart = Counts[MutantStatus.Timeout] == 0 ? "" : $" ({MutantCounts.Percent(Counts.ScoreWithoutTimeouts)} without time-outs)";
        return $"mutation score {score}{apart}: {Counts[MutantStatus.Killed]} killed, {Counts[MutantStatus.Timeout]} timed out, {Counts[MutantStatus.Survived]} survived, {Counts[MutantStatus.NoCoverage]} not covered";
    }
}

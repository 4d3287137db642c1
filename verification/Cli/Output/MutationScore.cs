using System.Text.Json;
using Mutation.Report;

namespace Verify.Output;

/// <summary>How many mutants were found, read from Stryker's JSON report.</summary>
/// <param name="Counts">What became of them.</param>
internal sealed record MutationScore(MutantCounts Counts)
{
    private const string ReportName = "mutation-report.json";

    /// <summary>The folders of reports under the root, oldest first.</summary>
    public static string[] ReportFolders(string root)
    {
        string output = Path.Combine(root, "StrykerOutput");
        if (!Directory.Exists(output)) return [];
        return [.. Directory.GetDirectories(output).Select(run => Path.Combine(run, "reports"))
            .Where(reports => File.Exists(Path.Combine(reports, ReportName))).Order(StringComparer.Ordinal)];
    }

    /// <summary>Reads the report in a folder.</summary>
    /// <exception cref="EnvironmentException">It is not such a report.</exception>
    public static MutationScore Read(string folder)
    {
        string path = Path.Combine(folder, ReportName);
        try
        {
            using JsonDocument report = JsonDocument.Parse(File.ReadAllText(path));
            return new(new MutantCounts(report.RootElement.GetProperty("files").EnumerateObject()
                .SelectMany(file => file.Value.GetProperty("mutants").EnumerateArray())
                .Select(mutant => mutant.GetProperty("status").GetString()).Select(status => Enum.Parse<MutantStatus>(status!))));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException or IOException)
        {
            throw new EnvironmentException($"{path} cannot be read: {e.Message}; expected Stryker's JSON report", e);
        }
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string score = Counts.Score is { } percent ? MutantCounts.Percent(percent) : "none, nothing was mutated";
        string apart = Counts[MutantStatus.Timeout] == 0 ? "" : $" ({MutantCounts.Percent(Counts.ScoreWithoutTimeouts)} without time-outs)";
        return $"mutation score {score}{apart}: {Counts[MutantStatus.Killed]} killed, {Counts[MutantStatus.Timeout]} timed out, {Counts[MutantStatus.Survived]} survived, {Counts[MutantStatus.NoCoverage]} not covered";
    }
}

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

    /// <summary>
    /// The mutants of the last run that were found because a test did not end, or because the process ended under it: to Stryker.NET that is a test that
    /// failed, and what runs the tests has written down which they are.
    /// </summary>
    public static HashSet<string> Unended(string root)
    {
        string tests = Path.Combine(root, "verification");
        if (!Directory.Exists(tests)) return [];
        return [.. Directory.GetDirectories(tests).Select(static project => Path.Combine(project, $"bin/Release/net{Environment.Version.ToString(2)}/unended"))
            .Where(Directory.Exists).SelectMany(Directory.GetFiles).SelectMany(File.ReadLines)];
    }

    /// <summary>Reads the report in a folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="unended">The numbers of mutants that count as timed out where the report says that a test found them.</param>
    /// <exception cref="EnvironmentException">It is not such a report.</exception>
    public static MutationScore Read(string folder, IReadOnlySet<string> unended)
    {
        string path = Path.Combine(folder, ReportName);
        try
        {
            using JsonDocument report = JsonDocument.Parse(File.ReadAllText(path));
            return new(new MutantCounts(report.RootElement.GetProperty("files").EnumerateObject()
                .SelectMany(file => file.Value.GetProperty("mutants").EnumerateArray())
                .Select(mutant => StatusOf(mutant, unended))));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException or IOException)
        {
            throw new EnvironmentException($"{path} cannot be read: {e.Message}; expected Stryker's JSON report", e);
        }
    }

    private static MutantStatus StatusOf(JsonElement mutant, IReadOnlySet<string> unended)
    {
        var status = Enum.Parse<MutantStatus>(mutant.GetProperty("status").GetString()!);
        return status == MutantStatus.Killed && mutant.TryGetProperty("id", out JsonElement id) && unended.Contains(id.GetString()!) ? MutantStatus.Timeout : status;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string score = Counts.Score is { } percent ? MutantCounts.Percent(percent) : "none, nothing was mutated";
        string apart = Counts[MutantStatus.Timeout] == 0 ? "" : $" ({MutantCounts.Percent(Counts.ScoreWithoutTimeouts)} without time-outs)";
        return $"mutation score {score}{apart}: {Counts[MutantStatus.Killed]} killed, {Counts[MutantStatus.Timeout]} timed out, {Counts[MutantStatus.Survived]} survived, {Counts[MutantStatus.NoCoverage]} not covered";
    }
}

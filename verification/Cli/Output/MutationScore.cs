using System.Globalization;
using System.Text.Json;

namespace Verify.Output;

/// <summary>How many mutants were found, read from Stryker's JSON report.</summary>
/// <param name="Killed">A test failed.</param>
/// <param name="TimedOut">The tests did not end in time; a busy machine can cause this too, so they are shown apart.</param>
/// <param name="Survived">Tests ran it and passed.</param>
/// <param name="NotCovered">No test ran it.</param>
internal sealed record MutationScore(int Killed, int TimedOut, int Survived, int NotCovered)
{
    private const string ReportName = "mutation-report.json";

    /// <summary>The score as Stryker counts it: found of all valid mutants, time-outs counted as found. Null if there were none.</summary>
    public double? Percent => Share(Killed + TimedOut);

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
            string?[] states = [.. report.RootElement.GetProperty("files").EnumerateObject()
                .SelectMany(file => file.Value.GetProperty("mutants").EnumerateArray())
                .Select(mutant => mutant.GetProperty("status").GetString())];
            return new MutationScore(Count("Killed"), Count("Timeout"), Count("Survived"), Count("NoCoverage"));

            int Count(string state) => states.Count(each => each == state);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or IOException)
        {
            throw new EnvironmentException($"{path} cannot be read: {e.Message}; expected Stryker's JSON report", e);
        }
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string score = Percent is { } percent ? string.Create(CultureInfo.InvariantCulture, $"{percent:0.0}%") : "none, nothing was mutated";
        string apart = TimedOut == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" ({Share(Killed):0.0}% without time-outs)");
        return $"mutation score {score}{apart}: {Killed} killed, {TimedOut} timed out, {Survived} survived, {NotCovered} not covered";
    }

    private double? Share(int found)
    {
        int all = Killed + TimedOut + Survived + NotCovered;
        return all == 0 ? null : 100.0 * found / all;
    }
}

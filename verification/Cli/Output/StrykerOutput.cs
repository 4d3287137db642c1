using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis.Text;
using Mutation.Excuses;
using Mutation.Report;
using Mutation.Schema;

namespace Verify.Output;

/// <summary>What Stryker.NET has left of its runs.</summary>
internal static class StrykerOutput
{
    private const string Report = "mutation-report.json", Page = "mutation-report.html", Summary = "mutation-report.md";

    /// <summary>The folders of reports under the root, oldest first.</summary>
    public static string[] ReportFolders(string root)
    {
        string output = Path.Combine(root, "StrykerOutput");
        if (!Directory.Exists(output)) return [];
        return [.. Directory.GetDirectories(output).Select(run => Path.Combine(run, "reports"))
            .Where(reports => File.Exists(Path.Combine(reports, Report))).Order(StringComparer.Ordinal)];
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

    /// <summary>
    /// Has the reports in a folder tell the mutants apart that only count as found since a test did not end, those that are the program itself and those that
    /// are excused where they are, and counts.
    /// </summary>
    /// <param name="title">What the page and the summary are called then.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="unended">The numbers of the mutants under which a test did not end.</param>
    /// <param name="root">The root of the repository.</param>
    /// <param name="sources">What was mutated; asked for only if a mutant may be the program itself.</param>
    /// <returns>The score, and what is wrong with excuses.</returns>
    /// <exception cref="EnvironmentException">There is no such report, or it cannot be written.</exception>
    public static (MutationScore Score, IReadOnlyList<string> Mistakes) Settle(string title, string folder, IReadOnlySet<string> unended, string root, Func<LibrarySources> sources)
    {
        string path = Path.Combine(folder, Report);
        try
        {
            JsonNode report = JsonNode.Parse(File.ReadAllText(path))!;
            JsonNode[] apart = [.. MutantsOf(report).Where(mutant => (string)mutant["status"]! == nameof(MutantStatus.Killed) && (string?)mutant["id"] is { } id && unended.Contains(id))];
            foreach (JsonNode mutant in apart) mutant["status"] = nameof(MutantStatus.Timeout);
            JsonNode[] same = Equivalents(report, root, sources);
            foreach (JsonNode mutant in same) (mutant["status"], mutant["statusReason"]) = (nameof(MutantStatus.Ignored), UnsignedShifts.Reason);
            List<string> mistakes = [];
            int excused = 0;
            foreach ((string file, JsonNode? mutated) in report["files"]!.AsObject())
                excused += Excused(Path.GetRelativePath(root, file), (string?)mutated!["source"] ?? "", [.. mutated["mutants"]!.AsArray().Select(static mutant => mutant!)], mistakes);
            if (apart.Length + same.Length + excused != 0) Write(title, folder, report.ToJsonString());
            return (MutationScore.Of(report) with { Excused = excused }, mistakes);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException or IOException or UnauthorizedAccessException or Harness.BadInputException)
        {
            throw new EnvironmentException($"{path} cannot be read: {e.Message}; expected Stryker's JSON report", e);
        }
    }

    /// <summary>The mutants in a report.</summary>
    /// <exception cref="InvalidOperationException">It is no report of mutation testing.</exception>
    public static IEnumerable<JsonNode> MutantsOf(JsonNode report) =>
        Of(report, "files").AsObject().SelectMany(static file => Of(file.Value, "mutants").AsArray()).Select(static mutant => mutant ?? throw new InvalidOperationException("a mutant is null"));

    /// <summary>What a report says in a field that it must have.</summary>
    /// <exception cref="InvalidOperationException">It has none.</exception>
    public static JsonNode Of(JsonNode? node, string field) => node?[field] ?? throw new InvalidOperationException($"{field} is missing");

    // Stryker.NET makes them of every >>, and has no option that leaves out these and keeps the other mutants of operators on bits.
    private static JsonNode[] Equivalents(JsonNode report, string root, Func<LibrarySources> sources)
    {
        (string File, JsonNode Mutant)[] shifts = [.. report["files"]!.AsObject()
            .SelectMany(file => file.Value!["mutants"]!.AsArray().Select(mutant => (Path.GetRelativePath(root, file.Key).Replace('\\', '/'), mutant!)))
            .Where(static found => (string)found.Item2["status"]! is nameof(MutantStatus.Survived) or nameof(MutantStatus.NoCoverage) && ((string?)found.Item2["replacement"])?.Contains(">>>", StringComparison.Ordinal) == true)];
        if (shifts.Length == 0) return [];
        var same = new UnsignedShifts(sources());
        return [.. shifts.Where(shift => same.Has(shift.File, new(PositionOf(shift.Mutant["location"]!["start"]!), PositionOf(shift.Mutant["location"]!["end"]!)), (string)shift.Mutant["replacement"]!)).Select(static shift => shift.Mutant)];

        // Lines and columns begin at one there.
        static LinePosition PositionOf(JsonNode position) => new((int)position["line"]! - 1, (int)position["column"]! - 1);
    }

    // How many are excused: what no test found and a comment above it says that none can.
    private static int Excused(string file, string source, JsonNode[] mutants, List<string> mistakes)
    {
        // A file, or most of it, may have been left out.
        if (!mutants.Any(static mutant => IsFound(mutant) || IsLeft(mutant))) return 0;
        (IReadOnlyList<Excuse> excuses, IReadOnlyList<string> malformed) = Excuse.In(source);
        mistakes.AddRange(malformed.Select(told => $"{file}, {told}"));
        int excused = 0;
        foreach ((Excuse excuse, string by) in excuses.SelectMany(static excuse => excuse.Replacements.Select(by => (excuse, by))))
        {
            JsonNode[] meant = [.. mutants.Where(mutant => (int)mutant["location"]!["start"]!["line"]! == excuse.Line && Excuse.Covers(by, (string?)mutant["replacement"] ?? ""))];
            if (meant.Length == 0) mistakes.Add($"{file}, line {excuse.CommentLine}: no mutant of line {excuse.Line} is `{by}`");
            foreach (JsonNode mutant in meant)
            {
                string replacement = (string?)mutant["replacement"] ?? "";
                if (IsFound(mutant)) mistakes.Add($"{file}, line {excuse.CommentLine}: a test finds `{replacement}`");
                else if (!IsLeft(mutant)) continue;
                else if (Excuse.IsRemoval(replacement)) mistakes.Add($"{file}, line {excuse.CommentLine}: what is removed is never excused");
                else
                {
                    (mutant["status"], mutant["statusReason"]) = (nameof(MutantStatus.Ignored), excuse.Reason);
                    excused++;
                }
            }
        }

        return excused;

        static bool IsFound(JsonNode mutant) => (string)mutant["status"]! is nameof(MutantStatus.Killed) or nameof(MutantStatus.Timeout);

        static bool IsLeft(JsonNode mutant) => (string)mutant["status"]! is nameof(MutantStatus.Survived) or nameof(MutantStatus.NoCoverage);
    }

    private static void Write(string title, string folder, string json)
    {
        WholeFile.Write(Path.Combine(folder, Report), json);
        string page = Path.Combine(folder, Page), summary = Path.Combine(folder, Summary);
        if (!File.Exists(page) && !File.Exists(summary)) return;
        MutationReport report = MutationReport.Parse(json);
        if (File.Exists(page)) WholeFile.Write(page, ReportPage.Make(title, report));
        if (File.Exists(summary)) WholeFile.Write(summary, MarkdownReport.Make(title, report));
    }
}

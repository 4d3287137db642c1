using System.Globalization;
using Vcmm.Spec;

namespace Mutation.Report;

/// <summary>A table of words and numbers, for whatever shows tables.</summary>
/// <param name="Title">What it tells of.</param>
/// <param name="Columns">Their heads.</param>
/// <param name="WordColumns">How many of the first columns are words; the others are numbers.</param>
/// <param name="Rows">The cells.</param>
public sealed record ReportGrid(string Title, IReadOnlyList<string> Columns, int WordColumns, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    private const string Unknown = "–";

    private static readonly (MutantStatus Status, string Word)[] Words =
    [
        (MutantStatus.Killed, "killed"), (MutantStatus.Timeout, "timed out"), (MutantStatus.Survived, "survived"), (MutantStatus.NoCoverage, "no coverage"),
        (MutantStatus.CompileError, "not compiled"), (MutantStatus.Ignored, "ignored"), (MutantStatus.RuntimeError, "could not be tested"), (MutantStatus.Pending, "not tested yet"),
    ];

    /// <summary>What a status is called.</summary>
    public static string WordOf(MutantStatus status) => Words.First(word => word.Status == status).Word;

    /// <summary>What became of the mutants of each maker in each project.</summary>
    public static ReportGrid Scores(MutationReport report)
    {
        var groups = All(report).GroupBy(mutant => (Maker: report.MakerOf(mutant.Mutant), Project: KillMatrix.ProjectOf(mutant.File)), static mutant => mutant.Mutant.Status)
            .OrderBy(static group => group.Key.Maker, StringComparer.Ordinal).ThenBy(static group => group.Key.Project, StringComparer.Ordinal).ToArray();
        var all = new MutantCounts(All(report).Select(static mutant => mutant.Mutant.Status));
        // The last two are rare.
        (MutantStatus Status, string Word)[] shown = [.. Words.Where(word => all[word.Status] > 0 || word.Status is not (MutantStatus.RuntimeError or MutantStatus.Pending))];
        IReadOnlyList<string>[] rows = [.. groups.Select(group => RowOf(group.Key.Maker, group.Key.Project, new MutantCounts(group)))];
        if (groups.Length > 1) rows = [.. rows, RowOf("all", "", all)];
        return new("mutants", ["made by", "project", "mutants", .. shown.Select(static word => word.Word), "score", "without time-outs"], 2, rows);

        IReadOnlyList<string> RowOf(string maker, string project, MutantCounts counts) =>
            [maker, project, Count(counts.All), .. shown.Select(word => Count(counts[word.Status])), MutantCounts.Percent(counts.Score), MutantCounts.Percent(counts.ScoreWithoutTimeouts)];
    }

    /// <summary>What each engine finds, by a check of which invariant, and what that takes.</summary>
    public static ReportGrid Engines(KillMatrix matrix)
    {
        var rows = new List<IReadOnlyList<string>>();
        foreach (string engine in matrix.Engines)
        {
            TimeSpan? time = matrix.TimeOf(engine);
            string perMinute = time > TimeSpan.Zero ? (matrix.FoundBy(engine) / time.Value.TotalMinutes).ToString("0.0", CultureInfo.InvariantCulture) : Unknown;
            rows.Add([engine, Count(matrix.RunOn(engine)), .. Found(engine), Only(matrix.OnlyEngine.GetValueOrDefault(engine)), time is { } known ? Seconds(known) : Unknown, perMinute]);
        }

        if (matrix.Engines.Count > 1) rows.Add(["any", "", .. Found(null), "", "", ""]);
        rows.Add(["only this invariant", "", "", .. matrix.Columns.Select(column => Only(matrix.OnlyColumn.GetValueOrDefault(column))), .. matrix.HasBroken ? [""] : (string[])[], "", "", ""]);
        return new("who finds what", ["engine", "run on", "found", .. matrix.Columns, .. matrix.HasBroken ? ["broke"] : (string[])[], "only this engine", "seconds", "found a minute"], 1, rows);

        IEnumerable<string> Found(string? engine) =>
            [Count(matrix.FoundBy(engine)), .. matrix.Columns.Select(column => Count(matrix.FoundBy(engine, column))), .. matrix.HasBroken ? [Count(matrix.BrokenOf(engine))] : (string[])[]];

        string Only(int count) => matrix.CompleteCount == 0 ? Unknown : Count(count);
    }

    /// <summary>What each engine finds of each kind of mistake.</summary>
    public static ReportGrid Operators(MutationReport report, KillMatrix matrix) => new(
        "what kind of mistake", ["made by", "mistake", "mutants", .. matrix.Engines, "survived", "score"], 2,
        [
            .. All(report).GroupBy(mutant => (Maker: report.MakerOf(mutant.Mutant), Kind: mutant.Mutant.MutatorName), static mutant => mutant.Mutant.Status)
                .OrderBy(static group => group.Key.Maker, StringComparer.Ordinal).ThenBy(static group => group.Key.Kind, StringComparer.Ordinal).Select(group =>
                {
                    var counts = new MutantCounts(group);
                    string[] found = [.. matrix.Engines.Select(engine => Count(matrix.FoundBy(engine, null, group.Key.Maker, group.Key.Kind)))];
                    return (IReadOnlyList<string>)[group.Key.Maker, group.Key.Kind, Count(counts.All), .. found, Count(counts.Undetected), MutantCounts.Percent(counts.Score)];
                }),
        ]);

    /// <summary>What is to be known when the matrix is read.</summary>
    public static IReadOnlyList<string> RemarksOn(KillMatrix matrix)
    {
        string only = matrix.CompleteCount switch
        {
            0 => "What only one engine or one invariant finds is not known: on no mutant was every engine run.",
            1 => "\"Only\" is counted over the 1 mutant on which every engine was run.",
            var count => $"\"Only\" is counted over the {Count(count)} mutants on which every engine was run.",
        };
        string unnamed = matrix.Unnamed.Count == 0 ? "By a check of each invariant a mutant was found." : $"By no check of these was a mutant found: {string.Join(", ", matrix.Unnamed.Select(Invariants.Label))}.";
        return [only, unnamed];
    }

    /// <summary>All mutants, with their files.</summary>
    public static IEnumerable<(string File, MutantResult Mutant)> All(MutationReport report) => report.Files.SelectMany(static file => file.Value.Mutants.Select(mutant => (file.Key, mutant)));

    private static string Count(int count) => count.ToString("N0", CultureInfo.InvariantCulture);

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("N0", CultureInfo.InvariantCulture);
}

using Mutation.Hunting;
using Vcmm.Spec;

namespace Mutation.Report;

/// <summary>Which engine finds how many mutants, and by a check of which invariant: mutants, engines, invariants.</summary>
public sealed class KillMatrix
{
    /// <summary>Stands among the invariants for a test, which names none.</summary>
    public const string Test = "test";

    // Folders with a project in each of their folders.
    private static readonly string[] Rooms = ["src", "verification", "bench", "examples"];

    private readonly Row[] _rows;

    /// <summary>Counts the mutants of a report.</summary>
    public KillMatrix(MutationReport report)
    {
        var engineOfTest = (report.TestFiles ?? []).SelectMany(static file => file.Value.Tests.Select(test => (test.Id, Engine: ProjectOf(file.Key)))).DistinctBy(static test => test.Id)
            .ToDictionary(static test => test.Id, static test => test.Engine);
        _rows =
        [
            .. from file in report.Files
               from mutant in file.Value.Mutants
               where mutant.EngineRuns is { Count: > 0 } || mutant.Status is MutantStatus.Killed or MutantStatus.Survived or MutantStatus.Timeout
               let maker = report.MakerOf(mutant)
               select new Row(maker, mutant.MutatorName, mutant.EngineRuns is not null, [.. RunsOf(mutant, maker, engineOfTest)]),
        ];
        Engines = [.. _rows.SelectMany(static row => row.Runs).Select(static run => run.Engine).Distinct()];
        Invariant[] named = [.. _rows.SelectMany(static row => row.Runs).Select(static run => run.Invariant).OfType<Invariant>().Distinct().Order()];
        Unnamed = [.. Enum.GetValues<Invariant>().Except(named)];
        bool hasTests = _rows.Any(static row => row.Runs.Any(static run => run.End == HuntEnd.Found && run.Column == Test));
        Columns = [.. named.Select(Invariants.Id), .. hasTests ? [Test] : (string[])[]];
        HasBroken = _rows.Any(static row => row.Runs.Any(static run => run.End == HuntEnd.Broke));
        var engines = _rows.GroupBy(static row => row.Maker).ToDictionary(static group => group.Key, static group => group.SelectMany(static row => row.Runs).Select(static run => run.Engine).ToHashSet());
        Row[] complete = [.. _rows.Where(row => row.IsWhole && engines[row.Maker].IsSubsetOf(row.Runs.Select(static run => run.Engine)))];
        CompleteCount = complete.Length;
        OnlyEngine = complete.Select(OnlyEngineOf).OfType<string>().CountBy(static engine => engine).ToDictionary();
        OnlyColumn = complete.Select(OnlyColumnOf).OfType<string>().CountBy(static column => column).ToDictionary();
    }

    /// <summary>The engines, in the order in which they were run.</summary>
    public IReadOnlyList<string> Engines { get; }

    /// <summary>The invariants by a check of which a mutant was found, by their ids, and <see cref="Test"/>.</summary>
    public IReadOnlyList<string> Columns { get; }

    /// <summary>The invariants by no check of which a mutant was found.</summary>
    public IReadOnlyList<Invariant> Unnamed { get; }

    /// <summary>Whether an engine broke of a mutant: it did not end, or ended the process.</summary>
    public bool HasBroken { get; }

    /// <summary>On how many mutants all engines were run that were run on any of the same maker, until each ended of itself. What only one finds is counted over these.</summary>
    public int CompleteCount { get; }

    /// <summary>How many of these an engine alone found, or broke of.</summary>
    public IReadOnlyDictionary<string, int> OnlyEngine { get; }

    /// <summary>How many of these were found by checks of one invariant alone, or by tests alone.</summary>
    public IReadOnlyDictionary<string, int> OnlyColumn { get; }

    /// <summary>On how many mutants an engine was run.</summary>
    public int RunOn(string engine) => _rows.Count(row => row.Runs.Any(run => run.Engine == engine));

    /// <summary>How many an engine found.</summary>
    /// <param name="engine">The engine; null: any.</param>
    /// <param name="column">By a check of this invariant, or by a test; null: by any.</param>
    /// <param name="maker">Of those who made the mutants; null: any.</param>
    /// <param name="kind">Of this kind; null: any.</param>
    public int FoundBy(string? engine, string? column = null, string? maker = null, string? kind = null) => _rows.Count(row =>
        (maker is null || row.Maker == maker) && (kind is null || row.Kind == kind)
        && row.Runs.Any(run => run.End == HuntEnd.Found && (engine is null || run.Engine == engine) && (column is null || run.Column == column)));

    /// <summary>Of how many an engine broke; null: any.</summary>
    public int BrokenOf(string? engine) => _rows.Count(row => row.Runs.Any(run => run.End == HuntEnd.Broke && (engine is null || run.Engine == engine)));

    /// <summary>How long an engine took for all its mutants; null: not told.</summary>
    public TimeSpan? TimeOf(string engine)
    {
        double[] times = [.. _rows.SelectMany(static row => row.Runs).Where(run => run.Engine == engine).Select(static run => run.Milliseconds).OfType<double>()];
        return times.Length == 0 ? null : TimeSpan.FromMilliseconds(times.Sum());
    }

    /// <summary>The project that a file lies in. It is the engine that a file of tests belongs to; what has no folder is called as it is.</summary>
    public static string ProjectOf(string file) => file.Split('/') switch
    {
        [var room, var project, _, ..] when Rooms.Contains(room) => $"{room}/{project}",
        [var project, _, ..] => project,
        _ => file,
    };

    private static string? OnlyEngineOf(Row row)
    {
        string[] finders = [.. row.Runs.Where(static run => run.End != HuntEnd.NotFound).Select(static run => run.Engine).Distinct()];
        return finders.Length == 1 && row.Runs.Any(static run => run.End == HuntEnd.Found) ? finders[0] : null;
    }

    private static string? OnlyColumnOf(Row row)
    {
        string[] columns = [.. row.Runs.Where(static run => run.End == HuntEnd.Found).Select(static run => run.Column).Distinct()];
        return columns.Length == 1 && row.Runs.All(static run => run.End != HuntEnd.Broke) ? columns[0] : null;
    }

    private static IEnumerable<Run> RunsOf(MutantResult mutant, string maker, Dictionary<string, string> engineOfTest)
    {
        if (mutant.EngineRuns is { } runs) return runs.Select(static run => new Run(run.Engine, run.End, InvariantOf(run.Invariant), run.Milliseconds));
        // Who does not tell of engines tells of tests: of the first that failed, or of all.
        HashSet<string> killers = [.. (mutant.KilledBy ?? []).Select(EngineOf)];
        string[] ran = [.. killers.Union((mutant.CoveredBy ?? []).Select(EngineOf))];
        if (ran.Length == 0) ran = [maker];
        bool isFound = mutant.Status == MutantStatus.Killed;
        return ran.Select(engine => new Run(
            engine, isFound && (killers.Contains(engine) || ran.Length == 1) ? HuntEnd.Found : mutant.Status == MutantStatus.Timeout && ran.Length == 1 ? HuntEnd.Broke : HuntEnd.NotFound,
            null, ran.Length == 1 ? mutant.Duration : null));

        string EngineOf(string test) => engineOfTest.GetValueOrDefault(test, maker);
    }

    private static Invariant? InvariantOf(string? id) => Enum.GetValues<Invariant>().Cast<Invariant?>().FirstOrDefault(invariant => invariant!.Value.Id() == id);

    /// <summary>A mutant.</summary>
    /// <param name="Maker">Who made it.</param>
    /// <param name="Kind">What kind of mistake.</param>
    /// <param name="IsWhole">Whether it is told of each engine what it came to: who tells of tests alone may have ended at the first that failed.</param>
    /// <param name="Runs">What each came to.</param>
    private sealed record Row(string Maker, string Kind, bool IsWhole, Run[] Runs);

    private sealed record Run(string Engine, HuntEnd End, Invariant? Invariant, double? Milliseconds)
    {
        public string Column => Invariant?.Id() ?? Test;
    }
}

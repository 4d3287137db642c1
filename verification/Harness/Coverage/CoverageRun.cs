using CsCheck;
using Harness.Generating;
using Harness.ModelChecking;
using Harness.Running;
using Harness.Stages;

namespace Harness.Coverage;

/// <summary>What of the situations that can occur in a small world the library has been in, by how it was led there.</summary>
public sealed record CoverageReport
{
    /// <summary>Situations that the model accepts in the small world, as far as it was searched.</summary>
    public required IReadOnlySet<Situation> Possible { get; init; }

    /// <summary>Why that search did not come to the end; null: it did.</summary>
    public required string? CutOff { get; init; }

    /// <summary>The situations of each kind of run, and what ran, in the order to show.</summary>
    public required IReadOnlyList<CoveredBy> By { get; init; }

    /// <summary>What failed; null: nothing.</summary>
    public required StageFailure? Failure { get; init; }

    /// <summary>Why no run has been in a situation, as far as directed runs can say.</summary>
    public required Func<Situation, MissingBecause> Why { get; init; }

    /// <summary>Those that no run has been in.</summary>
    public IEnumerable<Situation> Missing => Possible.Where(situation => !By.Any(by => by.Situations.Contains(situation)));

}

/// <summary>Why no run has been in a situation.</summary>
public enum MissingBecause
{
    /// <summary>The operation has not met that.</summary>
    NotMet,

    /// <summary>The operation has met it, and came to something else that the model accepts, too: the library is free there, and has chosen.</summary>
    Chosen,

    /// <summary>The operation has met it, and asked nothing there of the memory, or the hardware, that would have to fail.</summary>
    CannotFail,
}

/// <summary>The situations that runs of a kind were in.</summary>
/// <param name="Kind">The kind, in a word.</param>
/// <param name="Ran">How much ran: <c>1,234 sequences</c>.</param>
/// <param name="Situations">The situations; such as the small world does not have are among them.</param>
public sealed record CoveredBy(string Kind, string Ran, IReadOnlySet<Situation> Situations);

/// <summary>
/// Compares four ways of leading the library into situations: all short sequences of a small world, the shortest sequences that the model knows into each of its
/// situations, generated sequences, and generated histories of threads. What they are held against is what the model accepts in the small world.
/// </summary>
public sealed class CoverageRun
{
    private const int Parts = 5;

    private readonly Scope _scope;
    private readonly StageContext _context;
    private readonly SubjectParts _parts;
    private int _part;

    private CoverageRun(Scope scope, StageContext context, SubjectParts parts)
    {
        (_scope, _parts) = (scope, parts);
        _context = context with { Budget = context.Budget / Parts };
    }

    /// <summary>Runs, each part for a fifth of the budget.</summary>
    /// <param name="scope">The small world.</param>
    /// <param name="context">The seed of what is generated, and how long.</param>
    /// <param name="bytes">In how much memory the model is searched.</param>
    /// <param name="parts">The library, or one with a fault in it; null: the library.</param>
    /// <exception cref="BadInputException">The scope is none.</exception>
    public static CoverageReport Run(Scope scope, StageContext context, long bytes, SubjectParts? parts = null) => new CoverageRun(scope, context, parts ?? SubjectParts.Own).Run(bytes);

    private CoverageReport Run(long bytes)
    {
        ModelReport model = ModelSearch.Run(_scope, new() { Time = _context.Budget, Bytes = bytes }, _context.Time, progress => Tell(progress.Elapsed, $"the model: {progress.States} states"), _context.Stop);
        var by = new List<CoveredBy>();
        StageFailure? failure = model.Counterexample?.ToFailure();
        DirectedRun? directed = null;
        foreach (Func<(CoveredBy, StageFailure?)> run in (Func<(CoveredBy, StageFailure?)>[])[Exhaustive, () => Directed(model, out directed), Random, Concurrent])
        {
            _part++;
            if (failure is not null || _context.Stop.IsCancellationRequested) break;
            (CoveredBy covered, failure) = run();
            by.Add(covered);
        }

        return new() { Possible = model.Coverage.Keys.ToHashSet(), CutOff = model.CutOff, By = by, Why = situation => directed?.WhyMissing(situation) ?? MissingBecause.NotMet, Failure = failure };
    }

    /// <summary>On a machine that caches what is absent, too: on another, what is only made cannot fail.</summary>
    private (CoveredBy, StageFailure?) Exhaustive()
    {
        var situations = new HashSet<Situation>();
        var ran = new List<string>();
        StageFailure? failure = null;
        foreach (bool cachingMode in (bool[])[false, true])
        {
            if (failure is not null || _context.Stop.IsCancellationRequested) break;
            LibraryReport report = LibrarySearch.Run(
                _scope with { CachingMode = cachingMode }, _context.Budget / 2, _context.Time, progress => Tell((progress.Elapsed + (cachingMode ? _context.Budget : default)) / 2, $"all sequences of {progress.Depth} operations"), _context.Stop, _parts);
            situations.UnionWith(report.Coverage.Keys);
            failure = report.Failure;
            ran.Add(FormattableString.Invariant($"{report.Sequences:N0} sequences{(cachingMode ? " in caching mode" : "")}, all of {report.Depth} operations"));
        }

        return (new("exhaustive", string.Join("; ", ran), situations), failure);
    }

    private (CoveredBy, StageFailure?) Directed(ModelReport model, out DirectedRun run)
    {
        long start = _context.Time.GetTimestamp();
        run = DirectedRun.Run(_scope, model, _parts, done =>
        {
            Tell(done * _context.Budget, "the model's ways into its situations");
            return _context.Stop.IsCancellationRequested || _context.Time.GetElapsedTime(start) >= _context.Budget;
        });
        return (new("directed", FormattableString.Invariant($"{run.Sequences:N0} sequences"), run.Situations), run.Failure);
    }

    private (CoveredBy, StageFailure?) Random()
    {
        var situations = new HashSet<Situation>();
        StageReport report = new SequenceStage(_parts) { Judging = (before, operation, seen) => situations.Add(Situation.Of(before, operation, seen.Outcome)) }
            .Run(_context with { Progress = progress => Tell(progress.Fraction * _context.Budget, progress.Text) });
        return (new("random", FormattableString.Invariant($"{report.Ran[0].Count:N0} sequences"), situations), report.Failures.FirstOrDefault());
    }

    private (CoveredBy, StageFailure?) Concurrent()
    {
        var situations = new HashSet<Situation>();
        var histories = new HistoryGen();
        using var bench = new SimulatorBench();
        var runner = new ParallelRunner(bench, _parts)
        {
            Ordering = order => situations.UnionWith(order.Steps.Select(static step => Situation.Of(step.Before, step.Entry.Operation, step.Entry.Seen.Outcome))),
        };
        long start = _context.Time.GetTimestamp();
        uint index = 0;
        StageFailure? failure = null;
        while (failure is null && !_context.Stop.IsCancellationRequested && _context.Time.GetElapsedTime(start) is var elapsed && elapsed < _context.Budget)
        {
            if (index % 16 == 0) Tell(elapsed, $"{index} histories");
            Scenarios.Scenario scenario = histories.Generate(new PCG(index++, _context.Seed), null, out _);
            if (runner.Run(scenario) is not { } violation) continue;
            // No file: threads that run freely cannot be replayed.
            var result = new RunResult(scenario, [], violation) { Machine = bench.Describe(scenario.Topology) };
            failure = new(violation.Invariant, $"observed: {violation.Observed}; expected: {violation.Expected}", $"{result.Report()}\n{scenario.ToJson()}\n", null);
        }

        return (new("concurrent", FormattableString.Invariant($"{index:N0} histories of threads"), situations), failure);
    }

    private void Tell(TimeSpan elapsed, string text) => _context.Progress(new((_part + Math.Min(1, elapsed / _context.Budget)) / Parts, text));
}

using Microsoft.CodeAnalysis.Text;
using Mutation.Hunting;
using Mutation.Schema;
using Vcmm.Spec;

namespace Mutation.Report;

/// <summary>What became of our mutants, in the schema of mutation testing: engines are its files of tests, and in each the check of an invariant is a test.</summary>
public static class OutcomeReport
{
    /// <summary>Makes the report.</summary>
    /// <param name="framework">Who made the mutants.</param>
    /// <param name="outcomes">What became of each.</param>
    /// <param name="textOf">The text of a file, by its path from the root of the repository.</param>
    public static MutationReport Of(string framework, IReadOnlyList<MutantOutcome> outcomes, Func<string, string> textOf)
    {
        var files = new SortedDictionary<string, MutatedFile>(StringComparer.Ordinal);
        foreach (IGrouping<string, MutantOutcome> group in outcomes.GroupBy(static outcome => outcome.Mutant.Edits[0].File))
        {
            SourceText source = SourceText.From(textOf(group.Key));
            files.Add(group.Key, new() { Language = "cs", Source = source.ToString(), Mutants = [.. group.Select(outcome => Of(outcome, source))] });
        }

        return new() { SchemaVersion = "2", Thresholds = new(90, 80), Framework = new(framework), Files = files, TestFiles = TestsOf(outcomes) };
    }

    /// <summary>What became of an exhibit of the museum, as of any mutant: each hunt of each engine, one after the other, and then of the tests.</summary>
    /// <param name="outcome">The exhibit's outcome.</param>
    /// <param name="textOf">The text of a file, by its path from the root of the repository.</param>
    public static MutantOutcome Of(ExhibitOutcome outcome, Func<string, string> textOf) =>
        new(outcome.Exhibit.ToMutant(textOf), [.. outcome.Engines.SelectMany(static engine => engine.Hunts.Select(hunt => (engine.Engine, hunt))), .. outcome.Tests]) { Broken = outcome.Broken };

    private static MutantResult Of(MutantOutcome outcome, SourceText source)
    {
        (TextSpan span, string replacement) = ChangeOf(outcome.Mutant, source);
        LinePositionSpan at = source.Lines.GetLinePositionSpan(span);
        string[] elsewhere = [.. outcome.Mutant.Edits.Select(static edit => edit.File).Distinct().Where(file => file != outcome.Mutant.Edits[0].File)];
        return new()
        {
            Id = outcome.Mutant.Name,
            MutatorName = outcome.Mutant.Operator,
            Description = outcome.Mutant.Summary + (elsewhere.Length == 0 ? "" : $" (changes {string.Join(", ", elsewhere)}, too)"),
            Replacement = replacement,
            Location = new(PositionOf(at.Start), PositionOf(at.End)),
            Status = StatusOf(outcome),
            StatusReason = outcome.Broken ?? string.Join("; ", outcome.Killers.Select(static killer => $"{killer.Engine}: {WhatOf(killer.Hunt)}").Distinct()),
            KilledBy = [.. outcome.Killers.SelectMany(static killer => KillersOf(killer.Engine, killer.Hunt)).Select(static test => test.Id).Distinct()],
            TestsCompleted = outcome.Hunts.Sum(static run => run.Hunt.Tries),
            Duration = Math.Round(outcome.Hunts.Sum(static run => run.Hunt.Elapsed.TotalMilliseconds)),
            EngineRuns = [.. outcome.Hunts.Select(static run => new EngineRun(run.Engine, run.Hunt.End, run.Hunt.Tries, Math.Round(run.Hunt.Elapsed.TotalMilliseconds), run.Hunt.Named?.Id(), run.Hunt.Test))],
        };

        // Counted from 1 there.
        static MutantPosition PositionOf(LinePosition position) => new(position.Line + 1, position.Character + 1);
    }

    private static MutantStatus StatusOf(MutantOutcome outcome) =>
        outcome.Broken is not null ? MutantStatus.CompileError
        : outcome.Killers.Any(static killer => killer.Hunt.End == HuntEnd.Found) ? MutantStatus.Killed
        // It did not end, or ended the process: no check says what is wrong.
        : outcome.Killers.Any() ? MutantStatus.Timeout
        : outcome.IsPending ? MutantStatus.Pending
        : outcome.IsUnreached ? MutantStatus.NoCoverage
        : MutantStatus.Survived;

    private static string WhatOf(Hunt hunt) => hunt.End == HuntEnd.Broke ? hunt.Report : hunt.Named?.Label() ?? hunt.Test ?? hunt.Report;

    /// <summary>All that changes in the file of the first change, as one stretch.</summary>
    private static (TextSpan Span, string Replacement) ChangeOf(Mutant mutant, SourceText source)
    {
        SourceEdit[] edits = [.. mutant.Edits.Where(edit => edit.File == mutant.Edits[0].File).OrderBy(static edit => edit.Span)];
        var span = TextSpan.FromBounds(edits[0].Span.Start, edits.Max(static edit => edit.Span.End));
        SourceText changed = source.GetSubText(span).WithChanges(edits.Select(edit => new TextChange(new TextSpan(edit.Span.Start - span.Start, edit.Span.Length), edit.NewText)));
        return (span, changed.ToString());
    }

    /// <summary>An engine that runs tests has those that failed; any other has a check of each invariant.</summary>
    private static SortedDictionary<string, TestFile> TestsOf(IReadOnlyList<MutantOutcome> outcomes)
    {
        var files = new SortedDictionary<string, TestFile>(StringComparer.Ordinal);
        foreach (IGrouping<string, Hunt> engine in outcomes.SelectMany(static outcome => outcome.Hunts).GroupBy(static run => run.Engine, static run => run.Hunt))
        {
            IEnumerable<ReportTest> all = Engines.OfTests.Contains(engine.Key) || engine.Any(static hunt => hunt.Test is not null) ? [] : Enum.GetValues<Invariant>().Select(invariant => CheckOf(engine.Key, invariant));
            files.Add(engine.Key, new() { Tests = [.. all.Concat(engine.SelectMany(hunt => KillersOf(engine.Key, hunt)).OrderBy(static test => test.Id, StringComparer.Ordinal)).DistinctBy(static test => test.Id)] });
        }

        return files;
    }

    private static IEnumerable<ReportTest> KillersOf(string engine, Hunt hunt)
    {
        if (hunt.Named is { } named) yield return CheckOf(engine, named);
        if (hunt.Test is { } test) yield return new($"{engine}/{test}", test);
    }

    private static ReportTest CheckOf(string engine, Invariant invariant) => new($"{engine}/{invariant.Id()}", $"{engine}: {invariant.Label()}");
}

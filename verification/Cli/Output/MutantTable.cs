using Mutation.Hunting;
using Mutation.Report;
using Spectre.Console;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>Mutants and who found them, for people to read.</summary>
internal static class MutantTable
{
    /// <summary>A mutant whose hunts are over, on one line.</summary>
    public static string LineOf(MutantOutcome outcome) => $"{outcome.Mutant.Name}: {Fate(outcome)}";

    /// <summary>Prints a row for each operator, those that nobody found, what each engine found, and the verdict.</summary>
    public static void Print(IReadOnlyList<MutantOutcome> outcomes, MutationReport report, MutantPlan plan, TimeSpan elapsed, Surroundings here)
    {
        Table table = new Table().Border(TableBorder.Square);
        table.AddColumn("operator");
        string[] engines = [.. outcomes.SelectMany(static outcome => outcome.Hunts).Select(static run => run.Engine).Distinct()];
        foreach (string column in (string[])["mutants", .. engines.Select(static engine => $"by {engine}"), "broke", "survived", "not compiled"]) table.AddColumn(new TableColumn(column).RightAligned());
        table.AddColumn("named");
        foreach (IGrouping<string, MutantOutcome> made in outcomes.GroupBy(static outcome => outcome.Mutant.Operator)) table.AddRow(RowOf(made.Key, [.. made], engines));
        table.AddRow(RowOf("all", [.. outcomes], engines));
        RunTable.ConsoleOf(here).Write(table);
        GridTable.Print(new KillMatrix(report), here);
        MutantOutcome[] lost = [.. outcomes.Where(static outcome => outcome.Broken is null && outcome.Killer is null)];
        foreach (MutantOutcome outcome in lost) here.Out.WriteLine($"survived: {outcome.Mutant.Name}  {outcome.Mutant.Summary}  =>  {Line.Of(outcome.Mutant.Edits[0].NewText)}");
        int hunted = outcomes.Count(static outcome => outcome.Broken is null);
        double perMinute = elapsed > TimeSpan.Zero ? hunted / elapsed.TotalMinutes : 0;
        here.Out.WriteLine($"{hunted - lost.Length} of {hunted} found, in {Line.Seconds(elapsed)} ({Line.Rate(perMinute)} a minute), seed {plan.Seed}");
    }

    private static string[] RowOf(string name, MutantOutcome[] made, string[] engines)
    {
        IEnumerable<string> named = made.SelectMany(static outcome => outcome.Killers.Select(static killer => killer.Hunt.Named).OfType<Invariant>().Distinct()).GroupBy(static invariant => invariant)
            .OrderByDescending(static group => group.Count()).ThenBy(static group => group.Key).Select(static group => $"{group.Key.Id()} {group.Count()}");
        return
        [
            name, Line.Count(made.Length),
            .. engines.Select(engine => Line.Count(made.Count(outcome => outcome.Killers.Any(killer => killer.Engine == engine && killer.Hunt.End == HuntEnd.Found)))),
            // Of these nobody said what is wrong.
            Line.Count(made.Count(static outcome => outcome.Killer is not null && outcome.Killers.All(static killer => killer.Hunt.End == HuntEnd.Broke))),
            Line.Count(made.Count(static outcome => outcome.Broken is null && outcome.Killer is null)),
            Line.Count(made.Count(static outcome => outcome.Broken is not null)), string.Join(", ", named),
        ];
    }

    private static string Fate(MutantOutcome outcome) => outcome switch
    {
        { Broken: { } why } => $"cannot be compiled: {Line.Of(why)}",
        { Killer: null } => "survived",
        _ => string.Join("; ", outcome.Killers.Select(static killer => FateBy(killer.Engine, killer.Hunt))),
    };

    private static string FateBy(string engine, Hunt hunt) =>
        hunt.End == HuntEnd.Broke ? $"{engine} broke: {Line.Of(hunt.Report)}" : $"{hunt.Named?.Label() ?? hunt.Test} by {engine} in {Line.Count(hunt.Tries)}";
}

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

    /// <summary>Tells which tests will hunt.</summary>
    /// <param name="map">The tests.</param>
    /// <param name="what">What they hunt.</param>
    /// <param name="here">Where to.</param>
    public static void PrintSurvey(TestMap map, string what, Surroundings here)
    {
        here.Out.WriteLine($"{Line.Count(map.Classes.Length)} of {Line.Count(map.ClassCount)} classes of tests reach {what}; {(map.IsKnown ? "that is known from an earlier run" : $"each ran once with none active, in {Line.Seconds(map.Elapsed)}")}");
        foreach (string test in map.LeftOut) here.Out.WriteLine($"left out, for it fails with none active: {Line.Of(test)}");
    }

    /// <summary>Prints a row for each operator, what each engine found, those that nobody found, and the verdict.</summary>
    public static void Print(IReadOnlyList<MutantOutcome> outcomes, MutationReport report, MutantPlan plan, TimeSpan elapsed, Surroundings here)
    {
        Table table = new Table().Border(TableBorder.Square);
        table.AddColumn("operator");
        foreach (string column in (string[])["mutants", .. plan.Engines.Select(static engine => $"by {engine}"), "broke", "survived", "no coverage", "not compiled"]) table.AddColumn(new TableColumn(column).RightAligned());
        table.AddColumn("named");
        foreach (IGrouping<string, MutantOutcome> made in outcomes.GroupBy(static outcome => outcome.Mutant.Operator)) table.AddRow(RowOf(made.Key, [.. made], plan));
        table.AddRow(RowOf("all", [.. outcomes], plan));
        RunTable.ConsoleOf(here).Write(table);
        GridTable.Print(new KillMatrix(report), here);
        MutantOutcome[] lost = [.. outcomes.Where(static outcome => outcome.IsSurvivor)];
        foreach (MutantOutcome outcome in lost) here.Out.WriteLine($"{(outcome.IsUnreached ? "not reached" : "survived")}: {outcome.Mutant.Name}  {outcome.Mutant.Summary}  =>  {Line.Of(outcome.Mutant.Edits[0].NewText)}");
        int hunted = outcomes.Count(static outcome => outcome.Broken is null && !outcome.IsPending);
        if (outcomes.Count(static outcome => outcome.IsPending) is > 0 and var pending) here.Out.WriteLine($"{Line.Count(pending, "mutant")} not hunted to the end: the user stopped before");
        double perMinute = elapsed > TimeSpan.Zero ? hunted / elapsed.TotalMinutes : 0;
        here.Out.WriteLine($"{hunted - lost.Length} of {hunted} found, in {Line.Seconds(elapsed)} ({Line.Rate(perMinute)} a minute), seed {plan.Seed}");
    }

    private static string[] RowOf(string name, MutantOutcome[] made, MutantPlan plan)
    {
        string By(string engine) => Line.Count(made.Count(outcome => outcome.Killers.Any(killer => killer.Engine == engine && killer.Hunt.End == HuntEnd.Found)));
        IEnumerable<string> named = made.SelectMany(static outcome => outcome.Killers.Select(static killer => killer.Hunt.Named).OfType<Invariant>().Distinct()).GroupBy(static invariant => invariant)
            .OrderByDescending(static group => group.Count()).ThenBy(static group => group.Key).Select(static group => $"{group.Key.Id()} {group.Count()}");
        return
        [
            name, Line.Count(made.Length), .. plan.Engines.Select(By),
            // Of these nobody said what is wrong.
            Line.Count(made.Count(static outcome => outcome.Killer is not null && outcome.Killers.All(static killer => killer.Hunt.End == HuntEnd.Broke))),
            Line.Count(made.Count(static outcome => outcome.IsSurvivor && !outcome.IsUnreached)),
            Line.Count(made.Count(static outcome => outcome.IsUnreached)),
            Line.Count(made.Count(static outcome => outcome.Broken is not null)), string.Join(", ", named),
        ];
    }

    private static string Fate(MutantOutcome outcome) => outcome switch
    {
        { Broken: { } why } => $"cannot be compiled: {Line.Of(why)}",
        { Killer: not null } => string.Join("; ", outcome.Killers.Select(static killer => FateBy(killer.Engine, killer.Hunt))),
        { IsPending: true } => "pending",
        { IsUnreached: true } => "survived, and nothing reached it",
        _ => "survived",
    };

    private static string FateBy(string engine, Hunt hunt) =>
        hunt.End == HuntEnd.Broke ? $"{engine} broke: {Line.Of(hunt.Report)}" : $"{hunt.Test ?? hunt.Named?.Label()} by {engine} in {Line.Count(hunt.Tries)}";
}

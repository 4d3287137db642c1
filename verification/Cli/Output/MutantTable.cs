using Mutation.Hunting;
using Spectre.Console;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>Mutants and who found them, for people to read.</summary>
internal static class MutantTable
{
    /// <summary>A mutant whose hunts are over, on one line.</summary>
    public static string LineOf(MutantOutcome outcome) => $"{outcome.Mutant.Name}: {Fate(outcome)}";

    /// <summary>Prints a row for each operator, those that nobody found, and the verdict.</summary>
    public static void Print(IReadOnlyList<MutantOutcome> outcomes, MutantPlan plan, TimeSpan elapsed, Surroundings here)
    {
        Table table = new Table().Border(TableBorder.Square);
        table.AddColumn("operator");
        foreach (string column in (string[])["mutants", "by sequences", "by schedules", "broke", "survived", "not compiled"]) table.AddColumn(new TableColumn(column).RightAligned());
        table.AddColumn("named");
        foreach (IGrouping<string, MutantOutcome> made in outcomes.GroupBy(static outcome => outcome.Mutant.Operator)) table.AddRow(RowOf(made.Key, [.. made]));
        table.AddRow(RowOf("all", [.. outcomes]));
        RunTable.ConsoleOf(here).Write(table);
        MutantOutcome[] lost = [.. outcomes.Where(static outcome => outcome.Broken is null && outcome.Killer is null)];
        foreach (MutantOutcome outcome in lost) here.Out.WriteLine($"survived: {outcome.Mutant.Name}  {outcome.Mutant.Summary}  =>  {Line.Of(outcome.Mutant.Edits[0].NewText)}");
        int hunted = outcomes.Count(static outcome => outcome.Broken is null);
        double perMinute = elapsed > TimeSpan.Zero ? hunted / elapsed.TotalMinutes : 0;
        here.Out.WriteLine($"{hunted - lost.Length} of {hunted} found, in {Line.Seconds(elapsed)} ({Line.Rate(perMinute)} a minute), seed {plan.Seed}");
    }

    private static string[] RowOf(string name, MutantOutcome[] made)
    {
        string By(string engine) => Line.Count(made.Count(outcome => outcome.Killer is { Hunt.End: HuntEnd.Found } killer && killer.Engine == engine));
        IEnumerable<string> named = made.Select(static outcome => outcome.Killer?.Hunt.Named).OfType<Invariant>().GroupBy(static invariant => invariant)
            .OrderByDescending(static group => group.Count()).ThenBy(static group => group.Key).Select(static group => $"{group.Key.Id()} {group.Count()}");
        return
        [
            name, Line.Count(made.Length), By("sequences"), By("schedules"),
            Line.Count(made.Count(static outcome => outcome.Killer is { Hunt.End: HuntEnd.Broke })),
            Line.Count(made.Count(static outcome => outcome.Broken is null && outcome.Killer is null)),
            Line.Count(made.Count(static outcome => outcome.Broken is not null)), string.Join(", ", named),
        ];
    }

    private static string Fate(MutantOutcome outcome) => outcome switch
    {
        { Broken: { } why } => $"cannot be compiled: {Line.Of(why)}",
        { Killer: { Hunt: { End: HuntEnd.Found } hunt } killer } => $"{hunt.Named!.Value.Label()} by {killer.Engine} in {Line.Count(hunt.Tries)}",
        { Killer: { } killer } => $"{killer.Engine} broke: {Line.Of(killer.Hunt.Report)}",
        _ => "survived",
    };
}

using Mutation.Hunting;
using Spectre.Console;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>A tour of the museum for people to read.</summary>
internal static class MuseumTable
{
    /// <summary>An exhibit whose hunts are over, on one line.</summary>
    public static string LineOf(ExhibitOutcome outcome) => outcome.Broken is { } why
        ? $"{outcome.Exhibit.Name}: does not compile: {Line.Of(why)}"
        : $"{outcome.Exhibit.Name}: {string.Join("; ", outcome.Engines.Select(engine => $"{engine.Engine} {Cell(engine)}, {Names(engine)}"))}{(outcome.Tests.Length == 0 ? "" : $"; {ByTests(outcome)}")}";

    /// <summary>Prints a row for each exhibit, the counterexample if there is but one, and the verdict.</summary>
    public static void Print(IReadOnlyList<ExhibitOutcome> outcomes, MuseumPlan plan, TimeSpan elapsed, Surroundings here)
    {
        RunTable.ConsoleOf(here).Write(TableOf(outcomes, plan));
        if (outcomes is [{ Engines: [{ Hunts: [var hunt, ..] }, ..] }])
        {
            here.Out.WriteLine();
            here.Out.WriteLine(hunt.Report);
        }

        int found = outcomes.Count(static outcome => outcome.IsFoundByName);
        if (outcomes.Count(static outcome => outcome.Test is not null) is > 0 and var byTests) here.Out.WriteLine($"{Line.Count(byTests)} of the others found by a test");
        here.Out.WriteLine($"{found} of {outcomes.Count} found by name, {Line.Count(plan.Seeds, "seed")} from {plan.FirstSeed}, in {Line.Seconds(elapsed)}");
    }

    private static Table TableOf(IReadOnlyList<ExhibitOutcome> outcomes, MuseumPlan plan)
    {
        Table table = new Table().Border(TableBorder.Square);
        table.AddColumn("exhibit");
        table.AddColumn("breaks");
        table.AddColumn("named");
        string[] more = plan.Strategies.Count > 1 ? [.. plan.Strategies] : [];
        if (more.Length == 0) table.AddColumn("found by");
        foreach (string column in more.Length == 0 ? ["in"] : more) table.AddColumn(new TableColumn(column).RightAligned());
        table.AddColumn("shrunk to");
        foreach (ExhibitOutcome outcome in outcomes) table.AddRow(RowOf(outcome, more.Length == 0));
        return table;
    }

    private static Text[] RowOf(ExhibitOutcome outcome, bool isShort)
    {
        var cells = new List<Text> { new(outcome.Exhibit.Name), new(string.Join(' ', outcome.Exhibit.Breaks.Select(Invariants.Id))) };
        if (outcome.Broken is not null) return [.. cells, new("does not compile", new Style(Color.Red))];
        EngineOutcome first = outcome.Engines[0];
        cells.Add(new(Names(first), outcome.IsFoundByName ? Style.Plain : new Style(Color.Red)));
        if (isShort) cells.Add(new(outcome.Tests.Length == 0 ? first.Engine : ByTests(outcome)));
        cells.AddRange(outcome.Engines.Select(static engine => new Text(Cell(engine))));
        cells.Add(new(first.Hunts[0].Size));
        return [.. cells];
    }

    private static string Names(EngineOutcome engine) =>
        engine.Hunts.Any(static hunt => hunt.End == HuntEnd.Broke) ? string.Join(' ', engine.Named.Select(Invariants.Id).Append("broke"))
        : engine.Named.Count == 0 ? "not found"
        : string.Join(' ', engine.Named.Select(Invariants.Id));

    private static string ByTests(ExhibitOutcome outcome) =>
        outcome.Test is { } test ? $"test {test}"
        : outcome.Tests[^1] is { Hunt: { End: HuntEnd.Broke } broke } ? $"a test broke: {Line.Of(broke.Report)}"
        : $"no test of {Line.Count(outcome.Tests.Sum(static run => run.Hunt.Tries))}";

    private static string Cell(EngineOutcome engine)
    {
        string seeds = engine.Found == engine.Seeds ? "" : engine.Hunts.Length == engine.Seeds ? $" ({engine.Found} of {engine.Seeds})" : $" ({engine.Found} of {engine.Hunts.Length}, {engine.Seeds} planned)";
        return $"{(engine.Median is { } median ? Line.Count(median) : "-")}{seeds}";
    }
}

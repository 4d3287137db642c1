using Mutation.Hunting;
using Mutation.SelfCheck;
using Spectre.Console;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>A self-check after it has ended.</summary>
/// <param name="Invariants">What became of the witnesses of invariants.</param>
/// <param name="Engines">What became of those of engines.</param>
/// <param name="Elapsed">How long it took.</param>
internal sealed record SelfCheckOutcome(IReadOnlyList<InvariantOutcome> Invariants, IReadOnlyList<EngineVerdict> Engines, TimeSpan Elapsed)
{
    /// <summary>Clean if each witness shows what it is to show, or it is written down why there is none.</summary>
    public int ExitCode => Invariants.All(static outcome => outcome.IsRight) && Engines.All(static outcome => outcome.IsRight) ? Verify.ExitCode.Clean : Verify.ExitCode.Violation;
}

/// <summary>A self-check for people to read.</summary>
internal static class SelfCheckTable
{
    private static readonly Style Wrong = new(Color.Red);

    /// <summary>What an invariant came to, on one line.</summary>
    public static string LineOf(InvariantOutcome outcome) => outcome.Witness.Why is { } why
        ? $"{outcome.Witness.Names.Label()}: nothing that only it sees: {Line.Of(why)}"
        : $"{outcome.Witness.Names.Label()}: {outcome.Witness.Planted}: {All(outcome)}; muted: {Muted(outcome)}";

    /// <summary>What an engine came to, on one line.</summary>
    public static string LineOf(EngineVerdict outcome) => outcome.Witness.Why is { } why
        ? $"{outcome.Witness.Engine}: nothing that only it finds: {Line.Of(why)}"
        : $"{outcome.Witness.Engine}: {outcome.Witness.Planted}: {Cell(outcome.Own!)}; {string.Join("; ", outcome.Others.Select(static other => $"{other.Plan}: {Cell(other.Hunt)}"))}";

    /// <summary>Prints a row for each invariant and each engine, and the verdict.</summary>
    public static void Print(SelfCheckOutcome outcome, Surroundings here)
    {
        IAnsiConsole console = RunTable.ConsoleOf(here);
        if (outcome.Invariants.Count != 0)
        {
            Table table = TableOf("invariant", "witness", "engine", "with all", "with it muted");
            foreach (InvariantOutcome row in outcome.Invariants)
            {
                Style style = row.IsRight ? Style.Plain : Wrong;
                if (row.Witness.Why is { } why) table.AddRow(new Text(row.Witness.Names.Label()), new Text($"nothing that only it sees: {Line.Of(why)}"), new Text(""), new Text(""), new Text(""));
                else table.AddRow(new Text(row.Witness.Names.Label()), new Text($"{row.Witness.Planted}"), new Text($"{row.Witness.Hunt}"), new Text(All(row), style), new Text(Muted(row), style));
            }

            console.Write(table);
        }

        if (outcome.Engines.Count != 0)
        {
            Table table = TableOf("engine", "witness", "it", "the others");
            foreach (EngineVerdict row in outcome.Engines)
            {
                Style style = row.IsRight ? Style.Plain : Wrong;
                if (row.Witness.Why is { } why) table.AddRow(new Text(row.Witness.Engine), new Text($"nothing that only it finds: {Line.Of(why)}"), new Text(""), new Text(""));
                else table.AddRow(new Text(row.Witness.Engine), new Text($"{row.Witness.Planted}"), new Text(Cell(row.Own!), style), new Text(Others(row), style));
            }

            console.Write(table);
        }

        int needed = outcome.Invariants.Count(static row => row.IsRight && row.Witness.Why is null), alone = outcome.Engines.Count(static row => row.IsRight && row.Witness.Why is null);
        here.Out.WriteLine($"{needed} of {Line.Count(outcome.Invariants.Count, "invariant")} and {alone} of {Line.Count(outcome.Engines.Count, "engine")} shown to be needed, in {Line.Seconds(outcome.Elapsed)}");
    }

    /// <summary>Prints the witnesses.</summary>
    public static void Print(WitnessFile file, Surroundings here)
    {
        foreach (InvariantWitness witness in file.Invariants) here.Out.WriteLine($"{witness.Names.Label()}: {(witness.Why is { } why ? $"none: {Line.Of(why)}" : Of(witness.Planted!, witness.Hunt!))}");
        foreach (EngineWitness witness in file.EngineWitnesses) here.Out.WriteLine($"{witness.Engine}: {(witness.Why is { } why ? $"none: {Line.Of(why)}" : Of(witness.Planted!, witness.Hunt!))}");

        static string Of(Planted planted, HuntPlan hunt) => $"{planted} ({hunt}, {Line.Count(hunt.Count)}, seed {hunt.Seed})";
    }

    /// <summary>What there is without anything muted: in how many tries, and under which name.</summary>
    public static string All(InvariantOutcome outcome) => outcome.All is { } hunt ? Cell(hunt) : "";

    /// <summary>What there is with the invariant muted; how often that was found shows that it was there to be seen.</summary>
    public static string Muted(InvariantOutcome outcome) => outcome.Muted switch
    {
        null => "not run",
        { End: HuntEnd.NotFound, Muted: 0 } hunt => $"{Cell(hunt)}, but {outcome.Witness.Invariant} was not broken either",
        { End: HuntEnd.NotFound } hunt => $"{Cell(hunt)} ({outcome.Witness.Invariant} {Line.Count(hunt.Muted, "time")})",
        var hunt => $"still found: {Cell(hunt)}",
    };

    /// <summary>What a hunt came to.</summary>
    public static string Cell(Hunt hunt) => hunt.End switch
    {
        HuntEnd.Found => $"{hunt.Named?.Id() ?? hunt.Test ?? "found"} in {Line.Count(hunt.Tries)}",
        HuntEnd.NotFound => $"nothing in {Line.Count(hunt.Tries)}",
        _ => $"broke: {Line.Of(hunt.Report)}",
    };

    private static string Others(EngineVerdict row) => string.Join('\n', row.Others.Select(static other => $"{other.Plan}: {Cell(other.Hunt)}"));

    private static Table TableOf(params string[] columns)
    {
        Table table = new Table { ShowRowSeparators = true }.Border(TableBorder.Square);
        foreach (string column in columns) table.AddColumn(column);
        return table;
    }
}

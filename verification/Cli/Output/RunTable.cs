using Harness.Stages;
using Spectre.Console;
using Vcmm.Spec;
using Verify.Running;

namespace Verify.Output;

/// <summary>A run for people to read.</summary>
internal static class RunTable
{
    /// <summary>A console that writes where the surroundings say.</summary>
    public static IAnsiConsole ConsoleOf(Surroundings here)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(here.Out),
            Ansi = here.Terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = here.Terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = here.Terminal ? InteractionSupport.Yes : InteractionSupport.No,
        });
        console.Profile.Width = here.WidthColumns;
        return console;
    }

    /// <summary>Prints the table, a line for each stage without a report, each failure's report in full, and the verdict.</summary>
    public static void Print(RunOutcome outcome, FailureStore store, Surroundings here)
    {
        ConsoleOf(here).Write(TableOf(outcome));
        foreach (StageOutcome stage in outcome.Stages.Where(stage => stage.State is StageState.Missing or StageState.Stopped or StageState.NotStarted))
            here.Out.WriteLine($"{stage.Name} {Word(stage)}: {Line.Of(stage.Note ?? "")}");
        foreach ((StageOutcome stage, StageFailure failure) in outcome.Failures)
        {
            here.Out.WriteLine();
            here.Out.WriteLine($"{stage.Name} found {failure.Invariant.Label()}: {Line.Of(failure.Summary)}");
            PrintReport(failure, here.Out);
            if (store.PathOf(failure) is { } path) here.Out.WriteLine($"see it again: verify replay {path}");
        }

        if (outcome.Failures.Any()) here.Out.WriteLine();
        here.Out.WriteLine(Verdict(outcome));
    }

    /// <summary>Prints a counterexample as it was found, its last line ended.</summary>
    public static void PrintReport(StageFailure failure, TextWriter output)
    {
        output.Write(failure.Report);
        if (!failure.Report.EndsWith('\n')) output.Write('\n');
    }

    /// <summary>That invariants are muted, to be put behind something; empty if none is.</summary>
    public static string MutedText(InvariantSet muted) => muted.IsEmpty ? "" : $"; muted: {muted}";

    /// <summary>The same, with how often each was found broken.</summary>
    public static string MutedText(InvariantSet muted, IEnumerable<KeyValuePair<Invariant, long>> breaches)
    {
        ILookup<Invariant, long> counts = breaches.ToLookup(static pair => pair.Key, static pair => pair.Value);
        return muted.IsEmpty ? "" : $"; muted: {string.Join(", ", muted.Members.Select(invariant => $"{invariant.Id()} (found {Line.Count(counts[invariant].Sum(), "time")})"))}";
    }

    /// <summary>How the run went, on one line.</summary>
    public static string Verdict(RunOutcome outcome)
    {
        string how = outcome.ExitCode switch
        {
            ExitCode.Violation => Line.Count(outcome.Failures.Count(), "violation"),
            ExitCode.Clean => "no violation",
            _ => outcome.CheckCount == 0 ? "nothing was checked" : "not done",
        };
        string stopped = outcome.Stopped ? $", stopped by the user before {Line.Seconds(outcome.Plan.Budget)} were over" : "";
        return $"{how}: {Line.Count(outcome.CheckCount, "check")} in {Line.Seconds(outcome.Elapsed)}, seed {outcome.Plan.Seed}{stopped}"
            + MutedText(outcome.Plan.Muted, outcome.Stages.SelectMany(static stage => stage.Report?.Muted ?? new Dictionary<Invariant, long>()));
    }

    private static Table TableOf(RunOutcome outcome)
    {
        Table table = new Table { ShowRowSeparators = true }.Border(TableBorder.Square);
        table.AddColumn("stage");
        table.AddColumn(new TableColumn("time").RightAligned());
        table.AddColumn("ran");
        table.AddColumn(new TableColumn("a second").RightAligned());
        table.AddColumn("checked");
        table.AddColumn("failed");
        foreach (StageOutcome stage in outcome.Stages) table.AddRow(RowOf(stage));
        return table;
    }

    private static Text[] RowOf(StageOutcome stage)
    {
        if (stage.Report is not { } report) return [new(stage.Name), new("–"), new(Word(stage)), new(""), new(""), new("")];
        string checks = Lines(report.Checks.OrderBy(check => check.Key).Select(check => $"{check.Key.Label()} {Line.Count(check.Value)}"));
        string failed = Lines(report.Failures.GroupBy(failure => failure.Invariant).OrderBy(group => group.Key)
            .Select(group => $"{group.Key.Label()} {Line.Count(group.Count())}"));
        return
        [
            new(stage.Name),
            new(Line.Seconds(report.Elapsed)),
            new(Lines(report.Ran.Select(ran => $"{Line.Count(ran.Count)} {ran.What}"))),
            new(Lines(report.Ran.Select(ran => JsonReport.PerSecond(ran.Count, report.Elapsed) is { } rate ? Line.Rate(rate) : "–"))),
            new(checks.Length == 0 ? "nothing" : checks),
            failed.Length == 0 ? new("nothing") : new(failed, new Style(Color.Red)),
        ];
    }

    private static string Word(StageOutcome stage) => stage.State switch
    {
        StageState.Missing => "did not run",
        StageState.NotStarted => "did not start",
        _ => JsonReport.Word(stage.State),
    };

    private static string Lines(IEnumerable<string> lines) => string.Join('\n', lines);
}

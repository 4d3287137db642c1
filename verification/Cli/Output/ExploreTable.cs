using Harness.Schedules;
using Spectre.Console;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>An exploration after it has ended.</summary>
/// <param name="Request">What was asked.</param>
/// <param name="Tally">What there is.</param>
/// <param name="Elapsed">How long it took.</param>
/// <param name="Stopped">Whether the user stopped it.</param>
internal sealed record ExploreOutcome(ScheduleRequest Request, ScheduleTally Tally, TimeSpan Elapsed, bool Stopped)
{
    /// <summary>How many checks were made.</summary>
    public long CheckCount => Tally.Checks.Values.Sum();

    /// <summary>A violation outweighs a worker that broke; an exploration that checked nothing is not clean.</summary>
    public int ExitCode =>
        Tally.Failures.Count != 0 ? Verify.ExitCode.Violation
        : Tally.Problem is not null || CheckCount == 0 ? Verify.ExitCode.Environment
        : Verify.ExitCode.Clean;
}

/// <summary>An exploration for people to read.</summary>
internal static class ExploreTable
{
    private const int MostInFull = ScheduleHunt.MostExplained;

    /// <summary>Prints a row for each scenario, counterexamples in full, and the verdict.</summary>
    public static void Print(ExploreOutcome outcome, FailureStore store, Surroundings here)
    {
        RunTable.ConsoleOf(here).Write(TableOf(outcome.Tally));
        IReadOnlyList<FoundSchedule> failures = outcome.Tally.Failures;
        foreach (FoundSchedule found in failures.Take(MostInFull))
        {
            here.Out.WriteLine();
            here.Out.WriteLine($"{found.Scenario}: {Found(found)}");
            RunTable.PrintReport(found.Failure, here.Out);
            if (store.PathOf(found.Failure) is { } path) here.Out.WriteLine($"see it again: verify replay {path}");
        }

        if (failures.Count != 0) here.Out.WriteLine();
        foreach (FoundSchedule found in failures.Skip(MostInFull))
            here.Out.WriteLine($"{found.Scenario}: {Found(found)}{(store.PathOf(found.Failure) is { } path ? $", verify replay {path}" : "")}");
        here.Out.WriteLine(Verdict(outcome));
    }

    /// <summary>What is broken, and who found it when.</summary>
    public static string Found(FoundSchedule found) => $"{found.Failure.Invariant.Label()} by {found.Strategy} in schedule {Line.Count(found.Schedule)}";

    private static string Verdict(ExploreOutcome outcome)
    {
        ScheduleTally tally = outcome.Tally;
        string how = outcome.ExitCode switch
        {
            ExitCode.Violation => Line.Count(tally.Failures.Count, "violation"),
            ExitCode.Clean => "no violation",
            _ => outcome.CheckCount == 0 ? "nothing was checked" : "not done",
        };
        string rate = JsonReport.PerSecond(tally.Schedules, outcome.Elapsed) is { } perSecond ? $" ({Line.Rate(perSecond)} a second)" : "";
        string stopped = outcome.Stopped ? $", stopped by the user before {ExploreDisplay.Limits(outcome.Request)} were over" : "";
        return $"{how}: {Line.Count(tally.Schedules, "schedule")} in {Line.Seconds(outcome.Elapsed)}{rate}, {Line.Count(tally.Behaviours, "behaviour")}, "
            + $"{Line.Count(outcome.CheckCount, "check")}, seed {outcome.Request.Seed}{stopped}{RunTable.MutedText(outcome.Request.Muted, tally.Muted)}";
    }

    private static Table TableOf(ScheduleTally tally)
    {
        Table table = new Table().Border(TableBorder.Square);
        table.AddColumn("scenario");
        table.AddColumn(new TableColumn("schedules").RightAligned());
        table.AddColumn(new TableColumn("behaviours").RightAligned());
        table.AddColumn("failed");
        foreach (ScenarioTally scenario in tally.Scenarios) table.AddRow(RowOf(scenario));
        return table;
    }

    private static Text[] RowOf(ScenarioTally scenario)
    {
        string name = scenario.Count == 1 && scenario.Failures.All(found => found.Scenario == scenario.Name) ? scenario.Name : $"{scenario.Name} ({Line.Count(scenario.Count)})";
        string failed = scenario.Failures.Count <= MostInFull
            ? string.Join('\n', scenario.Failures.Select(found => found.Scenario == scenario.Name ? Found(found) : $"{found.Scenario}: {Found(found)}"))
            : string.Join('\n', scenario.Failures.GroupBy(static found => found.Failure.Invariant).OrderBy(static group => group.Key).Select(static group => $"{group.Key.Label()} {Line.Count(group.Count())}"));
        return
        [
            new(name),
            new(Line.Count(scenario.Schedules)),
            new(Line.Count(scenario.Behaviours)),
            failed.Length == 0 ? new(scenario.Exhausted is { } most ? $"nothing; these are all schedules with at most {Line.Count(most, "interruption")}" : "nothing") : new(failed, new Style(Color.Red)),
        ];
    }
}

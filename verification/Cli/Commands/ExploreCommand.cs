using System.CommandLine;
using Harness;
using Harness.Schedules;
using Verify.Output;

namespace Verify.Commands;

/// <summary><c>verify explore</c>: a hunt for concurrency bugs.</summary>
internal static class ExploreCommand
{
    private const double DefaultSeconds = 60;

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<double?> time = new("--time")
        {
            Description = $"How long to explore; {DefaultSeconds} unless --schedules is given.",
            HelpName = "SECONDS",
            CustomParser = static given => RunCommand.ParseTime(given),
        };
        Option<int?> schedules = new("--schedules") { Description = "How many schedules to run, instead of a time.", HelpName = "NUMBER" };
        Option<ulong> seed = RunCommand.Seed();
        Option<string> scenario = new("--scenario")
        {
            Description = "A scenario, or all of a kind: code, scripts, generated, all.",
            HelpName = "NAME",
            DefaultValueFactory = static _ => "all",
        };
        Option<string[]> strategies = new("--strategy") { Description = "Choose by this strategy alone; several take turns.", HelpName = "NAME" };
        Option<int?> preemptions = new("--preemptions") { Description = "Run every schedule in which at most so many times an agent is interrupted that could have gone on.", HelpName = "NUMBER" };
        Option<string> fault = new("--fault") { Description = "Plant this fault, to see it found.", HelpName = "NAME", DefaultValueFactory = static _ => "none" };
        Option<string[]> mute = MuteOption.Create();
        Option<int> workers = new("--workers") { Description = "How many worker processes explore beside each other.", HelpName = "NUMBER", DefaultValueFactory = static _ => ScheduleRequest.WorkersHere };
        Option<string> failures = RunCommand.Failures();
        Option<string?> json = new("--json") { Description = "Write what was explored and found to this file.", HelpName = "FILE" };
        Option<bool> list = new("--list") { Description = "List scenarios, strategies and faults that can be planted, and run nothing." };
        var command = new Command("explore", "Hunt concurrency bugs: run scenarios under a scheduler that decides every step, in schedule after schedule.")
        {
            time, schedules, seed, scenario, strategies, preemptions, fault, mute, workers, failures, json, list,
        };
        command.SetAction(parsed =>
        {
            long? most = ModelCommand.AtLeast(1, schedules, parsed.GetValue(schedules));
            int beside = parsed.GetValue(workers);
            if (beside is < 1 or > ScheduleRequest.MostWorkers) throw new BadInputException($"--workers: {beside}; expected 1 to {ScheduleRequest.MostWorkers}");
            int? interruptions = parsed.GetValue(preemptions);
            if (interruptions is < 0 or > 1000) throw new BadInputException($"--preemptions: {interruptions}; expected 0 to 1000");
            string[] named = parsed.GetValue(strategies) ?? [];
            if (interruptions is not null && named.Length != 0) throw new BadInputException("--strategy: not with --preemptions, where every schedule is run; expected one of the two");
            double? seconds = parsed.GetValue(time) ?? (most is null ? DefaultSeconds : null);
            var request = new ScheduleRequest(parsed.GetValue(seed))
            {
                Scenario = parsed.GetRequiredValue(scenario),
                Fault = parsed.GetRequiredValue(fault),
                Strategies = named,
                Muted = MuteOption.Parse(parsed.GetValue(mute)),
                Preemptions = interruptions,
                Workers = beside,
                Schedules = most,
                Budget = seconds is { } given ? TimeSpan.FromSeconds(given) : null,
            };
            var store = new FailureStore(here, parsed.GetRequiredValue(failures));
            ExploreReport? report = parsed.GetValue(json) is { } file ? new ExploreReport(here, file) : null;
            store.Check();
            report?.Check();
            if (ScheduleHunt.MissingOf(here.ScheduleWorker) is { } missing) throw new EnvironmentException($"nothing can be explored here: {missing}");
            return parsed.GetValue(list) ? List(here) : Explore(request, store, report, here);
        });
        return command;
    }

    private static int Explore(ScheduleRequest request, FailureStore store, ExploreReport? report, Surroundings here)
    {
        var display = new ExploreDisplay(request, here);
        long begun = here.Time.GetTimestamp();
        ScheduleTally tally = ScheduleHunt.Run(here.ScheduleWorker, request, here.Time, display.Show, here.Stop);
        // Only now is it known which of several that are the same is kept.
        store.Save(tally.Failures.Select(static found => found.Failure));
        var outcome = new ExploreOutcome(request, tally, here.Time.GetElapsedTime(begun), here.Stop.IsCancellationRequested);
        display.End();
        ExploreTable.Print(outcome, store, here);
        here.Out.Flush();
        if (tally.Problem is { } problem) here.Error.WriteLine($"verify: the exploration broke: {Line.Of(problem)}");
        if (store.Problem is { } unwritten) here.Error.WriteLine($"verify: {Line.Of(unwritten)}");
        report?.Write(outcome, store);
        return outcome.ExitCode;
    }

    private static int List(Surroundings here)
    {
        CatalogueMessage there = ScheduleHunt.Catalogue(here.ScheduleWorker);
        Section("scenarios written as code", there.Scenarios);
        Section("scenarios written as data", there.Scripts);
        Section("strategies", there.Strategies);
        Section("faults that can be planted, and the scenario that finds each", there.Faults);
        return ExitCode.Clean;

        void Section(string title, IReadOnlyList<CatalogueEntry> entries)
        {
            here.Out.WriteLine(title);
            int width = entries.Count == 0 ? 0 : entries.Max(static entry => entry.Name.Length);
            foreach (CatalogueEntry entry in entries) here.Out.WriteLine($"  {Line.Of(entry.Name).PadRight(width)}  {Line.Of(entry.Summary)}");
        }
    }
}

using System.Diagnostics;
using System.Text.Json;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scripts;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Concurrency;

/// <summary>From a failure that was generated to the textbook case.</summary>
public sealed class ShrinkTests(ITestOutputHelper output)
{
    private const ulong Seed = 1;
    private const int Scripts = 400, SchedulesEach = 20, Threads = 4;

    // More than a shrink may try, so that what it left out is found here.
    private const int AllSchedules = 4000;

    private static readonly ScheduleStage Stage = new(Path.Combine(AppContext.BaseDirectory, "controlled", "explorer.dll"));

    [Theory]
    [InlineData("early-detach", 0, 6, 2)]
    [InlineData("forget-narrowing", 1, 6, 2)]
    // Found so seldom that the limit comes first.
    [InlineData("forget-sync", 1, 10, 12)]
    public void A_failure_of_four_threads_shrinks_to_the_textbook_case_and_replays_in_another_process(string name, int interruptions, int steps, int pages)
    {
        PlantedFault fault = PlantedFault.Find(name)!;
        int schedules = 0;
        FoundFailure found = Find(fault) with { Fault = fault with { Wrap = iommu => Count(fault.Wrap!(iommu)) } };
        var watch = Stopwatch.StartNew();
        FoundFailure shrunk = Shrinker.Shrink(found);
        ScriptSize size = ScriptSize.Of(shrunk.Scenario.Script!.Scenario);
        string report = FailureReport.Print(shrunk);
        output.WriteLine($"{ScriptSize.Of(found.Scenario.Script!.Scenario)}, shrunk to {size}, pages {size.Pages}, in {schedules} schedules and {watch.Elapsed.TotalSeconds:F1} s");
        output.WriteLine($"{found.Failure.Interruptions} interruptions and {found.Failure.Switches} switches, shrunk to {shrunk.Interruptions}, {shrunk.Failure.Switches} switches\n{report}");
        Assert.Equal(found.Failure.Violation.Invariant, shrunk.Failure.Violation.Invariant);
        Assert.InRange(size.Threads, 2, 2);
        Assert.InRange(size.Operations, 2, 6);
        Assert.InRange(size.Steps, 6, steps);
        Assert.InRange(size.Pages, 2UL, (ulong)pages);
        Assert.InRange(shrunk.Failure.Switches, 1, LeastSwitches(shrunk) + 1);
        Assert.Equal((interruptions, true), (shrunk.Interruptions!.Count, shrunk.Interruptions.IsLeast));
        Assert.Contains(interruptions == 0 ? "; 0 interruptions; " : $"; 1 interruption, the fewest: all {shrunk.Interruptions.Schedules} schedules with 0 were run; ", report);

        FailureFile file = FailureFile.Parse(FailureReport.ToFile(shrunk).ToString());
        StageFailure? replayed = Stage.Replay(file);
        Assert.NotNull(replayed);
        // What the replay adds is what was seen by who looked on.
        Assert.StartsWith(report[..report.IndexOf("steps matter", StringComparison.Ordinal)].TrimEnd("0123456789 of".ToCharArray()), replayed.Report);
        Assert.Equal(file.ToString(), replayed.FileContent);
        Assert.Equal(replayed, Stage.Replay(file));

        // Each schedule has a machine of its own.
        T Count<T>(T made)
        {
            schedules++;
            return made;
        }
    }

    [Theory]
    // What one thread needs of another is done before.
    [InlineData("early-detach", Invariant.Isolation, 2, "", "back r0 m0; deactivate a0; read d0 0x0")]
    // Two that have to run beside the device do not have to run beside each other.
    [InlineData("forget-sync", Invariant.FrameSafety, 3, "back r0 m0", "unback r0; free m0; read d0 0x0")]
    public void Three_threads_become_two(string name, Invariant broken, int operations, string before, string threads)
    {
        string[] steps = ["v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "m0 = allocate 4K of 4K", "a0 = associate v0 d0", "activate a0", .. before.Split("; ", StringSplitOptions.RemoveEmptyEntries)];
        var script = Script.FromJson("three", JsonSerializer.SerializeToNode(new
        {
            summary = "three threads",
            scenario = new { topology = new { devices = 1 }, steps, threads = threads.Split("; ").Select(static line => new[] { line }) },
        }));
        var campaign = new Campaign(script.ToScenario(), PlantedFault.Find(name)!, new(Seed));
        for (int round = 0; round < 40 && campaign.Failure?.Failure.Violation.Invariant != broken; round++) campaign.Run(round);
        Assert.Equal(broken, campaign.Failure!.Failure.Violation.Invariant);
        FoundFailure shrunk = Shrinker.Shrink(campaign.Failure);
        output.WriteLine(FailureReport.Print(shrunk));
        Assert.Equal(broken, shrunk.Failure.Violation.Invariant);
        Assert.Equal(new ScriptSize(2, operations, 6, 2), ScriptSize.Of(shrunk.Scenario.Script!.Scenario));
    }

    [Fact]
    public void Of_schedules_with_as_many_interruptions_the_one_with_the_fewest_switches_is_kept()
    {
        // Fails in each order. Without an interruption a, a, b has the fewest switches, beside that to whoever looks at the end.
        var scenario = new ConcurrentScenario("three", "three tasks of two agents", [], static (attempt, _, _) => new(
            () =>
            {
                Task[] all = [.. "aba".Select(agent => Task.Run(() =>
                {
                    Attempt.Agent = $"cpu {agent}";
                    attempt.Note(EventKind.Call, text: "acts");
                    Controlled.Step();
                    attempt.Note(EventKind.Call, text: "acts again");
                }))];
                Task.WaitAll(all);
                Attempt.Agent = Attempt.SetUpAgent;
                attempt.Check(Invariant.Conservation, false, static () => "lost", static () => "nothing is");
            },
            static () => { }));
        Exploration exploration;
        uint seed = 0;
        var plan = new ExplorationPlan(Strategy.Random, seed, 1);
        do exploration = Controlled.Explore(plan = plan with { Seed = ++seed }, attempt => scenario.Run(attempt, PlantedFault.None));
        while (exploration.Failure!.Switches < 5);
        FoundFailure shrunk = Shrinker.Shrink(new(scenario, PlantedFault.None, plan, exploration.Failure));
        Assert.Equal((0, 2), (shrunk.Interruptions!.Count, shrunk.Failure.Switches));
    }

    [Theory]
    [InlineData(40)]
    [InlineData(150)]
    [InlineData(int.MaxValue)]
    public void A_failure_shrinks_to_the_same_each_time_also_if_it_is_stopped(int questions)
    {
        FoundFailure found = Find(PlantedFault.Find("early-detach")!);
        Assert.Equal(Shrink(), Shrink());

        string Shrink()
        {
            int asked = 0;
            return FailureReport.ToFile(Shrinker.Shrink(found, () => ++asked > questions)).ToString();
        }
    }

    [Fact]
    public void A_shrink_that_is_stopped_has_what_it_has_found()
    {
        FoundFailure found = Find(PlantedFault.Find("early-detach")!);
        Assert.Same(found.Failure, Shrinker.Shrink(found, static () => true).Failure);
        int asked = 0;
        FoundFailure some = Shrinker.Shrink(found, () => ++asked > 40);
        ScriptSize before = ScriptSize.Of(found.Scenario.Script!.Scenario), after = ScriptSize.Of(some.Scenario.Script!.Scenario), least = ScriptSize.Of(Shrinker.Shrink(found).Scenario.Script!.Scenario);
        Assert.True(after.CompareTo(before) < 0 && after.CompareTo(least) > 0, $"{before}, then {after}, {least} at the end");
        Assert.NotNull(FailureReport.Replay(FailureReport.ToFile(some)));
    }

    /// <summary>The first generated script with four threads beside its devices that fails as the fault is said to.</summary>
    private static FoundFailure Find(PlantedFault fault)
    {
        for (int number = 0; number < Scripts; number++)
        {
            Script script = GeneratedScripts.Make(Seed, number);
            if (script.Agents.Count(static agent => agent.StartsWith("cpu", StringComparison.Ordinal)) != Threads) continue;
            var campaign = new Campaign(script.ToScenario(), fault, new(Seed) { SchedulesPerRound = SchedulesEach });
            campaign.Run(number);
            if (campaign.Failure is { } found && found.Failure.Violation.Invariant == fault.CaughtBy) return found;
        }

        throw new InvalidOperationException($"no generated script finds {fault.Name}");
    }

    /// <summary>Of all schedules that interrupt no more often.</summary>
    private static int LeastSwitches(FoundFailure shrunk)
    {
        int least = int.MaxValue;
        Controlled.Exhaust(
            new(Strategy.Random, 0, AllSchedules), shrunk.Failure.Interruptions, attempt => shrunk.Scenario.Run(attempt, shrunk.Fault),
            goesOn: failure =>
            {
                if (failure.Violation.Invariant == shrunk.Failure.Violation.Invariant) least = Math.Min(least, failure.Switches);
                return true;
            });
        return least;
    }
}

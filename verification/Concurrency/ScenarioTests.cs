using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scripts;
using Harness.Failures;
using Xunit.Abstractions;

namespace Concurrency;

/// <summary>The library survives what its planted faults do not.</summary>
public sealed class ScenarioTests(ITestOutputHelper output)
{
    private const int Schedules = 2000;

    /// <summary>Within which each planted fault is to be found.</summary>
    private const int FaultySchedules = 10_000;

    private const ulong Seed = 1;

    /// <summary>An interesting state that fewer schedules than this reach is reached by luck.</summary>
    private const double MinimumRate = 0.005;

    public static TheoryData<string> Scenarios => [.. ConcurrentScenario.All.Select(scenario => scenario.Name)];

    public static TheoryData<string> Faults => [.. PlantedFault.All.Select(fault => fault.Name)];

    [Theory]
    [MemberData(nameof(Scenarios))]
    public void The_library_survives_two_thousand_schedules_that_reach_what_matters(string name)
    {
        ConcurrentScenario scenario = ConcurrentScenario.Find(name)!;
        Campaign campaign = Explore(scenario, PlantedFault.None, Schedules);
        Assert.True(campaign.Failure is null, campaign.Failure is null ? "" : FailureReport.Print(campaign.Failure));
        Assert.Equal(Schedules, campaign.Totals.Schedules);
        foreach (string state in scenario.Sometimes)
        {
            double rate = campaign.Totals.Reached.GetValueOrDefault(state) / (double)Schedules;
            output.WriteLine($"{rate,7:P1} {state}");
            Assert.True(rate >= MinimumRate, $"\"{state}\" was reached in {rate:P2} of the schedules");
        }
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_planted_fault_is_found_by_the_invariant_that_names_it_and_seen_again_as_it_was(string name)
    {
        PlantedFault fault = PlantedFault.Find(name)!;
        Campaign campaign = Explore(ConcurrentScenario.Find(fault.Scenario)!, fault, FaultySchedules);
        Assert.NotNull(campaign.Failure);
        output.WriteLine($"found in schedule {campaign.Totals.Schedules}");

        FoundFailure shrunk = Shrinker.Shrink(campaign.Failure);
        string report = FailureReport.Print(shrunk);
        output.WriteLine($"{campaign.Failure.Failure.Switches} switches, shrunk to {shrunk.Failure.Switches}, {shrunk.Interruptions}\n{report}");
        Assert.Equal(fault.CaughtBy, campaign.Failure.Failure.Violation.Invariant);
        Assert.StartsWith($"I{(int)fault.CaughtBy} {fault.CaughtBy} is broken\n", report);
        AssertNoLarger(shrunk, campaign.Failure);

        FailureFile file = FailureFile.Parse(FailureReport.ToFile(shrunk).ToString());
        FoundFailure once = FailureReport.Replay(file)!, twice = FailureReport.Replay(file)!;
        Assert.Equal(report, FailureReport.Print(once with { Pages = [], Sights = [] }));
        // Looking on is no step: the same happens, and each event has a sight.
        Assert.Equal(shrunk.Failure.Violation, once.Failure.Violation);
        Assert.Equal(shrunk.Failure.Attempt.Events, once.Failure.Attempt.Events);
        Assert.Equal(once.Failure.Attempt.Events.Count, once.Sights.Count);
        Assert.Equal(FailureReport.Print(once, whole: true), FailureReport.Print(twice, whole: true));
    }

    private static void AssertNoLarger(FoundFailure shrunk, FoundFailure found)
    {
        if (shrunk.Scenario.Script is { } script && script.Scenario != found.Scenario.Script!.Scenario)
            // It has schedules of its own, of which the first that failed need not be better than that of the script as it was.
            Assert.True(ScriptSize.Of(script.Scenario).CompareTo(ScriptSize.Of(found.Scenario.Script.Scenario)) <= 0);
        else Assert.True((shrunk.Failure.Interruptions, shrunk.Failure.Switches).CompareTo((found.Failure.Interruptions, found.Failure.Switches)) <= 0);
    }

    [Fact]
    public void Each_scenario_has_a_fault_that_it_finds() =>
        Assert.Empty(ConcurrentScenario.All.Select(scenario => scenario.Name).Except(PlantedFault.All.Select(fault => fault.Scenario)));

    [Fact]
    public void A_schedule_of_a_fault_breaks_nothing_without_the_fault_or_does_not_fit()
    {
        PlantedFault fault = PlantedFault.Find("check-then-act")!;
        FailureFile file = FailureReport.ToFile(Explore(ConcurrentScenario.Find(fault.Scenario)!, fault, FaultySchedules).Failure!);
        file.Scenario["fault"] = "none";
        try
        {
            Assert.Null(FailureReport.Replay(file));
        }
        catch (Harness.BadInputException e)
        {
            Assert.Contains("does not fit", e.Message);
        }
    }

    private static Campaign Explore(ConcurrentScenario scenario, PlantedFault fault, int schedules)
    {
        var campaign = new Campaign(scenario, fault, new(Seed));
        for (int round = 0; campaign.Totals.Schedules < schedules && campaign.Failure is null; round++) campaign.Run(round);
        return campaign;
    }
}

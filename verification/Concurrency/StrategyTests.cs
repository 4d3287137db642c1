using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness.Failures;
using Xunit.Abstractions;

namespace Concurrency;

/// <summary>What each strategy is good for.</summary>
public sealed class StrategyTests(ITestOutputHelper output)
{
    public static TheoryData<Strategy> Strategies => [.. Enum.GetValues<Strategy>()];

    [Theory]
    [MemberData(nameof(Strategies))]
    public void A_strategy_finds_a_fault_again_from_its_seed_and_what_it_finds_replays(Strategy strategy)
    {
        FoundFailure found = Find(strategy, "check-then-act", out long schedules);
        Assert.Equal(FailureReport.Print(found), FailureReport.Print(Find(strategy, "check-then-act", out long again)));
        Assert.Equal(schedules, again);
        output.WriteLine($"found in schedule {schedules}");
        FoundFailure? replayed = FailureReport.Replay(FailureFile.Parse(FailureReport.ToFile(found).ToString()));
        Assert.Equal(FailureReport.Print(found), replayed is null ? null : FailureReport.Print(replayed));
    }

    private static FoundFailure Find(Strategy strategy, string fault, out long schedules)
    {
        PlantedFault planted = PlantedFault.Find(fault)!;
        var campaign = new Campaign(ConcurrentScenario.Find(planted.Scenario)!, planted, new(1) { Strategies = [strategy] });
        for (int round = 0; campaign.Failure is null && round < 20; round++) campaign.Run(round);
        Assert.NotNull(campaign.Failure);
        schedules = campaign.Totals.Schedules;
        return campaign.Failure;
    }
}

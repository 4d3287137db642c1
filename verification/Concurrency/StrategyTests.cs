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
        Assert.Equal(found.Failure.Violation, replayed?.Failure.Violation);
        Assert.Equal(found.Failure.Attempt.Events, replayed!.Failure.Attempt.Events);
    }

    [Fact]
    public void Rounds_go_round_and_half_as_many_again_to_who_finds_what_is_new()
    {
        Strategy[] four = [Strategy.Random, Strategy.Probabilistic, Strategy.QLearning, Strategy.DelayBounding];
        var portfolio = new Portfolio(four, 6);
        Assert.Equal([four[2], four[3], four[0], four[1]], Turns(4, static _ => 0));
        // Nobody found anything: nobody has more.
        Assert.Equal([four[2], four[3], four[0], four[1]], Turns(4, who => who == four[1] ? 9 : who == four[3] ? 8 : 1));
        Assert.Equal([four[1], four[3], four[2], four[3], four[0], four[1]], Turns(6, who => who == four[0] ? 50 : 1));
        // Twice, since half of what one found is more than all of another.
        Assert.Equal([four[0], four[0]], Turns(2, static _ => 0));

        Strategy[] Turns(int count, Func<Strategy, int> found) => [.. Enumerable.Range(0, count).Select(_ =>
        {
            Strategy strategy = portfolio.Next();
            portfolio.Tell(strategy, 50, found(strategy));
            return strategy;
        })];
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

using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>What is muted is found, counted and not told, and the schedules go on.</summary>
public sealed class MuteTests
{
    private const int Schedules = 60;

    [Fact]
    public void A_check_that_is_muted_is_counted_and_the_schedule_goes_on()
    {
        int ends = 0;
        long breaches = 0;
        Exploration result = Controlled.Explore(
            Plan(Invariant.Conservation),
            attempt =>
            {
                attempt.Check(Invariant.Conservation, false, static () => "seen", static () => "expected");
                ends++;
            },
            attempt => breaches += attempt.MutedBreaches[(int)Invariant.Conservation]);
        Assert.Null(result.Failure);
        Assert.Equal((Schedules, Schedules, Schedules), (result.Schedules, ends, (int)breaches));
    }

    [Fact]
    public void Another_check_still_ends_it()
    {
        Exploration result = Controlled.Explore(Plan(Invariant.Conservation), static attempt => attempt.Check(Invariant.FrameSafety, false, static () => "seen", static () => "expected"));
        Assert.Equal(Invariant.FrameSafety, result.Failure?.Violation.Invariant);
    }

    /// <summary>Nobody can go on in a schedule that ends so; those after it run all the same.</summary>
    [Fact]
    public void A_deadlock_that_is_muted_does_not_end_the_exploration()
    {
        Exploration heard = Controlled.Explore(Plan(Invariant.Frugal), _ => Deadlock());
        Assert.Equal(Invariant.Progress, heard.Failure?.Violation.Invariant);
        Exploration muted = Controlled.Explore(Plan(Invariant.Progress), _ => Deadlock());
        Assert.Null(muted.Failure);
        Assert.Equal(Schedules, muted.Schedules);
        Assert.InRange(muted.MutedEnds.Count, 2, Schedules);
        (bool isComplete, Exploration all) = Controlled.Exhaust(Plan(Invariant.Progress) with { Schedules = 2000 }, 1, _ => Deadlock());
        Assert.True(isComplete);
        Assert.Null(all.Failure);
        Assert.NotEmpty(all.MutedEnds);
    }

    [Fact]
    public void A_campaign_counts_what_is_muted()
    {
        PlantedFault fault = PlantedFault.Find("no-doorbell-fence")!;
        var campaign = new Campaign(ConcurrentScenario.Find(fault.Scenario)!, fault, new(1) { Muted = InvariantSet.Of(Invariant.Progress) });
        for (int round = 0; round < 4; round++) campaign.Run(round);
        Assert.Null(campaign.Failure);
        Assert.InRange(campaign.Totals.Muted[Invariant.Progress], 1, long.MaxValue);
    }

    /// <summary>Whoever sends takes the interrupts of cores that execute nothing, another sender's too, who waits for that.</summary>
    [Fact]
    public void Two_that_interrupt_cores_beside_each_other_do_not_wait_for_ever()
    {
        var campaign = new Campaign(ConcurrentScenario.Find("shared-process")!, PlantedFault.Find("shoots-for-devices")!, new(1) { Muted = InvariantSet.Of(Invariant.OneSided) });
        for (int round = 0; round < 4; round++) campaign.Run(round);
        Assert.Null(campaign.Failure);
        Assert.InRange(campaign.Totals.Muted[Invariant.OneSided], 1, long.MaxValue);
    }

    private static void Deadlock()
    {
        object first = new(), second = new();
        Task[] both =
        [
            Task.Run(() => { lock (first) lock (second) Controlled.Step(); }),
            Task.Run(() => { lock (second) lock (first) Controlled.Step(); }),
        ];
        Task.WaitAll(both);
    }

    private static ExplorationPlan Plan(Invariant muted) => new(Strategy.Random, 1, Schedules) { Muted = InvariantSet.Of(muted), MaxSteps = 2000 };
}

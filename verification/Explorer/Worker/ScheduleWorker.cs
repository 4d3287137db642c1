using System.Runtime.CompilerServices;
using Explorer.Campaigns;
using Explorer.Reporting;
using Explorer.Scenarios;
using Harness;
using Harness.Failures;
using Harness.Schedules;

namespace Explorer.Worker;

/// <summary>Explores or replays, and says what happens.</summary>
/// <param name="say">Takes each message.</param>
/// <param name="stop">True once whoever listens has had enough.</param>
internal sealed class ScheduleWorker(Action<WorkerMessage> say, Func<bool> stop)
{
    /// <summary>
    /// Round after round, each of every scenario that has not failed yet, so that all get the same number of schedules.
    /// </summary>
    public void Explore(WorkerOptions options)
    {
        var plan = new CampaignPlan(options.Seed) { Only = options.Strategy, SchedulesPerRound = options.SchedulesPerRound, Stop = stop };
        // A generated scenario does not come again, and its campaign goes with it.
        var campaigns = new ConditionalWeakTable<ConcurrentScenario, Campaign>();
        int rounds = options.Rounds == 0 ? int.MaxValue : options.Rounds;
        for (int i = 0, round = options.FirstRound; i < rounds; i++, round += options.RoundStep)
        {
            bool isAnyLeft = false;
            foreach ((ConcurrentScenario scenario, int itsRound) in options.Scenarios.Of(options.Seed, round))
            {
                if (stop()) return;
                Campaign campaign = campaigns.GetValue(scenario, it => new(it, options.Fault, plan));
                if (campaign.Failure is not null) continue;
                isAnyLeft = true;
                ExploreRound(campaign, itsRound);
            }

            if (!isAnyLeft) return;
        }
    }

    /// <summary>Runs the schedule in a file.</summary>
    public void Replay(string path)
    {
        FoundFailure? found = FailureReport.Replay(FailureFile.Parse(Read(path)));
        if (found is null) say(new CleanMessage());
        else Tell(found, 0);
    }

    private void ExploreRound(Campaign campaign, int round)
    {
        RoundResult result = campaign.Run(round);
        say(new RoundMessage(
            campaign.Scenario.Name, round, result.Plan.Strategy.ToString(), result.Plan.Seed, result.Totals.Schedules, result.Totals.Steps, result.Totals.Checks,
            result.Totals.Reached, result.NewBehaviours));
        if (campaign.Failure is { } failure) Tell(Shrinker.Shrink(failure, stop), round);
    }

    private void Tell(FoundFailure found, int round) => say(new FailureMessage(
        found.Scenario.Name, round, found.Failure.Violation.Invariant, found.Failure.Violation.Observed, found.Failure.Violation.Expected,
        FailureReport.Print(found), FailureReport.ToFile(found).ToString()));

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"{path} cannot be read: {e.Message}");
        }
    }
}

using Explorer.Campaigns;
using Explorer.Reporting;
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
        List<Campaign> left = [.. options.Scenarios.Select(scenario => new Campaign(scenario, options.Fault, plan))];
        int rounds = options.Rounds == 0 ? int.MaxValue : options.Rounds;
        for (int i = 0, round = options.FirstRound; i < rounds; i++, round += options.RoundStep)
        {
            foreach (Campaign campaign in left.ToArray())
            {
                if (stop()) return;
                if (!ExploreRound(campaign, round)) left.Remove(campaign);
            }

            if (left.Count == 0) return;
        }
    }

    /// <summary>Runs the schedule in a file.</summary>
    public void Replay(string path)
    {
        FoundFailure? found = FailureReport.Replay(FailureFile.Parse(Read(path)));
        if (found is null) say(new CleanMessage());
        else Tell(found, 0);
    }

    private bool ExploreRound(Campaign campaign, int round)
    {
        RoundResult result = campaign.Run(round);
        say(new RoundMessage(
            campaign.Scenario.Name, round, result.Plan.Strategy.ToString(), result.Plan.Seed, result.Totals.Schedules, result.Totals.Steps, result.Totals.Checks,
            result.Totals.Reached, result.NewBehaviours));
        if (campaign.Failure is not { } failure) return true;
        Tell(Shrinker.Shrink(failure, stop), round);
        return false;
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

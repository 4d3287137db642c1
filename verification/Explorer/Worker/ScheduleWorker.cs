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
        var failed = new HashSet<string>();
        int rounds = options.Rounds == 0 ? int.MaxValue : options.Rounds;
        for (int i = 0, round = options.FirstRound; i < rounds; i++, round += options.RoundStep)
        {
            bool isAnyLeft = false;
            foreach ((ConcurrentScenario scenario, int itsRound) in options.Scenarios.Of(options.Seed, round))
            {
                if (stop()) return;
                if (failed.Contains(scenario.Name)) continue;
                isAnyLeft = true;
                if (!ExploreRound(scenario, options, plan, itsRound)) failed.Add(scenario.Name);
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

    private bool ExploreRound(ConcurrentScenario scenario, WorkerOptions options, CampaignPlan plan, int round)
    {
        var totals = new CampaignTotals();
        totals.Run(scenario, options.Fault, plan, round);
        Scheduling.ExplorationPlan used = plan.Round(scenario, round);
        say(new RoundMessage(scenario.Name, round, used.Strategy.ToString(), used.Seed, totals.Schedules, totals.Steps, totals.Checks, totals.Reached));
        if (totals.Failure is not { } failure) return true;
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

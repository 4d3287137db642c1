using Explorer.Scheduling;

namespace Explorer.Campaigns;

/// <summary>
/// Looks for an easier schedule that breaks the same invariant: explores the scenario again with strategies that may switch
/// only a few times, and keeps the schedule with the fewest switches, then the fewest events.
/// </summary>
public static class Shrinker
{
    /// <summary>How many schedules it may try.</summary>
    public const int ScheduleLimit = 600;

    private const int SchedulesPerTry = 50;

    private static readonly (Strategy Strategy, int Bound)[] Narrow =
    [
        (Strategy.Prioritization, 1), (Strategy.DelayBounding, 1), (Strategy.Prioritization, 2), (Strategy.DelayBounding, 2),
        (Strategy.Probabilistic, 5), (Strategy.Prioritization, 5), (Strategy.DelayBounding, 5), (Strategy.Probabilistic, 4),
    ];

    /// <summary>The easiest of <paramref name="found"/> and what the search finds; the same for the same seed.</summary>
    /// <param name="found">What to shrink.</param>
    /// <param name="stop">Asked before each schedule; true ends the search.</param>
    public static FoundFailure Shrink(FoundFailure found, Func<bool>? stop = null)
    {
        FoundFailure best = found;
        int left = ScheduleLimit;
        for (uint round = 1; left > 0; round++)
        {
            foreach ((Strategy strategy, int bound) in Narrow)
            {
                if (left <= 0 || (stop is not null && stop())) return best;
                var plan = new ExplorationPlan(strategy, unchecked(found.Plan.Seed + 7919 * round) & int.MaxValue, Math.Min(SchedulesPerTry, left))
                {
                    Bound = bound,
                    Stop = stop,
                };
                Exploration result = Controlled.Explore(plan, attempt => found.Scenario.Run(attempt, found.Fault));
                left -= Math.Max(1, result.Schedules);
                if (result.Failure is { } failure && IsEasier(failure, best.Failure)) best = found with { Plan = plan, Failure = failure };
            }
        }

        return best;
    }

    private static bool IsEasier(ScheduleFailure candidate, ScheduleFailure best) =>
        candidate.Violation.Invariant == best.Violation.Invariant
        && (candidate.Switches, candidate.Attempt.Events.Count).CompareTo((best.Switches, best.Attempt.Events.Count)) < 0;
}

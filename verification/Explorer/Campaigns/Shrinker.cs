using Explorer.Scheduling;

namespace Explorer.Campaigns;

/// <summary>
/// Looks for an easier schedule that breaks the same invariant: explores the scenario again with strategies that may switch
/// only a few times, and keeps the schedule with the fewest switches, then the fewest events.
/// </summary>
public static class Shrinker
{
    /// <summary>How many schedules it may try.</summary>
    public const int ScheduleLimit = 1000;

    private const int SchedulesPerTry = 50;
    private static readonly int[] Bounds = [1, 2, 3, 5];
    private static readonly Strategy[] Strategies = [Strategy.Prioritization, Strategy.DelayBounding];

    /// <summary>The easiest of <paramref name="found"/> and what the search finds; the same for the same seed.</summary>
    /// <param name="found">What to shrink.</param>
    /// <param name="stop">Asked before each schedule; true ends the search.</param>
    public static FoundFailure Shrink(FoundFailure found, Func<bool>? stop = null)
    {
        FoundFailure best = found;
        int left = ScheduleLimit;
        for (uint round = 1; left > 0; round++)
        {
            foreach (Strategy strategy in Strategies)
            {
                foreach (int bound in Bounds)
                {
                    if (left <= 0 || (stop is not null && stop())) return best;
                    uint seed = unchecked(found.Plan.Seed + 7919 * round) & int.MaxValue;
                    var plan = new ExplorationPlan(strategy, seed, Math.Min(SchedulesPerTry, left))
                    {
                        Bound = bound,
                        Grain = found.Plan.Grain,
                        MaxSteps = found.Plan.MaxSteps,
                        Stop = stop,
                    };
                    Exploration result = Controlled.Explore(plan, attempt => found.Scenario.Run(attempt, found.Fault));
                    left -= Math.Max(1, result.Schedules);
                    if (result.Failure is { } failure && IsEasier(failure, best.Failure)) best = found with { Plan = plan, Failure = failure };
                }
            }
        }

        return best;
    }

    private static bool IsEasier(ScheduleFailure candidate, ScheduleFailure best) =>
        candidate.Violation.Invariant == best.Violation.Invariant
        && (candidate.Switches, candidate.Attempt.Events.Count).CompareTo((best.Switches, best.Attempt.Events.Count)) < 0;
}

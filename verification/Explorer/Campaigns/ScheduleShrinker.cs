using Explorer.Scheduling;

namespace Explorer.Campaigns;

/// <summary>
/// Looks for an easier schedule of the same scenario: the fewest interruptions, by running all schedules with none, then with one, and so on; of those the fewest switches,
/// then the fewest events. Where those are too many schedules, strategies that may switch only a few times look on.
/// </summary>
/// <param name="found">What failed.</param>
/// <param name="stop">Asked before each schedule; true ends the search.</param>
internal sealed class ScheduleShrinker(FoundFailure found, Func<bool>? stop)
{
    /// <summary>How many schedules it may try one after the other, with so many events, and how many with narrow strategies.</summary>
    public const int ExhaustiveLimit = 1500, EventLimit = 200_000, NarrowLimit = 600;

    private const int SchedulesPerTry = 50;

    private static readonly (Strategy Strategy, int Bound)[] Narrow =
    [
        (Strategy.Prioritization, 1), (Strategy.DelayBounding, 1), (Strategy.Prioritization, 2), (Strategy.DelayBounding, 2),
        (Strategy.Probabilistic, 5), (Strategy.Prioritization, 5), (Strategy.DelayBounding, 5), (Strategy.Probabilistic, 4),
    ];

    private readonly FoundFailure _found = found;
    private FoundFailure _best = found;
    private int _excluded = -1, _excludedSchedules;

    /// <summary>The easiest that is found.</summary>
    public FoundFailure Shrink()
    {
        if (!Exhaust()) SearchNarrowly();
        return _best with { Interruptions = new(_best.Failure.Interruptions, _excluded, _excludedSchedules) };
    }

    /// <summary>Runs all schedules with as few interruptions as one that fails has.</summary>
    /// <returns>Whether they were all run, so that none is easier.</returns>
    private bool Exhaust()
    {
        int left = ExhaustiveLimit;
        long events = 0;
        bool IsTooMuch() => events > EventLimit || IsOver;
        for (int interruptions = 0; left > 0 && !IsTooMuch(); interruptions++)
        {
            bool isFound = false;
            var plan = new ExplorationPlan(Strategy.Random, 0, left) { Stop = IsTooMuch, Muted = _found.Plan.Muted };
            (bool isComplete, Exploration result) = Controlled.Exhaust(plan, interruptions, Run, attempt => events += attempt.Events.Count, failure =>
            {
                isFound |= IsSame(failure);
                Keep(plan, failure);
                return true;
            });
            if (isFound || !isComplete) return isFound && isComplete;
            (_excluded, _excludedSchedules) = (interruptions, result.Schedules);
            left -= result.Schedules;
        }

        return false;
    }

    private void SearchNarrowly()
    {
        int left = NarrowLimit;
        for (uint round = 1; left > 0; round++)
        {
            foreach ((Strategy strategy, int bound) in Narrow)
            {
                if (left <= 0 || IsOver) return;
                var plan = new ExplorationPlan(strategy, unchecked(_found.Plan.Seed + 7919 * round) & int.MaxValue, Math.Min(SchedulesPerTry, left))
                {
                    Bound = bound,
                    Muted = _found.Plan.Muted,
                    Stop = stop,
                };
                Exploration result = Controlled.Explore(plan, Run);
                left -= Math.Max(1, result.Schedules);
                if (result.Failure is { } failure) Keep(plan, failure);
            }
        }
    }

    private void Keep(ExplorationPlan plan, ScheduleFailure failure)
    {
        if (IsSame(failure) && SizeOf(failure).CompareTo(SizeOf(_best.Failure)) < 0) _best = _found with { Plan = plan, Failure = failure };
    }

    private bool IsOver => stop is not null && stop();

    private void Run(Attempt attempt) => _found.Scenario.Run(attempt, _found.Fault);

    private bool IsSame(ScheduleFailure failure) => Shrinker.IsSame(failure.Violation, _found.Failure.Violation);

    private static (int, int, int) SizeOf(ScheduleFailure failure) => (failure.Interruptions, failure.Switches, failure.Attempt.Events.Count);
}

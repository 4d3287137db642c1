using Vcmm.Spec;

namespace Explorer.Scheduling;

/// <summary>What to explore with.</summary>
/// <param name="Strategy">How the scheduler chooses.</param>
/// <param name="Seed">Every choice comes from it.</param>
/// <param name="Schedules">How many to run at most.</param>
public sealed record ExplorationPlan(Strategy Strategy, uint Seed, int Schedules)
{
    /// <summary>
    /// How many of its moves a strategy has: priority changes, delays, or the negative binary logarithm of the probability of
    /// leaving a task. The two that count none pass over it.
    /// </summary>
    public int Bound { get; init; } = DefaultBound(Strategy);

    /// <summary>What counts as a step.</summary>
    public Grain Grain { get; init; } = Grain.Synchronization;

    /// <summary>A schedule with more steps than this is a failure: somebody waits in a loop for ever.</summary>
    public int MaxSteps { get; init; } = 20_000;

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Asked before each schedule; true ends the exploration.</summary>
    public Func<bool>? Stop { get; init; }

    private static int DefaultBound(Strategy strategy) => strategy == Strategy.Probabilistic ? 3 : 10;
}

/// <summary>What an exploration found.</summary>
public sealed record Exploration
{
    /// <summary>Schedules that were run, the failing one included.</summary>
    public required int Schedules { get; init; }

    /// <summary>Scheduling decisions in all of them.</summary>
    public required long Steps { get; init; }

    /// <summary>Calls that the scheduler does not control; there must be none.</summary>
    public required IReadOnlyList<string> Uncontrolled { get; init; }

    /// <summary>How many tasks besides the one that starts them could go on at the same time, at most.</summary>
    public required int MostRunnable { get; init; }

    /// <summary>The failure at which the exploration ended, or null.</summary>
    public required ScheduleFailure? Failure { get; init; }

    /// <summary>What is muted and ended a schedule, since nobody could go on.</summary>
    public IReadOnlyList<Invariant> MutedEnds { get; init; } = [];

    /// <summary>The same if what ended it is muted: then that is no failure.</summary>
    internal Exploration WithMuted(InvariantSet muted) => Failure is { } failure && muted.Contains(failure.Violation.Invariant)
        ? this with { Failure = null, MutedEnds = [.. MutedEnds, failure.Violation.Invariant] }
        : this;

    /// <summary>This one and one that came after it.</summary>
    internal Exploration And(Exploration next) => new()
    {
        Schedules = Schedules + next.Schedules,
        Steps = Steps + next.Steps,
        Uncontrolled = [.. Uncontrolled.Union(next.Uncontrolled).Order(StringComparer.Ordinal)],
        MostRunnable = Math.Max(MostRunnable, next.MostRunnable),
        Failure = Failure ?? next.Failure,
        MutedEnds = [.. MutedEnds, .. next.MutedEnds],
    };
}

/// <summary>A schedule that breaks something.</summary>
/// <param name="Attempt">What was recorded while it ran.</param>
/// <param name="Violation">What is broken.</param>
/// <param name="Trace">The scheduler's own record, from which <see cref="Controlled.Replay"/> runs it again.</param>
public sealed record ScheduleFailure(Attempt Attempt, Violation Violation, string Trace)
{
    /// <summary>How often another agent goes on than the one before: what makes a schedule hard to read.</summary>
    public int Switches { get; } = CountSwitches(Attempt.Events);

    /// <summary>How often a task was interrupted that could have gone on.</summary>
    public int Interruptions { get; } = ScheduleTrace.Interruptions(Trace);

    private static int CountSwitches(IReadOnlyList<ScheduleEvent> events)
    {
        int count = 0;
        for (int i = 1; i < events.Count; i++)
        {
            if (events[i].Agent != events[i - 1].Agent) count++;
        }

        return count;
    }
}

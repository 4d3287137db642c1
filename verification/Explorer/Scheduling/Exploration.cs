namespace Explorer.Scheduling;

/// <summary>What to explore with.</summary>
/// <param name="Strategy">How the scheduler chooses.</param>
/// <param name="Seed">Every choice comes from it.</param>
/// <param name="Schedules">How many to run at most.</param>
public sealed record ExplorationPlan(Strategy Strategy, uint Seed, int Schedules)
{
    /// <summary>What counts as a step.</summary>
    public Grain Grain { get; init; } = Grain.Synchronization;

    /// <summary>A schedule with more steps than this is a failure: somebody waits in a loop for ever.</summary>
    public int MaxSteps { get; init; } = 20_000;

    /// <summary>Asked before each schedule; true ends the exploration.</summary>
    public Func<bool>? Stop { get; init; }
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

    /// <summary>The failure at which the exploration ended, or null.</summary>
    public required ScheduleFailure? Failure { get; init; }
}

/// <summary>A schedule that breaks something.</summary>
/// <param name="Attempt">What was recorded while it ran.</param>
/// <param name="Message">What the scheduler or the scenario said.</param>
/// <param name="Kind">In what way it broke.</param>
/// <param name="Trace">The scheduler's own record, from which <see cref="Controlled.Replay"/> runs it again.</param>
public sealed record ScheduleFailure(Attempt Attempt, string Message, FailureKind Kind, string Trace);

/// <summary>In what way a schedule broke.</summary>
public enum FailureKind
{
    /// <summary>A check of the scenario said so.</summary>
    Violation,

    /// <summary>Nobody can go on.</summary>
    Deadlock,

    /// <summary>Somebody goes on for ever.</summary>
    TooManySteps,

    /// <summary>An exception that nobody expected.</summary>
    Exception,

    /// <summary>The exploration itself is unsound: a call that the scheduler does not control.</summary>
    Uncontrolled,
}

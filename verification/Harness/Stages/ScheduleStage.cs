using Harness.Failures;
using Harness.Schedules;

namespace Harness.Stages;

/// <summary>
/// Explores the interleavings of the concurrent scenarios under a scheduler that decides every step. The scheduler needs
/// assemblies rewritten for it, so a worker process does it: one for each processor, each with rounds of its own.
/// </summary>
/// <param name="worker">The worker's assembly in its folder of rewritten ones: <c>controlled/explorer.dll</c>.</param>
public sealed class ScheduleStage(string worker) : IStage, IScheduleReplayer
{
    /// <inheritdoc cref="IStage.Name"/>
    public string Name => "schedules";

    /// <inheritdoc cref="IStage.Missing"/>
    public string? Missing => ScheduleHunt.MissingOf(worker);

    /// <summary>The scenario to explore; <c>all</c>: each that is written as code in each round, and beside them one of the scripts and a generated one; <c>code</c>, <c>scripts</c>, <c>generated</c>: those alone.</summary>
    public string Scenario { get; init; } = "all";

    /// <summary>What is wrong on purpose, to see it found; <c>none</c> for the library as it is.</summary>
    public string Fault { get; init; } = "none";

    /// <summary>How many workers run beside each other; 1 … 64.</summary>
    public int Workers { get; init; } = ScheduleRequest.WorkersHere;

    /// <summary>Explores until the budget is spent or every scenario has failed.</summary>
    /// <exception cref="BadInputException">The scenario or the fault does not exist.</exception>
    /// <exception cref="InvalidOperationException">A worker broke down.</exception>
    public StageReport Run(StageContext context)
    {
        long begun = context.Time.GetTimestamp();
        var request = new ScheduleRequest(context.Seed)
        {
            Scenario = Scenario, Fault = Fault, Workers = Workers, Budget = context.Budget, Schedules = context.Most, Muted = context.Muted, IsBrief = context.IsBrief,
        };
        ScheduleTally tally = ScheduleHunt.Run(
            worker, request, context.Time, (so, elapsed) => context.Progress(new(Math.Min(1, elapsed / context.Budget), so.Describe(elapsed))), context.Stop);
        // What was found is worth more than that something broke.
        if (tally.Problem is { } problem && tally.Failures.Count == 0) throw new InvalidOperationException(problem);
        return new()
        {
            Name = Name,
            Elapsed = context.Time.GetElapsedTime(begun),
            Ran = [("schedules", tally.Schedules), ("steps", tally.Steps), ("behaviours", tally.Behaviours)],
            Checks = tally.Checks,
            Muted = tally.Muted,
            Failures = [.. tally.Failures.Select(static found => found.Failure)],
        };
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file) => Replay(file, whole: false, withPage: false)?.Failure;

    /// <inheritdoc/>
    public ReplayedSchedule? Replay(FailureFile file, bool whole, bool withPage) =>
        ScheduleHunt.Replay(worker, file.ToString(), whole, withPage) is { } again ? new(FoundSchedule.Of(again).Failure, again.Page) : null;
}

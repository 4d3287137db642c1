using Harness.Stages;

namespace Verify.Running;

/// <summary>What became of a stage.</summary>
internal enum StageState
{
    /// <summary>It ran and reported.</summary>
    Ran,

    /// <summary>It lacks something that it needs.</summary>
    Missing,

    /// <summary>It threw, or did not end long after its budget.</summary>
    Broke,

    /// <summary>It was stopped by the user before it could report.</summary>
    Stopped,

    /// <summary>The user stopped the run before its turn.</summary>
    NotStarted,
}

/// <summary>A stage after the run.</summary>
/// <param name="Name">The stage's name.</param>
/// <param name="State">What became of it.</param>
/// <param name="Budget">What it was given.</param>
/// <param name="Report">What it did; null unless it <see cref="StageState.Ran"/>.</param>
/// <param name="Note">Why it has no report, on one line; null if it has.</param>
/// <param name="Error">What it threw, for <c>--verbose</c>.</param>
internal sealed record StageOutcome(string Name, StageState State, TimeSpan Budget, StageReport? Report, string? Note = null, Exception? Error = null)
{
    /// <summary>What failed in it.</summary>
    public IReadOnlyList<StageFailure> Failures => Report?.Failures ?? [];

    /// <summary>How many checks it made.</summary>
    public long CheckCount => Report?.Checks.Values.Sum() ?? 0;
}

/// <summary>A whole run.</summary>
/// <param name="Plan">What was asked.</param>
/// <param name="Stages">One for each stage of the plan, in its order.</param>
/// <param name="Elapsed">From the first stage's start to the last one's end.</param>
/// <param name="Stopped">Whether the user stopped it.</param>
internal sealed record RunOutcome(RunPlan Plan, IReadOnlyList<StageOutcome> Stages, TimeSpan Elapsed, bool Stopped)
{
    /// <summary>What failed, in all stages.</summary>
    public IEnumerable<(StageOutcome Stage, StageFailure Failure)> Failures =>
        Stages.SelectMany(stage => stage.Failures.Select(failure => (stage, failure)));

    /// <summary>How many checks were made.</summary>
    public long CheckCount => Stages.Sum(stage => stage.CheckCount);

    /// <summary>A violation outweighs a stage that broke; a run that checked nothing is not clean.</summary>
    public int ExitCode =>
        Failures.Any() ? Verify.ExitCode.Violation
        : Stages.Any(stage => stage.State == StageState.Broke) || CheckCount == 0 ? Verify.ExitCode.Environment
        : Verify.ExitCode.Clean;
}

using Harness.Stages;
using Vcmm.Spec;
using Verify.Running;

namespace Verify.Output;

/// <summary>A run for programs to read: <c>docs/cli.md</c> describes it.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class JsonReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-run-1";

    /// <summary>Writes the run.</summary>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(RunOutcome outcome, FailureStore store) => WriteContent(new
    {
        Format = Magic,
        outcome.Plan.Seed,
        BudgetSeconds = Seconds(outcome.Plan.Budget),
        ElapsedSeconds = Seconds(outcome.Elapsed),
        outcome.Plan.Most,
        Muted = outcome.Plan.Muted.Members.Select(Invariants.Id),
        outcome.Stopped,
        outcome.ExitCode,
        Checks = outcome.CheckCount,
        Violations = outcome.Failures.Count(),
        Stages = outcome.Stages.Select(stage => Stage(stage, store)),
    });

    private static object Stage(StageOutcome stage, FailureStore store) => new
    {
        stage.Name,
        State = Word(stage.State),
        stage.Note,
        BudgetSeconds = Seconds(stage.Budget),
        ElapsedSeconds = stage.Report is { } report ? Seconds(report.Elapsed) : (double?)null,
        Ran = (stage.Report?.Ran ?? []).Select(ran => new { ran.What, ran.Count, PerSecond = PerSecond(ran.Count, stage.Report!.Elapsed) }),
        Checks = (stage.Report?.Checks ?? new Dictionary<Invariant, long>()).OrderBy(check => check.Key)
            .Select(check => new { Invariant = check.Key.Id(), Name = check.Key.ToString(), Count = check.Value }),
        Muted = (stage.Report?.Muted ?? new Dictionary<Invariant, long>()).OrderBy(muted => muted.Key)
            .Select(muted => new { Invariant = muted.Key.Id(), Name = muted.Key.ToString(), Count = muted.Value }),
        Failures = stage.Failures.Select(failure => new
        {
            Invariant = failure.Invariant.Id(),
            Name = failure.Invariant.ToString(),
            failure.Summary,
            File = store.PathOf(failure),
            failure.Report,
        }),
    };

    /// <summary>How a state is written, in the table too.</summary>
    public static string Word(StageState state) => state switch
    {
        StageState.Ran => "ran",
        StageState.Missing => "missing",
        StageState.Broke => "broke",
        StageState.Stopped => "stopped",
        StageState.NotStarted => "not started",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, "not a state"),
    };

    /// <summary>A rate, to a hundredth; null if no time passed.</summary>
    public static double? PerSecond(long count, TimeSpan elapsed) => elapsed <= TimeSpan.Zero ? null : Math.Round(count / elapsed.TotalSeconds, 2);
}

using Harness.Schedules;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>An exploration for programs to read: <c>docs/cli.md</c> describes it.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class ExploreReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-explore-1";

    /// <summary>Writes it.</summary>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(ExploreOutcome outcome, FailureStore store) => WriteContent(new
    {
        Format = Magic,
        outcome.Request.Seed,
        BudgetSeconds = outcome.Request.Budget is { } budget ? Seconds(budget) : (double?)null,
        BudgetSchedules = outcome.Request.Schedules,
        outcome.Request.Preemptions,
        outcome.Request.Workers,
        outcome.Request.Fault,
        Muted = outcome.Request.Muted.Members.Select(muted => new { Invariant = muted.Id(), Name = muted.ToString(), Count = outcome.Tally.Muted.GetValueOrDefault(muted) }),
        ElapsedSeconds = Seconds(outcome.Elapsed),
        outcome.Stopped,
        outcome.ExitCode,
        outcome.Tally.Problem,
        outcome.Tally.Schedules,
        outcome.Tally.Steps,
        outcome.Tally.Behaviours,
        PerSecond = JsonReport.PerSecond(outcome.Tally.Schedules, outcome.Elapsed),
        Checks = outcome.Tally.Checks.OrderBy(check => check.Key).Select(check => new { Invariant = check.Key.Id(), Name = check.Key.ToString(), Count = check.Value }),
        Scenarios = outcome.Tally.Scenarios.Select(scenario => new
        {
            scenario.Name,
            scenario.Count,
            scenario.Schedules,
            scenario.Steps,
            scenario.Behaviours,
            scenario.Exhausted,
            Failures = scenario.Failures.Select(found => new
            {
                found.Scenario,
                Invariant = found.Failure.Invariant.Id(),
                Name = found.Failure.Invariant.ToString(),
                found.Strategy,
                found.Schedule,
                found.Failure.Summary,
                File = store.PathOf(found.Failure),
                found.Failure.Report,
            }),
        }),
    });
}

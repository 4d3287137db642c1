using Harness.Failures;
using Harness.Running;
using Harness.Scenarios;
using Harness.Shrinking;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>What the stages share that run generated scenarios one after the other.</summary>
internal static class SequenceLoop
{
    /// <summary>Runs scenario after scenario, by their numbers, until the budget is spent, one fails, or the user wants to stop.</summary>
    public static StageReport Run(
        string stage, StageContext context, Func<ulong, uint, Scenario> scenarios, bool variesMachine, SequenceRunner runner, Func<IEnumerable<(string, long)>> more)
    {
        long start = context.Time.GetTimestamp();
        var failures = new List<StageFailure>();
        uint index = 0;
        while (failures.Count == 0 && !context.Stop.IsCancellationRequested)
        {
            TimeSpan elapsed = context.Time.GetElapsedTime(start);
            if (elapsed >= context.Budget || index >= context.Most) break;
            if (index % 16 == 0) context.Progress(new(elapsed / context.Budget, $"{index} sequences"));
            RunResult result = runner.Run(scenarios(context.Seed, index++));
            if (result.Violation is null) continue;
            RunResult told = context.IsBrief ? result : new ScenarioShrinker(runner.Run, variesMachine).Shrink(result, context.Stop);
            failures.Add(Describe(stage, told, context.Muted)!);
        }

        RunCounts counts = runner.Counts;
        IEnumerable<(string, long)> ends = counts.Lost == 0 ? [] : [("sequences that ended at what is muted", counts.Lost)];
        return new()
        {
            Name = stage,
            Elapsed = context.Time.GetElapsedTime(start),
            Ran = [("sequences", index), ("operations", counts.Operations), ("device accesses", counts.DeviceAccesses), .. more(), .. ends],
            Checks = counts.Checks,
            Muted = counts.MutedBreaches,
            Failures = failures,
        };
    }

    /// <summary>The scenario in a file.</summary>
    /// <exception cref="BadInputException">It cannot run, or has threads.</exception>
    public static Scenario Read(FailureFile file)
    {
        Scenario scenario = Scenario.FromJson(file.Scenario);
        if (!scenario.Threads.IsEmpty) throw new BadInputException($"scenario.threads: there are {scenario.Threads.Length}; expected none, as the stage {file.Stage} runs one step after the other");
        return scenario;
    }

    /// <summary>The failure of a run; null if nothing failed.</summary>
    public static StageFailure? Describe(string stage, RunResult result, InvariantSet muted = default)
    {
        if (result.Violation is not { } violation) return null;
        var file = new FailureFile
        {
            Format = FailureFile.Magic,
            Stage = stage,
            Invariant = violation.Invariant,
            Observed = violation.Observed,
            Expected = violation.Expected,
            Scenario = result.Scenario.ToJson(),
            Muted = FailureFile.ToField(muted),
        };
        return new(violation.Invariant, $"observed: {violation.Observed}; expected: {violation.Expected}", result.Report(), file.ToString());
    }
}

using System.Collections.Immutable;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Shrinking;

/// <summary>
/// Makes a failing scenario small: leaves out steps, then makes what is left simpler, as long as the same invariant breaks.
/// A step goes together with the steps that use what it made.
/// </summary>
/// <param name="run">Runs a scenario.</param>
/// <param name="changesMachine">Whether the machine may be made simpler, too.</param>
/// <remarks>Deterministic if <paramref name="run"/> is.</remarks>
public sealed class ScenarioShrinker(Func<Scenario, RunResult> run, bool changesMachine = true)
{
    // Small scenarios take a tenth of a millisecond each; this bounds what a failure on a slow machine costs.
    private const int MostRuns = 2000;

    private RunResult _best = null!;
    private Invariant _invariant;
    private int _runs;

    /// <summary>The smallest failing run that was found.</summary>
    /// <param name="failing">A run with a violation.</param>
    /// <param name="stop">Set to take what there is.</param>
    public RunResult Shrink(RunResult failing, CancellationToken stop)
    {
        _best = failing;
        _invariant = failing.Violation!.Invariant;
        _runs = 0;
        Try(failing.Scenario with { Steps = failing.Scenario.Steps[..failing.StepsRun] });
        bool isSmaller = true;
        while (isSmaller && !stop.IsCancellationRequested && _runs < MostRuns)
        {
            isSmaller = DropSteps(stop);
            isSmaller |= Simplify(Simplifications.OfSteps, stop);
            isSmaller |= Simplify(changesMachine ? SpaceSimplifications.Of : SpaceSimplifications.OnSameMachine, stop);
            if (changesMachine) isSmaller |= Simplify(Simplifications.OfTopology, stop);
            isSmaller |= Simplify(Simplifications.OfNames, stop);
        }

        return _best;
    }

    /// <summary>Leaves out runs of steps, long ones first.</summary>
    private bool DropSteps(CancellationToken stop)
    {
        bool isSmaller = false;
        for (int length = Math.Max(1, _best.Scenario.Steps.Length / 2); length >= 1; length /= 2)
        {
            // From the end: what comes late is used by little.
            for (int at = _best.Scenario.Steps.Length - length; at >= 0; at -= length)
            {
                if (stop.IsCancellationRequested) return isSmaller;
                if (at + length <= _best.Scenario.Steps.Length) isSmaller |= Try(Without(_best.Scenario, at, length));
            }
        }

        return isSmaller;
    }

    private bool Simplify(Func<Scenario, IEnumerable<Scenario>> simpler, CancellationToken stop)
    {
        bool isSmaller = false;
        bool again = true;
        while (again)
        {
            again = false;
            foreach (Scenario candidate in simpler(_best.Scenario))
            {
                if (stop.IsCancellationRequested || _runs >= MostRuns) return isSmaller;
                if (!Try(candidate)) continue;
                again = isSmaller = true;
                break;
            }
        }

        return isSmaller;
    }

    private bool Try(Scenario candidate)
    {
        if (candidate == _best.Scenario || _runs++ >= MostRuns) return false;
        RunResult result = run(candidate);
        if (result.Violation?.Invariant != _invariant) return false;
        // What was not reached, because it failed earlier, goes too.
        _best = result.StepsRun == candidate.Steps.Length ? result : run(candidate with { Steps = candidate.Steps[..result.StepsRun] });
        return true;
    }

    private static Scenario Without(Scenario scenario, int at, int length)
    {
        var gone = new HashSet<ObjectId>();
        var kept = ImmutableArray.CreateBuilder<Step>();
        for (int i = 0; i < scenario.Steps.Length; i++)
        {
            Step step = scenario.Steps[i];
            bool goes = (i >= at && i < at + length) || step.Operation.Uses.Any(IsGone);
            if (!goes) kept.Add(step);
            else gone.UnionWith(step.Operation.Makes);
        }

        return scenario with { Steps = kept.ToImmutable() };

        bool IsGone(ObjectId id) => gone.Contains(id.Original) || (id.Home is { } home && gone.Contains(home));
    }
}

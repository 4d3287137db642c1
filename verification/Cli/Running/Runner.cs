using Harness.Stages;
using Verify.Output;

namespace Verify.Running;

/// <summary>Runs stages one after the other, each on a thread of its own, within a budget for all.</summary>
/// <param name="time">The clock.</param>
/// <param name="stop">Set when the user wants to stop.</param>
/// <param name="observer">Told what happens.</param>
internal sealed class Runner(TimeProvider time, CancellationToken stop, IRunObserver observer)
{
    /// <summary>How long a stage may take to stop before the run goes on without it: what is left of a second is for the table.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(700);

    /// <summary>How long after its budget a stage is told to stop. Work that has begun may be finished, but a hang may not hold the run.</summary>
    public static readonly TimeSpan Overrun = TimeSpan.FromSeconds(60);

    /// <summary>Runs the plan.</summary>
    public RunOutcome Run(RunPlan plan)
    {
        long begin = time.GetTimestamp();
        int left = plan.Stages.Count(stage => stage.Missing is null);
        TimeSpan least = Least(plan.Budget, left);
        var outcomes = new List<StageOutcome>();
        foreach (PlannedStage planned in plan.Stages)
        {
            StageOutcome outcome;
            if (planned.Missing is { } missing)
            {
                outcome = new StageOutcome(planned.Stage.Name, StageState.Missing, TimeSpan.Zero, null, missing);
            }
            else if (stop.IsCancellationRequested)
            {
                outcome = new StageOutcome(planned.Stage.Name, StageState.NotStarted, TimeSpan.Zero, null, "the run was stopped before it");
            }
            else
            {
                TimeSpan share = Share(plan.Budget - time.GetElapsedTime(begin), left, least);
                left--;
                outcome = RunOne(planned.Stage, plan, share);
            }

            outcomes.Add(outcome);
            observer.Ended(outcome);
        }

        return new RunOutcome(plan, outcomes, time.GetElapsedTime(begin), stop.IsCancellationRequested);
    }

    /// <summary>What a stage gets at least, however long those before it took: a tenth of an equal share, so that each checks something.</summary>
    /// <param name="budget">For all stages.</param>
    /// <param name="count">How many stages run.</param>
    public static TimeSpan Least(TimeSpan budget, int count) => count == 0 ? budget : budget / count / 10;

    /// <summary>What the next stage gets: an equal share of what is left, so that time which a stage does not use goes to those after it.</summary>
    /// <param name="remaining">Of the budget for all; negative if stages took longer than they should.</param>
    /// <param name="count">How many stages are still to run, this one included.</param>
    /// <param name="least">What a stage gets at least.</param>
    public static TimeSpan Share(TimeSpan remaining, int count, TimeSpan least)
    {
        TimeSpan share = remaining / count;
        return share < least ? least : share;
    }

    private StageOutcome RunOne(IStage stage, RunPlan plan, TimeSpan budget)
    {
        observer.Started(stage.Name, budget);
        using var overrun = new CancellationTokenSource(budget + Overrun, time);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(stop, overrun.Token);
        var ended = new TaskCompletionSource<StageOutcome>(TaskCreationOptions.RunContinuationsAsynchronously);
        var context = new StageContext(plan.Seed, budget, time, progress => Pass(stage.Name, progress), enough.Token) { Most = plan.Most, Muted = plan.Muted, IsBrief = plan.IsBrief };
        var thread = new Thread(() => ended.TrySetResult(Call(stage, context))) { IsBackground = true, Name = stage.Name };

        // A stage that will not stop is left behind: its thread ends with the process.
        using ITimer late = time.CreateTimer(
            _ => ended.TrySetResult(stop.IsCancellationRequested
                ? new StageOutcome(stage.Name, StageState.Stopped, budget, null, $"it did not stop within {Line.Seconds(Grace)}; what it had is lost")
                : new StageOutcome(stage.Name, StageState.Broke, budget, null, $"it did not end within {Line.Seconds(budget + Overrun)}")),
            null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        using CancellationTokenRegistration onEnough = enough.Token.Register(() => late.Change(Grace, Timeout.InfiniteTimeSpan));
        thread.Start();
        return ended.Task.GetAwaiter().GetResult();
    }

    private StageOutcome Call(IStage stage, StageContext context)
    {
        try
        {
            return new StageOutcome(stage.Name, StageState.Ran, context.Budget, stage.Run(context));
        }
        catch (Exception e) when (stop.IsCancellationRequested)
        {
            // The signal that stops us reaches the programs that a stage has started too.
            return new StageOutcome(stage.Name, StageState.Stopped, context.Budget, null, $"it was stopped: {e.Message}", e);
        }
        catch (Exception e)
        {
            return new StageOutcome(stage.Name, StageState.Broke, context.Budget, null, $"{e.GetType().Name}: {e.Message}", e);
        }
    }

    private void Pass(string stage, StageProgress progress)
    {
        double fraction = double.IsNaN(progress.Fraction) ? 0 : Math.Clamp(progress.Fraction, 0, 1);
        observer.Progressed(stage, new StageProgress(fraction, progress.Text));
    }
}

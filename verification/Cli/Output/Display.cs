using Harness.Stages;
using Spectre.Console;
using Verify.Running;

namespace Verify.Output;

/// <summary>Shows a run while it runs.</summary>
internal static class Display
{
    /// <summary>Runs with a bar for each stage where a person watches, else with a line for each.</summary>
    /// <param name="plan">What will be run.</param>
    /// <param name="here">Where to show it.</param>
    /// <param name="run">Runs it, telling the observer.</param>
    public static RunOutcome While(RunPlan plan, Surroundings here, Func<IRunObserver, RunOutcome> run)
    {
        if (!here.Terminal) return run(new LineDisplay(here.Out));
        RunOutcome? outcome = null;
        Progress progress = RunTable.ConsoleOf(here).Progress().AutoClear(true);
        progress.Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn());
        progress.Start(context => outcome = run(new BarDisplay(context, plan)));
        return outcome!;
    }
}

/// <summary>One plain line for each stage that ended.</summary>
internal sealed class LineDisplay(TextWriter output) : IRunObserver
{
    /// <inheritdoc/>
    public void Started(string stage, TimeSpan budget)
    {
    }

    /// <inheritdoc/>
    public void Progressed(string stage, StageProgress progress)
    {
    }

    /// <inheritdoc/>
    public void Ended(StageOutcome outcome)
    {
        if (outcome.Report is not { } report) return;
        string ran = string.Join(", ", report.Ran.Select(ran => $"{Line.Count(ran.Count)} {ran.What}"));
        output.WriteLine($"{outcome.Name}: {Line.Seconds(report.Elapsed)}, {ran}, {Line.Count(outcome.CheckCount, "check")}, {Line.Count(report.Failures.Count, "failure")}");
        output.Flush();
    }
}

/// <summary>A bar for each stage that can run.</summary>
internal sealed class BarDisplay : IRunObserver
{
    private readonly Dictionary<string, ProgressTask> _bars = [];

    /// <summary>Adds the bars, empty.</summary>
    public BarDisplay(ProgressContext context, RunPlan plan)
    {
        foreach (PlannedStage planned in plan.Stages.Where(planned => planned.Missing is null))
            _bars[planned.Stage.Name] = context.AddTask(Markup.Escape(planned.Stage.Name), autoStart: false, maxValue: 1);
    }

    /// <inheritdoc/>
    public void Started(string stage, TimeSpan budget) => _bars[stage].StartTask();

    /// <inheritdoc/>
    public void Progressed(string stage, StageProgress progress)
    {
        _bars[stage].Description = Markup.Escape($"{stage}  {Line.Of(progress.Text)}");
        _bars[stage].Value = progress.Fraction;
    }

    /// <inheritdoc/>
    public void Ended(StageOutcome outcome)
    {
        if (!_bars.TryGetValue(outcome.Name, out ProgressTask? bar)) return;
        if (outcome.State == StageState.Ran) bar.Value = 1;
        bar.StopTask();
    }
}

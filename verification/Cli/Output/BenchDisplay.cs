using System.Globalization;
using Spectre.Console;
using Verify.Benching;
using Workloads;

namespace Verify.Output;

/// <summary>Shows the rows while they are measured.</summary>
internal static class BenchDisplay
{
    /// <summary>Measures each row of a plan, with a bar over all where a person watches, else with a line for each.</summary>
    /// <param name="plan">What is measured.</param>
    /// <param name="here">Where to show it.</param>
    /// <param name="measure">Measures a row.</param>
    public static IReadOnlyList<RowOutcome> While(BenchPlan plan, Surroundings here, Func<Row, RowOutcome> measure)
    {
        var outcomes = new List<RowOutcome>();
        if (!here.Terminal)
        {
            foreach (Row row in plan.Rows)
            {
                outcomes.Add(measure(row));
                here.Out.WriteLine($"{row.Name}: {Said(outcomes[^1])}");
                here.Out.Flush();
            }

            return outcomes;
        }

        Progress progress = RunTable.ConsoleOf(here).Progress().AutoClear(true);
        progress.Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn());
        progress.Start(context =>
        {
            ProgressTask bar = context.AddTask("rows", maxValue: plan.Rows.Count);
            foreach (Row row in plan.Rows)
            {
                bar.Description = Markup.Escape($"{row.Name}: {row.What}");
                outcomes.Add(measure(row));
                bar.Increment(1);
            }
        });
        return outcomes;
    }

    /// <summary>A time: three digits that count.</summary>
    public static string Nanoseconds(double nanoseconds) => Digits(nanoseconds) + " ns";

    /// <summary>A size: three digits that count.</summary>
    public static string Bytes(double bytes) => Digits(bytes) + " B";

    /// <summary>A ratio: <c>1.83x</c>.</summary>
    public static string Ratio(double ratio) => Digits(ratio) + "x";

    private static string Said(RowOutcome outcome) => outcome switch
    {
        { State: RowState.Broke } => "broke",
        { State: RowState.Stopped } => "stopped",
        { Timing: { } timing, Ratio: { } ratio } => $"{Nanoseconds(timing.Best)}, {Ratio(ratio)}",
        { Timing: { } timing } => Nanoseconds(timing.Best),
        { WeighedBytes: { } bytes } => Bytes(bytes),
        _ => "",
    };

    private static string Digits(double value) => value.ToString(
        Math.Abs(value) switch { < 10 => "0.##", < 100 => "0.#", _ => "N0" },
        CultureInfo.InvariantCulture);
}

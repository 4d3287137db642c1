using Verify.Benching;
using Workloads;

namespace Verify.Output;

/// <summary>What was measured, for programs to read: <c>docs/cli.md</c> describes it.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class BenchReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-bench-1";

    /// <summary>Writes it.</summary>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(BenchOutcome outcome) => WriteContent(new
    {
        Format = Magic,
        TimeSeconds = Seconds(outcome.Plan.TimePerRow),
        ElapsedSeconds = Seconds(outcome.Elapsed),
        Strict = outcome.Plan.IsStrict,
        Stopped = outcome.IsStopped,
        outcome.ExitCode,
        Machine.Here.Runtime,
        Machine.Here.Architecture,
        Processors = Machine.Here.ProcessorCount,
        Optimized = Machine.Here.IsOptimized,
        Measured = outcome.MeasuredCount,
        Missed = outcome.Missing.Count(),
        Rows = outcome.Rows.Select(RowOf),
    });

    /// <summary>How a state is written, in the table too.</summary>
    public static string Word(RowState state) => state switch
    {
        RowState.Measured => "measured",
        RowState.Broke => "broke",
        RowState.Stopped => "stopped",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, "not a state"),
    };

    private static object RowOf(RowOutcome outcome)
    {
        var timed = outcome.Row as TimedRow;
        return new
        {
            outcome.Row.Name,
            outcome.Row.What,
            State = Word(outcome.State),
            outcome.Note,
            Unit = timed is null ? "B" : "ns",
            Best = Figure(outcome.Timing?.Best ?? outcome.WeighedBytes),
            Median = Figure(outcome.Timing?.Median),
            Rounds = outcome.Timing is null ? (int?)null : outcome.RoundCount,
            Settled = outcome.Timing is null ? (bool?)null : outcome.IsSettled,
            Baseline = outcome.Baseline is { } baseline ? new { What = timed!.BaselineWhat, Best = Figure(baseline.Best), Median = Figure(baseline.Median) } : null,
            Ratio = Figure(outcome.Ratio),
            RatioKind = timed?.Baseline is null ? null : timed.RatioKind == RatioKind.Cost ? "cost" : "speed-up",
            Limit = timed is null ? (outcome.Row as WeighedRow)?.LimitBytes : timed.LimitNanoseconds,
            timed?.RatioLimit,
            AllocatedBytes = Figure(outcome.AllocatedBytes),
            Kept = outcome.Holds,
            outcome.Missed,
        };
    }

    /// <summary>To a thousandth; null for what is no number, which JSON cannot say.</summary>
    private static double? Figure(double? value) => value is { } number && double.IsFinite(number) ? Math.Round(number, 3) : null;
}

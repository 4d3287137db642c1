using Workloads;

namespace Verify.Benching;

/// <summary>What became of a row.</summary>
internal enum RowState
{
    /// <summary>It was measured.</summary>
    Measured,

    /// <summary>It threw: an operation was refused, or did not do what it says.</summary>
    Broke,

    /// <summary>The user stopped before it was measured.</summary>
    Stopped,
}

/// <summary>How long an operation took.</summary>
/// <param name="Best">In the best round, in nanoseconds.</param>
/// <param name="Median">In the middle one.</param>
internal readonly record struct Timing(double Best, double Median);

/// <summary>A row after it was measured.</summary>
/// <param name="Row">The row.</param>
/// <param name="State">What became of it.</param>
internal sealed record RowOutcome(Row Row, RowState State)
{
    /// <summary>The workload; null unless a timed row was measured.</summary>
    public Timing? Timing { get; init; }

    /// <summary>The baseline in the same rounds; null if there is none.</summary>
    public Timing? Baseline { get; init; }

    /// <summary>How often workload and baseline took turns.</summary>
    public int RoundCount { get; init; }

    /// <summary>Whether the JIT had stopped compiling before the first round.</summary>
    public bool IsSettled { get; init; } = true;

    /// <summary>What an operation of the workload allocated on the managed heap, in bytes, in the middle round; null unless timed.</summary>
    public double? AllocatedBytes { get; init; }

    /// <summary>What a weighed row weighs, in bytes; null unless one was measured.</summary>
    public double? WeighedBytes { get; init; }

    /// <summary>Why it was not measured, on one line; null if it was.</summary>
    public string? Note { get; init; }

    /// <summary>The whole of what it threw, for <c>--verbose</c>.</summary>
    public string? Trace { get; init; }

    /// <summary>Workload and baseline, best with best, as the row wants it; null without a baseline.</summary>
    public double? Ratio => (Row, Timing, Baseline) switch
    {
        (TimedRow { RatioKind: RatioKind.Cost }, { } timing, { } baseline) => timing.Best / baseline.Best,
        (TimedRow { RatioKind: RatioKind.SpeedUp }, { } timing, { } baseline) => baseline.Best / timing.Best,
        _ => null,
    };

    /// <summary>The limits that it does not keep, a word each. What may be allocated, mostly nothing, is a limit of every timed row.</summary>
    public IReadOnlyList<string> Missed
    {
        get
        {
            var missed = new List<string>();
            // Written so that what is no number keeps no limit.
            if (Row is TimedRow { LimitNanoseconds: { } most } && Timing is { } timing && !(timing.Best <= most)) missed.Add("time");
            if (Row is TimedRow { RatioLimit: { } limit } timed && Ratio is { } ratio && !(timed.RatioKind == RatioKind.Cost ? ratio <= limit : ratio >= limit))
                missed.Add("ratio");
            if (Row is TimedRow { AllocationLimitBytes: var mayAllocate } && AllocatedBytes is { } allocated && !(allocated <= mayAllocate)) missed.Add("allocation");
            if (Row is WeighedRow weighed && WeighedBytes is { } bytes && !(bytes <= weighed.LimitBytes)) missed.Add("size");
            return missed;
        }
    }

    /// <summary>Whether it keeps its limits; null if it was not measured.</summary>
    public bool? Holds => State == RowState.Measured ? Missed.Count == 0 : null;
}

/// <summary>What is asked to be measured.</summary>
/// <param name="Rows">In the order to measure them.</param>
/// <param name="TimePerRow">How long each timed row is measured, warm-up not counted.</param>
/// <param name="IsStrict">Whether a limit that is not kept is a violation.</param>
internal sealed record BenchPlan(IReadOnlyList<Row> Rows, TimeSpan TimePerRow, bool IsStrict);

/// <summary>Everything that was measured.</summary>
/// <param name="Plan">What was asked.</param>
/// <param name="Rows">One for each row of the plan, in its order.</param>
/// <param name="Elapsed">All of it.</param>
internal sealed record BenchOutcome(BenchPlan Plan, IReadOnlyList<RowOutcome> Rows, TimeSpan Elapsed)
{
    /// <summary>The rows that miss a limit.</summary>
    public IEnumerable<RowOutcome> Missing => Rows.Where(row => row.Holds == false);

    /// <summary>How many rows were measured.</summary>
    public int MeasuredCount => Rows.Count(row => row.State == RowState.Measured);

    /// <summary>Whether the user stopped it.</summary>
    public bool IsStopped => Rows.Any(row => row.State == RowState.Stopped);

    /// <summary>What was measured is clean whatever the figures, unless they are held to their limits; then all must be there.</summary>
    public int ExitCode =>
        Plan.IsStrict && Missing.Any() ? Verify.ExitCode.Violation
        : MeasuredCount == 0 || Rows.Any(row => row.State == RowState.Broke) || (Plan.IsStrict && IsStopped) ? Verify.ExitCode.Environment
        : Verify.ExitCode.Clean;
}

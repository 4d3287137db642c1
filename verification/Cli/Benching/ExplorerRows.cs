using Workloads;

namespace Verify.Benching;

/// <summary>The rows of controlled schedules, which are run by worker processes. <c>docs/bench.md</c> explains them.</summary>
internal static class ExplorerRows
{
    // What this process allocates says nothing of the worker.
    private const double Anything = double.MaxValue;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Row> All { get; } =
    [
        new TimedRow("X1 schedule", "a schedule of two threads and a device: back-unback", static () => new ExplorerBatches("two-threads"))
        {
            Baseline = static () => new ExplorerBatches("empty"), BaselineWhat = "one of two empty tasks", RatioLimit = 1 / 0.6, AllocationLimitBytes = Anything,
        },
        new TimedRow("X1 smallest", "a schedule of one thread and a device: unback-access", static () => new ExplorerBatches("unback-access"))
        {
            Baseline = static () => new ExplorerBatches("empty"), BaselineWhat = "one of two empty tasks", RatioLimit = 1 / 0.6, AllocationLimitBytes = Anything,
        },
        new TimedRow("X2 step", "a step of back-unback on weak memory, all oracles on", static () => new ExplorerBatches("weak-two-threads", countsSteps: true))
        {
            Baseline = static () => new ExplorerBatches("bare-steps", countsSteps: true), BaselineWhat = "a step that does nothing", RatioLimit = 2, AllocationLimitBytes = Anything,
        },
        new TimedRow("X3 workers", "a schedule of back-unback, two workers", static () => new ExplorerBatches("two-threads", workerCount: 2))
        {
            Baseline = static () => new ExplorerBatches("two-threads"), BaselineWhat = "the same, one worker", RatioKind = RatioKind.SpeedUp, RatioLimit = 1.8, AllocationLimitBytes = Anything,
        },
    ];
}

using Workloads;

namespace Properties.Cli;

/// <summary>A clock that moves when a workload says so, and at no cost: what a workload allocates is its own.</summary>
internal sealed class WorkClock : TimeProvider
{
    private long _ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public TimeSpan Now => TimeSpan.FromTicks(_ticks);

    public override long GetTimestamp() => _ticks;

    public void Advance(double nanoseconds) => _ticks += (long)(nanoseconds / 100);
}

/// <summary>A workload of 1,000,000 operations a batch that take as long as a test says.</summary>
internal sealed class TestWorkload(WorkClock clock, Func<double> nanoseconds) : IWorkload
{
    private const int Operations = 1_000_000;

    public int OperationsPerBatch => Operations;

    /// <summary>Called in each batch.</summary>
    public Action OnBatch { get; init; } = static () => { };

    /// <summary>What other processes have compiled.</summary>
    public Func<long> OthersCompiledMethodCount { get; init; } = static () => 0;

    long IWorkload.OthersCompiledMethodCount => OthersCompiledMethodCount();

    /// <summary>Called by each check.</summary>
    public Action OnCheck { get; init; } = static () => { };

    public int DisposeCount { get; private set; }

    public void Batch()
    {
        OnBatch();
        clock.Advance(nanoseconds() * Operations);
    }

    public void Check() => OnCheck();

    public void Dispose() => DisposeCount++;

    /// <summary>A row over it.</summary>
    public static TimedRow Row(string name, WorkClock clock, double nanoseconds, double? baseline = null) => new(name, $"do {name}", () => new TestWorkload(clock, () => nanoseconds))
    {
        Baseline = baseline is { } other ? () => new TestWorkload(clock, () => other) : null,
        BaselineWhat = baseline is null ? "" : $"bare {name}",
    };
}

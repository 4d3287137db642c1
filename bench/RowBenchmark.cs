using BenchmarkDotNet.Attributes;
using Workloads;

namespace Bench;

/// <summary>
/// A row of <see cref="AllRows"/> for BenchmarkDotNet, so that it measures the very workloads that <c>verify bench</c> does. How
/// many operations a batch is must be said in an attribute, so each class says it; the set-up holds the two together.
/// </summary>
/// <param name="name">The row's name.</param>
/// <param name="operations">A batch of its workload.</param>
/// <param name="baselineOperations">A batch of its baseline; null if that is another.</param>
[MemoryDiagnoser]
public abstract class RowBenchmark(string name, int operations, int? baselineOperations = null)
{
    private readonly TimedRow _row = AllRows.All.OfType<TimedRow>().Single(row => row.Name == name);
    private IWorkload? _workload;
    private IWorkload? _baseline;

    /// <summary>The workload.</summary>
    protected IWorkload Workload => _workload ??= Start(_row.Workload, operations);

    /// <summary>What it is compared with.</summary>
    protected IWorkload Baseline => _baseline ??= Start(_row.Baseline!, baselineOperations ?? operations);

    /// <summary>BenchmarkDotNet runs one of the two in a process, so only that one is set up.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _workload?.Check();
        _workload?.Dispose();
        _baseline?.Dispose();
    }

    private static IWorkload Start(Func<IWorkload> setUp, int operations)
    {
        IWorkload workload = setUp();
        if (workload.OperationsPerBatch != operations)
            throw new InvalidOperationException($"{workload.GetType().Name} does {workload.OperationsPerBatch} operations in a batch, not {operations}");
        return workload;
    }
}

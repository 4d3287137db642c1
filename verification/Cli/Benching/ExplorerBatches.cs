using System.Diagnostics;
using Harness.Schedules;
using Workloads;

namespace Verify.Benching;

/// <summary>Batches of schedules in worker processes: the scheduler needs assemblies that are rewritten for it.</summary>
internal sealed class ExplorerBatches : IWorkload
{
    private readonly Process[] _workers;
    private readonly BatchMessage _batch;
    private readonly long[] _compiled;

    /// <summary>Starts the workers and does one batch.</summary>
    /// <param name="what">What a schedule is, as the worker knows it.</param>
    /// <param name="workerCount">How many do a batch at the same time, each on a processor of its own.</param>
    /// <param name="countsSteps">Whether an operation is a step; else it is a schedule.</param>
    /// <exception cref="EnvironmentException">The worker is not there.</exception>
    public ExplorerBatches(string what, int workerCount = 1, bool countsSteps = false)
    {
        if (ScheduleHunt.MissingOf(Stages.ScheduleWorker) is { } missing) throw new EnvironmentException(missing);
        _workers = [.. Enumerable.Range(0, workerCount).Select(number => ScheduleHunt.StartMeasuring(Stages.ScheduleWorker, what, number))];
        _compiled = new long[workerCount];
        _batch = DoBatch();
        OperationsPerBatch = checked((int)(workerCount * (countsSteps ? _batch.Steps : _batch.Schedules)));
    }

    /// <inheritdoc/>
    public int OperationsPerBatch { get; }

    /// <inheritdoc/>
    public long OthersCompiledMethodCount => _compiled.Sum();

    /// <inheritdoc/>
    public void Batch() => DoBatch();

    /// <inheritdoc/>
    public void Check()
    {
        BatchMessage again = DoBatch();
        if ((again.Schedules, again.Steps) != (_batch.Schedules, _batch.Steps) || again.Schedules == 0) throw new InvalidOperationException($"one batch was {_batch}, another {again}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Process worker in _workers)
        {
            worker.StandardInput.Close();
            worker.WaitForExit();
            worker.Dispose();
        }
    }

    private BatchMessage DoBatch()
    {
        foreach (Process worker in _workers) worker.StandardInput.WriteLine();
        BatchMessage? done = null;
        for (int i = 0; i < _workers.Length; i++)
        {
            string line = _workers[i].StandardOutput.ReadLine() ?? throw new InvalidOperationException("the worker ended before its batch did");
            done = WorkerMessage.Parse(line) as BatchMessage ?? throw new InvalidOperationException($"the worker said {line}");
            _compiled[i] = done.CompiledMethods;
        }

        return done!;
    }
}

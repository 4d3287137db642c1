using Workloads;

namespace Verify.Benching;

/// <summary>Measures a row: warms up until the JIT has settled, then lets workload and baseline take turns.</summary>
/// <remarks>
/// <para><b>Why turns.</b> Other programs and the processor's clock change within seconds. What comes right after the other
/// meets the same machine, so that the ratio says more than either time.</para>
/// <para><b>Why the best round.</b> Nothing makes code faster than it is; everything else on the machine makes it slower. The
/// middle round is shown beside it.</para>
/// </remarks>
/// <param name="time">The clock.</param>
/// <param name="compiledMethodCount">How many methods the JIT of this process has compiled so far.</param>
/// <param name="stop">Set when the user wants to stop.</param>
internal sealed class RowTimer(TimeProvider time, Func<long> compiledMethodCount, CancellationToken stop)
{
    /// <summary>Why a row has no figures if the user stopped.</summary>
    public const string StoppedNote = "the user stopped before it was measured";

    /// <summary>
    /// How long nothing may be compiled until the JIT counts as settled. It waits for 100 ms without new methods before it
    /// compiles those that were called often once more.
    /// </summary>
    public static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(250);

    /// <summary>Batches before the first round, at least: the JIT looks at a method twice, after 30 calls each time.</summary>
    public const int LeastWarmUpBatches = 64;

    /// <summary>The warm-up ends after this many times the time of a row, settled or not.</summary>
    public const int WarmUpLimit = 4;

    /// <summary>Rounds at least, however long they take.</summary>
    public const int LeastRounds = 5;

    /// <summary>How many samples of workload and baseline the time of a row is cut into.</summary>
    private const int SamplesPerRow = 100;

    /// <summary>Measures a row; what it throws is its outcome.</summary>
    /// <param name="row">The row.</param>
    /// <param name="budget">For the rounds; above zero.</param>
    public RowOutcome Measure(Row row, TimeSpan budget)
    {
        try
        {
            stop.ThrowIfCancellationRequested();
            return row switch
            {
                WeighedRow weighed => new RowOutcome(row, RowState.Measured) { WeighedBytes = weighed.Weigh() },
                TimedRow timed => MeasureTime(timed, budget),
                _ => throw new InvalidOperationException($"{row.GetType().Name} is no kind of row that can be measured"),
            };
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return new RowOutcome(row, RowState.Stopped) { Note = StoppedNote };
        }
        catch (Exception e)
        {
            return new RowOutcome(row, RowState.Broke) { Note = $"{e.GetType().Name}: {e.Message}", Trace = e.ToString() };
        }
    }

    private RowOutcome MeasureTime(TimedRow row, TimeSpan budget)
    {
        using IWorkload workload = row.Workload();
        using IWorkload? baseline = row.Baseline?.Invoke();
        bool settled = WarmUp(workload, baseline, budget);
        var subject = new Samples(workload, time);
        Samples? reference = baseline is null ? null : new Samples(baseline, time);
        TimeSpan sample = budget / SamplesPerRow;
        subject.Calibrate(sample);
        reference?.Calibrate(sample);

        // What the set-up left behind would be collected in the middle of a round.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        int rounds = 0;
        for (long begin = time.GetTimestamp(); rounds < LeastRounds || time.GetElapsedTime(begin) < budget; rounds++)
        {
            stop.ThrowIfCancellationRequested();
            subject.Take();
            reference?.Take();
        }

        workload.Check();
        baseline?.Check();
        return new RowOutcome(row, RowState.Measured)
        {
            Timing = subject.Timing,
            Baseline = reference?.Timing,
            RoundCount = rounds,
            IsSettled = settled,
            AllocatedBytes = subject.AllocatedBytes,
        };
    }

    /// <summary>Lets both take turns until nothing is compiled any more.</summary>
    /// <returns>False if the time was over before that.</returns>
    private bool WarmUp(IWorkload workload, IWorkload? baseline, TimeSpan budget)
    {
        long begin = time.GetTimestamp();
        long quietSince = begin;
        long Compiled() => compiledMethodCount() + workload.OthersCompiledMethodCount + (baseline?.OthersCompiledMethodCount ?? 0);
        long compiled = Compiled();
        for (int batches = 1; ; batches++)
        {
            stop.ThrowIfCancellationRequested();
            workload.Batch();
            baseline?.Batch();
            if (Compiled() is var now && now != compiled)
            {
                compiled = now;
                quietSince = time.GetTimestamp();
            }

            if (batches >= LeastWarmUpBatches && time.GetElapsedTime(quietSince) >= Quiet) return true;
            if (time.GetElapsedTime(begin) >= budget * WarmUpLimit) return false;
        }
    }

    /// <summary>The samples of one workload.</summary>
    private sealed class Samples(IWorkload workload, TimeProvider time)
    {
        private readonly List<double> _nanoseconds = [];
        private readonly List<double> _allocatedBytes = [];
        private int _batches = 1;

        public Timing Timing => new(_nanoseconds.Min(), Middle(_nanoseconds));

        /// <summary>The middle one of the rounds: a list inside that grows once is no leak, and a leak is in each.</summary>
        public double AllocatedBytes => Middle(_allocatedBytes);

        /// <summary>Chooses how many batches a sample is, so that it takes about as long as given.</summary>
        public void Calibrate(TimeSpan sample)
        {
            long begin = time.GetTimestamp();
            workload.Batch();
            TimeSpan batch = time.GetElapsedTime(begin);
            _batches = batch >= sample ? 1 : (int)Math.Min(1_000_000, Math.Ceiling(sample / Max(batch, TimeSpan.FromMicroseconds(1))));
        }

        public void Take()
        {
            long allocated = GC.GetAllocatedBytesForCurrentThread() + workload.OthersAllocatedBytes;
            long begin = time.GetTimestamp();
            for (int i = 0; i < _batches; i++) workload.Batch();
            TimeSpan elapsed = time.GetElapsedTime(begin);
            allocated = GC.GetAllocatedBytesForCurrentThread() + workload.OthersAllocatedBytes - allocated;
            double operations = (double)_batches * workload.OperationsPerBatch;
            _nanoseconds.Add(elapsed.TotalNanoseconds / operations);
            _allocatedBytes.Add(allocated / operations);
        }

        private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;

        private static double Middle(List<double> values)
        {
            double[] sorted = [.. values.Order()];
            return sorted[(sorted.Length - 1) / 2];
        }
    }
}

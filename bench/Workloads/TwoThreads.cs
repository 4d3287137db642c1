using Vcmm;
using Vcmm.Allocation;
using Workloads.Bare;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>Two workloads at once, one on the calling thread and one on a thread that waits for it between batches.</summary>
public sealed class TwoThreads : IWorkload
{
    /// <summary>
    /// Operations of each thread in a batch: enough that waking the second thread, tens of microseconds, does not count.
    /// </summary>
    public const int OperationsOfEach = 1 << 14;

    /// <summary>The same where operations are shorter: <see cref="OnBareTables"/>, and the hits of simulated devices.</summary>
    public const int BareOperationsOfEach = 1 << 18;

    private readonly IWorkload _here;
    private readonly IWorkload _there;
    private readonly IDisposable? _shared;
    private readonly SemaphoreSlim _begin = new(0);
    private readonly SemaphoreSlim _end = new(0);
    private readonly Thread _second;
    private Exception? _error;
    private long _othersAllocatedBytes;
    private bool _stop;

    /// <summary>Two workloads that may share what they work on.</summary>
    /// <param name="here">For the calling thread.</param>
    /// <param name="there">For the other.</param>
    /// <param name="shared">What is disposed after both; null if nothing.</param>
    public TwoThreads(IWorkload here, IWorkload there, IDisposable? shared = null)
    {
        _here = here;
        _there = there;
        _shared = shared;
        _second = new(Follow) { IsBackground = true, Name = "second of two" };
        _second.Start();
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => _here.OperationsPerBatch + _there.OperationsPerBatch;

    /// <inheritdoc/>
    public long OthersAllocatedBytes => Volatile.Read(ref _othersAllocatedBytes);

    /// <summary>Two threads that share nothing and no part of the library: what the machine can give.</summary>
    public static TwoThreads OnBareTables() => new(new BarePage(BareOperationsOfEach), new BarePage(BareOperationsOfEach));

    /// <summary>Frees and allocates ranges through one cache, each thread its own.</summary>
    public static TwoThreads OnOneCache()
    {
        CachedRangeAllocator allocator = CacheHits.CreateAllocator();
        return new(new CacheHits(allocator, OperationsOfEach), new CacheHits(allocator, OperationsOfEach));
    }

    /// <summary>Backs and unbacks, each thread in a region of its own.</summary>
    public static TwoThreads BackInTwoRegions() => In(static system => (system.CreateRegion(), system.CreateRegion()), Back);

    /// <summary>Backs and unbacks, both threads in one region, each in a range of its own.</summary>
    public static TwoThreads BackInOneRegion() => In(One, Back);

    /// <summary>Reserves, backs, unbacks, unreserves, each thread in a region of its own.</summary>
    public static TwoThreads CallInTwoRegions() => In(static system => (system.CreateRegion(), system.CreateRegion()), Call);

    /// <summary>Reserves, backs, unbacks, unreserves, both threads in one region.</summary>
    public static TwoThreads CallInOneRegion() => In(One, Call);

    /// <inheritdoc/>
    public void Batch()
    {
        _begin.Release();
        _here.Batch();
        _end.Wait();
        if (_error is { } error) throw new InvalidOperationException($"the second thread: {error.Message}", error);
    }

    /// <inheritdoc/>
    public void Check()
    {
        Batch();
        _here.Check();
        _there.Check();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Volatile.Write(ref _stop, true);
        _begin.Release();
        _second.Join();
        _here.Dispose();
        _there.Dispose();
        _shared?.Dispose();
        _begin.Dispose();
        _end.Dispose();
    }

    private static (Vcm, Vcm) One(VcmSystem system)
    {
        Vcm vcm = system.CreateRegion();
        return (vcm, vcm);
    }

    private static BackUnback Back(VcmSystem system, Vcm vcm) => new(system, vcm, OperationsOfEach, owns: false);

    private static FourCalls Call(VcmSystem system, Vcm vcm) => new(system, vcm, OperationsOfEach, owns: false);

    private static TwoThreads In(Func<VcmSystem, (Vcm Here, Vcm There)> regions, Func<VcmSystem, Vcm, IWorkload> workload)
    {
        var system = new VcmSystem();
        (Vcm here, Vcm there) = regions(system);
        return new(workload(system, here), workload(system, there), system);
    }

    private void Follow()
    {
        while (true)
        {
            _begin.Wait();
            if (Volatile.Read(ref _stop)) return;
            try
            {
                _there.Batch();
            }
            catch (Exception e)
            {
                _error = e;
            }

            Volatile.Write(ref _othersAllocatedBytes, GC.GetAllocatedBytesForCurrentThread());
            _end.Release();
        }
    }
}

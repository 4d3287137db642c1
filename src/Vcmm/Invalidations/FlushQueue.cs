using Platform;

namespace Vcmm.Invalidations;

/// <summary>How much a <see cref="FlushQueue"/> lets wait, and how long.</summary>
public sealed record FlushQueueOptions
{
    /// <summary>How many entries may be in quarantine: 1 …. When there is no room the adder flushes.</summary>
    public int Capacity { get; init; } = 1024;

    /// <summary>With so many entries in quarantine the adder flushes: 1 … <see cref="Capacity"/>.</summary>
    public int FlushAtCount { get; init; } = 256;

    /// <summary>An entry that has waited so long is flushed by the next add or poll.</summary>
    public TimeSpan FlushAtAge { get; init; } = TimeSpan.FromMilliseconds(10);

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}

/// <summary>
/// Deferred invalidation: what was unmapped is held back, and many unmaps share one wait for the hardware.
/// </summary>
/// <remarks>
/// <para><b>Promise.</b> Nothing is released before its invalidations are known to be complete. An entry is flushed by count,
/// by age (looked at by <see cref="TryAdd"/> and <see cref="TryPoll"/>; there
/// is no timer), or on demand.</para>
/// <para><b>Cost.</b> A flush is one <see cref="IIommu.Invalidate"/> for each IOMMU, with at most eight ranges of a domain;
/// ranges that touch are one, and where there would be more it is the domain as a whole. Nothing is allocated once the queue
/// has seen as much as it holds.</para>
/// <para><b>Errors.</b> On <see cref="VcmmError.HardwareFailure"/> everything stays in quarantine and is part of the next flush.
/// After a failure the count alone starts no flush until <see cref="FlushQueueOptions.FlushAtAge"/> has passed: the
/// adders do not all wait for hardware that does not answer.</para>
/// <para><b>Threads.</b> Any number at once. The lock of the entries is held for a few instructions; the lock of the flush is
/// held across the wait for the hardware. Neither is held while something is released, so that a release may add and flush; whoever flushes
/// waits until it is done.</para>
/// </remarks>
public sealed class FlushQueue
{
    [LockRank(LockRank.Flush)]
    private readonly object _flushGate = new();
    [LockRank(LockRank.Quarantine)]
    private readonly object _gate = new();
    private readonly FlushQueueOptions _options;
    private readonly Stack<FlushBatch> _idle = new();
    private readonly List<(long Number, int Thread)> _releasing = [];
    private FlushBatch _waiting = new();
    private long _settledCount;
    private int _count;
    private bool _hasFailed;
    private long _failedAt;

    /// <summary>An empty queue.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A count is outside its range.</exception>
    public FlushQueue(FlushQueueOptions? options = null)
    {
        _options = options ?? new();
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.FlushAtCount, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.FlushAtCount, _options.Capacity, nameof(options));
        ArgumentNullException.ThrowIfNull(_options.Time, nameof(options));
    }

    /// <summary>How many entries are in quarantine, those of a flush under way included.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _count;
        }
    }

    /// <summary>Puts something into quarantine until all of <paramref name="invalidations"/> are complete.</summary>
    /// <param name="invalidations">
    /// Of any IOMMUs and domains; the entries of the tables have been cleared, and that is visible to the IOMMUs. None: it is
    /// released by the next flush.
    /// </param>
    /// <param name="quarantined">What is released then.</param>
    /// <returns>
    /// <see cref="VcmmError.HardwareFailure"/> if the queue is full and cannot be flushed: nothing was added. A flush that was
    /// due for another reason and failed is no refusal: the entry is in quarantine with the others.
    /// </returns>
    public VcmmError TryAdd(ReadOnlySpan<PendingInvalidation> invalidations, IQuarantined quarantined)
    {
        ArgumentNullException.ThrowIfNull(quarantined);
        foreach (PendingInvalidation invalidation in invalidations) ArgumentNullException.ThrowIfNull(invalidation.Iommu, nameof(invalidations));
        while (true)
        {
            lock (_gate)
            {
                if (_count < _options.Capacity)
                {
                    long now = _options.Time.GetTimestamp();
                    _waiting.Add(invalidations, quarantined, now);
                    _count++;
                    if (!IsDue(now)) return VcmmError.None;
                    break;
                }
            }

            VcmmError error = TryFlush();
            if (error != VcmmError.None) return error;
        }

        FlushWhatIsDue();
        return VcmmError.None;
    }

    /// <summary>Flushes if an entry has waited for long enough.</summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; then everything is still in quarantine.</returns>
    public VcmmError TryPoll()
    {
        lock (_gate)
        {
            if (_waiting.EntryCount == 0 || !IsOld(_options.Time.GetTimestamp())) return VcmmError.None;
        }

        return TryFlush();
    }

    /// <summary>
    /// Flushes. When this returns without an error the hardware has forgotten everything that was added before the call, and
    /// it was released. Called from within a release it waits for no other: what other threads release then may take a while longer.
    /// </summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; then everything is still in quarantine.</returns>
    public VcmmError TryFlush()
    {
        VcmmError error = FlushNow();
        if (error == VcmmError.None) AwaitReleases();
        return error;
    }

    /// <summary>Flushes.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFlush"/>.</exception>
    public void Flush() => VcmmException.ThrowIf(TryFlush(), nameof(Flush));

    private VcmmError FlushNow()
    {
        FlushBatch batch;
        long number;
        lock (_flushGate)
        {
            lock (_gate)
            {
                if (_waiting.EntryCount == 0) return VcmmError.None;
                batch = _waiting;
                _waiting = _idle.Count != 0 ? _idle.Pop() : new();
            }

            VcmmError error = VcmmError.HardwareFailure;
            try
            {
                error = batch.Invalidate();
            }
            finally
            {
                // Also where an IOMMU throws: nothing may leave quarantine unseen.
                lock (_gate) number = Settle(batch, error);
            }

            if (error != VcmmError.None) return error;
        }

        try
        {
            batch.Release();
        }
        finally
        {
            // Also where a release throws: nobody waits for ever.
            lock (_gate)
            {
                _releasing.Remove((number, Environment.CurrentManagedThreadId));
                Monitor.PulseAll(_gate);
            }
        }

        lock (_gate) _idle.Push(batch);
        return VcmmError.None;
    }

    /// <summary>Until what is out of quarantine by now is released, whoever does that.</summary>
    private void AwaitReleases()
    {
        lock (_gate)
        {
            // Two that release and wait for each other would wait for ever.
            if (IsReleasing(long.MaxValue, Environment.CurrentManagedThreadId)) return;
            long last = _settledCount;
            while (IsReleasing(last, null)) Monitor.Wait(_gate);
        }
    }

    /// <summary>Whether a batch up to <paramref name="last"/> is being released, by <paramref name="thread"/> or by anybody.</summary>
    private bool IsReleasing(long last, int? thread)
    {
        foreach ((long number, int releaser) in _releasing)
        {
            if (number <= last && (thread is null || releaser == thread)) return true;
        }

        return false;
    }

    /// <summary>Under the lock of the entries: the batch is out of quarantine, and this thread releases it, or it is what waits.</summary>
    /// <returns>The number of the batch; without a meaning after an error.</returns>
    private long Settle(FlushBatch batch, VcmmError error)
    {
        _hasFailed = error != VcmmError.None;
        if (!_hasFailed)
        {
            _count -= batch.EntryCount;
            _settledCount++;
            _releasing.Add((_settledCount, Environment.CurrentManagedThreadId));
            return _settledCount;
        }

        _failedAt = _options.Time.GetTimestamp();
        // What was added meanwhile waits behind it.
        batch.Append(_waiting);
        _idle.Push(_waiting);
        _waiting = batch;
        return 0;
    }

    private void FlushWhatIsDue()
    {
#pragma warning disable CA1031 // Whatever it is, the entry is in quarantine, and an exception would say that it is not; the next flush meets it.
        try
        {
            TryFlush();
        }
        catch (Exception)
        {
        }
#pragma warning restore CA1031
    }

    private bool IsDue(long now) => IsOld(now) || (_waiting.EntryCount >= _options.FlushAtCount && !_hasFailed);

    /// <summary>After a failure age counts from the failure on.</summary>
    private bool IsOld(long now) =>
        _options.Time.GetElapsedTime(_hasFailed ? _failedAt : _waiting.OldestTimestamp, now) >= _options.FlushAtAge;
}

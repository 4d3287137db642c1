using System.Runtime.CompilerServices;
using Platform;
using Properties.Cli;
using Vcmm;
using Vcmm.Invalidations;

namespace Properties.Library;

/// <summary>What a flush releases: who waits for that, in what state the queue is after it, and what it keeps.</summary>
public sealed class FlushQueueReleaseLaws : IDisposable
{
    private const ulong Page = 4096;

    // What waits for nobody is there within a millisecond; only what waits wrongly is waited for so long.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), Page));
    private readonly FakeClock _clock = new();
    private readonly ForgettingIommu _iommu;
    private readonly FlushQueue _queue;

    public FlushQueueReleaseLaws()
    {
        _iommu = new(new RecordingIommu(_ram.Port));
        _queue = new(new() { FlushAtCount = 4, FlushAtAge = TimeSpan.FromMilliseconds(10), Time = _clock });
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_flush_waits_for_what_another_thread_is_releasing_and_for_no_more()
    {
        bool isBack = false;
        bool cameTooSoon = false;
        using var isReleased = new ManualResetEventSlim();
        using var mayEnd = new ManualResetEventSlim();
        var waiter = new Thread(() =>
        {
            _queue.Flush();
            Volatile.Write(ref isBack, true);
        });
        var releaser = new Thread(() =>
        {
            Add(() =>
            {
                isReleased.Set();
                mayEnd.Wait();
            });
            _queue.Flush();
        });
        Add(() =>
        {
            waiter.Start();
            AwaitRest(waiter);
            cameTooSoon = Volatile.Read(ref isBack);
            // What is taken out later is not waited for.
            releaser.Start();
            isReleased.Wait();
        });
        var flusher = new Thread(_queue.Flush);
        flusher.Start();
        isReleased.Wait();
        bool cameAtLast = waiter.Join(Patience);
        mayEnd.Set();
        foreach (Thread thread in (Thread[])[waiter, releaser, flusher]) thread.Join();
        Assert.Equal((false, true), (cameTooSoon, cameAtLast));
    }

    [Fact]
    public void Of_several_releases_that_throw_the_first_is_told_and_all_are_done()
    {
        int count = 0;
        for (int i = 0; i < 3; i++) Add(() => throw new InvalidOperationException($"{++count}"));
        Assert.Equal("1", Assert.Throws<InvalidOperationException>(_queue.Flush).Message);
        Assert.Equal((3, 0), (count, _queue.Count));
    }

    [Fact]
    public void Each_flush_tells_and_releases_what_came_since_the_last()
    {
        int count = 0;
        // Batches are used by turns: the third flush has the first one's.
        for (uint round = 1; round <= 4; round++)
        {
            Add(() => count++, round);
            _queue.Flush();
            Assert.Equal(new DomainId(round), Assert.Single(_iommu.Batches[^1]).Domain);
            Assert.Equal((round, 0), ((uint)count, _queue.Count));
        }
    }

    [Fact]
    public void What_a_flush_that_fails_takes_over_is_told_and_released_once()
    {
        int count = 0;
        Add(() => count++);
        _iommu.Outcome = () =>
        {
            if (_queue.Count == 1) Add(() => count++, 2);
            return VcmmError.HardwareFailure;
        };
        Assert.Equal(VcmmError.HardwareFailure, _queue.TryFlush());
        _iommu.Outcome = static () => VcmmError.None;
        for (uint round = 3; round <= 6; round++)
        {
            _queue.Flush();
            Add(() => count++, round);
        }

        _queue.Flush();
        Assert.Equal(6, count);
        Assert.Equal([2, 1, 1, 1, 1], _iommu.Batches.Skip(1).Select(batch => batch.Length));
    }

    [Fact]
    public void Age_counts_from_the_first_add_and_after_a_failure_from_that()
    {
        _clock.Advance(TimeSpan.FromMilliseconds(100));
        Add(static () => { });
        Poll(9, 0);
        Add(static () => { });
        _iommu.Outcome = static () => VcmmError.HardwareFailure;
        Poll(1, 1);
        Poll(9, 1);
        Poll(1, 2);
        _iommu.Outcome = static () => VcmmError.None;
        Poll(10, 3);
        Assert.Equal(0, _queue.Count);
        // The next is as young as it is, whatever was before.
        Add(static () => { });
        Poll(9, 3);
        Poll(1, 4);

        void Poll(int milliseconds, int toldCount)
        {
            _clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
            _queue.TryPoll();
            Assert.Equal(toldCount, _iommu.Batches.Count);
        }
    }

    [Fact]
    public void What_is_nothing_is_refused_and_nothing_is_added()
    {
        Assert.Throws<ArgumentNullException>("quarantined", () => _queue.TryAdd([], null!));
        Assert.Throws<ArgumentNullException>("invalidations", () => _queue.TryAdd([default], new Entry(static () => { })));
        Assert.Equal((0, VcmmError.None), (_queue.Count, _queue.TryFlush()));
    }

    [Fact]
    public void An_idle_queue_keeps_no_iommu_alive()
    {
        (WeakReference first, WeakReference second) = UseTwo();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.Equal((false, false), (first.IsAlive, second.IsAlive));
        Assert.Equal(0, _queue.Count);
    }

    // Not inlined: nothing of it is on the stack afterwards.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private (WeakReference First, WeakReference Second) UseTwo()
    {
        var iommus = new IIommu[2];
        for (int i = 0; i < 2; i++)
        {
            iommus[i] = new QuietIommu(new RecordingIommu(_ram.Port));
            _queue.TryAdd([new(iommus[i], new(1), IovaRange.FromLength(new(0), Page), true)], new Entry(static () => { }));
        }

        _queue.Flush();
        return (new(iommus[0]), new(iommus[1]));
    }

    private void Add(Action release, uint domain = 1) =>
        Assert.Equal(VcmmError.None, _queue.TryAdd([new(_iommu, new(domain), IovaRange.FromLength(new(0), Page), true)], new Entry(release)));

    /// <summary>Until the thread has ended or waits.</summary>
    private static void AwaitRest(Thread thread)
    {
        var spin = new SpinWait();
        while (thread.IsAlive && (thread.ThreadState & ThreadState.WaitSleepJoin) == 0) spin.SpinOnce(sleep1Threshold: -1);
    }

    private sealed class Entry(Action release) : IQuarantined
    {
        public void Release() => release();
    }
}

using CsCheck;
using Harness.Generating;
using Harness;
using Platform;
using Properties.Cli;
using Vcmm;
using Vcmm.Invalidations;

namespace Properties.Library;

/// <summary>Deferred invalidation: I5 and I11 where the wait for the hardware is shared.</summary>
public sealed class FlushQueueLaws : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), Page));
    private readonly FakeClock _clock = new();
    private readonly ForgettingIommu _first;
    private readonly ForgettingIommu _second;

    public FlushQueueLaws()
    {
        _first = new(new RecordingIommu(_ram.Port));
        _second = new(new RecordingIommu(_ram.Port));
    }

    private static readonly Gen<Step> Steps = Gen.Frequency(
        (8, Gen.Select(
            Gen.Select(Gen.Int[0, 1], Gen.UInt[1, 3], Gen.ULong[0, 30], Gen.ULong[1, 6], Gen.Bool, (iommu, domain, page, count, leaves) => new Part(iommu, new(domain), IovaRange.FromLength(new(page * 4096), count * 4096), leaves)).Array[0, 3],
            parts => (Step)new Add(parts))),
        (1, Gen.Const((Step)new Flush())),
        (2, Gen.Int[1, 8].Select(milliseconds => (Step)new Wait(milliseconds))),
        (1, Gen.Select(Gen.Int[0, 1], Gen.Int[1, 3], (iommu, calls) => (Step)new Fail(iommu, calls))));

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Nothing_is_released_before_every_iommu_has_forgotten_all_of_it()
    {
        int released = 0, failures = 0, merged = 0;
        Gen.Select(Gen.Int[1, 12], Gen.Int[1, 12], Steps.Array[1, 80]).ForAll(
            1000,
            (capacity, count, steps) =>
            {
                (int Released, int Failures, int Merged) seen = Run(capacity, Math.Min(capacity, count), steps);
                released += seen.Released;
                failures += seen.Failures;
                merged += seen.Merged;
            });
        Assert.True(released > 5000 && failures > 500 && merged > 200, $"{released} releases, {failures} failures, {merged} flushes of several entries");
    }

    private static (int Released, int Failures, int Merged) Run(int capacity, int flushAtCount, Step[] steps)
    {
        using var world = new FlushQueueLaws();
        var queue = new FlushQueue(new() { Capacity = capacity, FlushAtCount = flushAtCount, FlushAtAge = TimeSpan.FromMilliseconds(10), Time = world._clock });
        ForgettingIommu[] iommus = [world._first, world._second];
        int[] failing = new int[2];
        int failures = 0, releases = 0, merged = 0, releasedBefore = 0;
        for (int i = 0; i < 2; i++)
        {
            int which = i;
            iommus[i].Outcome = () =>
            {
                if (failing[which] == 0) return VcmmError.None;
                failing[which]--;
                failures++;
                return VcmmError.HardwareFailure;
            };
        }

        var entries = new List<Held>();
        foreach (Step step in steps)
        {
            releasedBefore = releases;
            switch (step)
            {
                case Add add:
                    var held = new Held(self =>
                    {
                        Assert.All(iommus, iommu => Assert.False(iommu.IsStale(self), "released while an IOMMU may hold it"));
                        releases++;
                    });
                    foreach (Part part in add.Parts) iommus[part.Iommu].MakeStale(part.Domain, part.Range, part.LeavesOnly, held);
                    VcmmError error = queue.TryAdd([.. add.Parts.Select(part => new PendingInvalidation(iommus[part.Iommu], part.Domain, part.Range, part.LeavesOnly))], held);
                    if (error == VcmmError.None) entries.Add(held);
                    else Assert.Equal((VcmmError.HardwareFailure, capacity, 0), (error, queue.Count, held.Releases));
                    break;
                case Flush:
                    if (queue.TryFlush() == VcmmError.None) Assert.Equal((0, entries.Count), (queue.Count, releases));
                    break;
                case Wait wait:
                    world._clock.Advance(TimeSpan.FromMilliseconds(wait.Milliseconds));
                    queue.TryPoll();
                    break;
                case Fail fail:
                    failing[fail.Iommu] = fail.Calls;
                    break;
            }

            if (releases > releasedBefore + 1) merged++;
            Assert.InRange(queue.Count, 0, capacity);
            Assert.Equal(entries.Count, queue.Count + releases);
            Assert.All(entries, entry => Assert.InRange(entry.Releases, 0, 1));
        }

        failing.AsSpan().Clear();
        queue.Flush();
        Assert.All(entries, entry => Assert.Equal(1, entry.Releases));
        return (releases, failures, merged);
    }

    [Fact]
    public void A_flush_tells_each_iommu_once_and_ranges_that_touch_are_one()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        var held = new Held();
        for (ulong i = 0; i < 4; i++) queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(i * Page), Page), LeavesOnly: true)], held);
        queue.TryAdd(
            [
                new(_second, new(3), IovaRange.FromLength(new(0), Page), LeavesOnly: false),
                new(_first, new(2), IovaRange.FromLength(new(8 * Page), 2 * Page), LeavesOnly: false),
                new(_first, new(1), IovaRange.FromLength(new(6 * Page), Page), LeavesOnly: true),
            ],
            held);
        queue.Flush();
        Assert.Equal(
            [
                new(new(1), IovaRange.FromLength(new(0), 4 * Page), true),
                new(new(1), IovaRange.FromLength(new(6 * Page), Page), true),
                new(new(2), IovaRange.FromLength(new(8 * Page), 2 * Page), false),
            ],
            Assert.Single(_first.Batches));
        Assert.Equal([new Invalidation(new(3), IovaRange.FromLength(new(0), Page), false)], Assert.Single(_second.Batches));
        Assert.Equal(5, held.Releases);

        // Nothing waits: nobody is told.
        queue.Flush();
        Assert.Single(_first.Batches);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_comes_during_a_flush_that_fails_is_told_by_the_next_as_it_was_given(bool leavesOnly)
    {
        var queue = new FlushQueue(new() { Time = _clock });
        var held = new Held();
        queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(0), Page), LeavesOnly: true)], held);
        _first.Outcome = () =>
        {
            queue.TryAdd([new(_first, new(2), IovaRange.FromLength(new(Page), Page), leavesOnly)], held);
            return VcmmError.HardwareFailure;
        };
        Assert.Equal(VcmmError.HardwareFailure, queue.TryFlush());
        Assert.Equal(0, held.Releases);
        _first.Outcome = static () => VcmmError.None;
        queue.Flush();
        Assert.Equal(
            [new(new(1), IovaRange.FromLength(new(0), Page), true), new Invalidation(new(2), IovaRange.FromLength(new(Page), Page), leavesOnly)],
            _first.Batches[^1]);
        Assert.Equal(2, held.Releases);
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(9, 1)]
    public void Many_ranges_of_a_domain_become_the_domain(int ranges, int commands)
    {
        var queue = new FlushQueue(new() { Time = _clock });
        for (int i = 0; i < ranges; i++)
            queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(2 * (ulong)i * Page), Page), LeavesOnly: true)], new Held());
        queue.Flush();
        Invalidation[] batch = Assert.Single(_first.Batches);
        Assert.Equal(commands, batch.Length);
        if (commands == 1) Assert.Equal(new Invalidation(new(1), new(new(0), new(ulong.MaxValue)), true), batch[0]);
    }

    [Fact]
    public void Both_ends_of_the_address_space_can_wait()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        IovaRange top = new(new(ulong.MaxValue - Page + 1), new(ulong.MaxValue));
        queue.TryAdd([new(_first, new(1), top, LeavesOnly: true)], new Held());
        queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(0), Page), LeavesOnly: true)], new Held());
        queue.TryAdd([new(_first, new(1), new(new(ulong.MaxValue - 2 * Page + 1), new(ulong.MaxValue - Page)), LeavesOnly: true)], new Held());
        queue.Flush();
        Assert.Equal(
            [IovaRange.FromLength(new(0), Page), new(new(ulong.MaxValue - 2 * Page + 1), new(ulong.MaxValue))],
            Assert.Single(_first.Batches).Select(command => command.Range));
    }

    [Fact]
    public void It_is_flushed_by_count_by_age_and_when_full()
    {
        var queue = new FlushQueue(new() { Capacity = 4, FlushAtCount = 3, FlushAtAge = TimeSpan.FromMilliseconds(10), Time = _clock });
        var held = new Held();
        AddTo(queue, held, 2);
        Assert.Equal(0, held.Releases);
        AddTo(queue, held, 1);
        Assert.Equal(3, held.Releases);

        AddTo(queue, held, 1);
        _clock.Advance(TimeSpan.FromMilliseconds(9));
        Assert.Equal(VcmmError.None, queue.TryPoll());
        Assert.Equal(3, held.Releases);
        _clock.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal(VcmmError.None, queue.TryPoll());
        Assert.Equal(4, held.Releases);

        // The age is looked at on an add, too, and is that of the oldest.
        AddTo(queue, held, 1);
        _clock.Advance(TimeSpan.FromMilliseconds(10));
        AddTo(queue, held, 1);
        Assert.Equal(6, held.Releases);

        // Hardware that does not answer is not asked at each add, but when it is full and when time has passed.
        _first.Batches.Clear();
        _first.Outcome = static () => VcmmError.HardwareFailure;
        AddTo(queue, held, 4);
        Assert.Single(_first.Batches);
        Assert.Equal(VcmmError.HardwareFailure, queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(0), Page), true)], held));
        Assert.Equal((2, 4, 6), (_first.Batches.Count, queue.Count, held.Releases));
        _clock.Advance(TimeSpan.FromMilliseconds(10));
        Assert.Equal(VcmmError.HardwareFailure, queue.TryPoll());
        _first.Outcome = static () => VcmmError.None;
        AddTo(queue, held, 1);
        Assert.Equal((1, 10), (queue.Count, held.Releases));
    }

    [Fact]
    public void A_flush_that_fails_keeps_what_came_meanwhile()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        var first = new Held();
        var second = new Held();
        _first.Outcome = () =>
        {
            if (queue.Count == 1) AddTo(queue, second, 1);
            return VcmmError.HardwareFailure;
        };
        AddTo(queue, first, 1);
        Assert.Equal(VcmmError.HardwareFailure, queue.TryFlush());
        Assert.Equal((2, 0, 0), (queue.Count, first.Releases, second.Releases));
        _first.Outcome = static () => VcmmError.None;
        queue.Flush();
        Assert.Equal((0, 1, 1), (queue.Count, first.Releases, second.Releases));
    }

    [Fact]
    public void A_release_may_add_and_flush()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        var last = new Held();
        var middle = new Held(_ =>
        {
            AddTo(queue, last, 1);
            queue.Flush();
        });
        AddTo(queue, middle, 1);
        queue.Flush();
        Assert.Equal((1, 1, 0), (middle.Releases, last.Releases, queue.Count));
    }

    [Fact]
    public void Steady_state_allocates_nothing()
    {
        var quiet = new QuietIommu(new RecordingIommu(_ram.Port));
        var queue = new FlushQueue(new() { Capacity = 64, FlushAtCount = 16, Time = _clock });
        var held = new Held();
        void Round()
        {
            for (ulong i = 0; i < 100; i++) queue.TryAdd([new(quiet, new(1 + (uint)i % 3), IovaRange.FromLength(new(i * 2 * Page), Page), LeavesOnly: true)], held);
            quiet.Outcome = VcmmError.HardwareFailure;
            queue.TryFlush();
            quiet.Outcome = VcmmError.None;
            queue.TryFlush();
        }

        for (int i = 0; i < 20; i++) Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 20; i++) Round();
        }));
        Assert.Equal(4000, held.Releases);
        Assert.True(quiet.Count > 200);
    }

    [Fact]
    [Trait("Category", "Threads")]
    public void Two_threads_lose_nothing_and_release_nothing_early()
    {
        var queue = new FlushQueue(new() { Capacity = 8, FlushAtCount = 4, FlushAtAge = TimeSpan.FromDays(1), Time = _clock });
        int calls = 0;
        _first.Outcome = () => ++calls % 5 == 0 ? VcmmError.HardwareFailure : VcmmError.None;
        int released = 0, early = 0, added = 0;
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(id => new Thread(() =>
        {
            for (int i = 0; i < 2000; i++)
            {
                var held = new Held(self =>
                {
                    if (_first.IsStale(self)) Interlocked.Increment(ref early);
                    Interlocked.Increment(ref released);
                });
                var range = IovaRange.FromLength(new((ulong)(i % 16 * 2 + id) * Page), Page);
                _first.MakeStale(new(1), range, true, held);
                if (queue.TryAdd([new(_first, new(1), range, true)], held) == VcmmError.None) Interlocked.Increment(ref added);
                else if (_first.IsStale(held) == false) Interlocked.Increment(ref early);
            }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        _first.Outcome = static () => VcmmError.None;
        queue.Flush();
        Assert.Equal((0, added, 0), (early, released, queue.Count));
        Assert.True(added > 2000 && calls > 500);
    }

    [Fact]
    public void Options_that_make_no_sense_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new FlushQueue(new() { Capacity = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new FlushQueue(new() { Capacity = 0, FlushAtCount = 0 }));
        Assert.Throws<ArgumentNullException>("options", () => new FlushQueue(new() { Time = null! }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new FlushQueue(new() { FlushAtCount = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new FlushQueue(new() { Capacity = 4, FlushAtCount = 5 }));
    }

    private void AddTo(FlushQueue queue, Held held, int times)
    {
        for (int i = 0; i < times; i++)
            Assert.Equal(VcmmError.None, queue.TryAdd([new(_first, new(1), IovaRange.FromLength(new(0), Page), true)], held));
    }

    private sealed class Held(Action<object>? onRelease = null) : IQuarantined
    {
        private int _releases;

        public int Releases => _releases;

        public void Release()
        {
            Interlocked.Increment(ref _releases);
            onRelease?.Invoke(this);
        }
    }

    private abstract record Step;

    private sealed record Part(int Iommu, DomainId Domain, IovaRange Range, bool LeavesOnly);

    private sealed record Add(Part[] Parts) : Step;

    private sealed record Flush : Step;

    private sealed record Wait(int Milliseconds) : Step;

    private sealed record Fail(int Iommu, int Calls) : Step;
}

/// <summary>An IOMMU whose invalidations cost nothing and are counted.</summary>
internal sealed class QuietIommu(IIommu inner) : Harness.Passing.PassingIommu(inner)
{
    public int Count { get; private set; }

    public VcmmError Outcome { get; set; }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Count++;
        return Outcome;
    }
}

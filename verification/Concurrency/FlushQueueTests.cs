using Explorer.Scheduling;
using Vcmm;
using Vcmm.Invalidations;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>What a flush promises where another thread flushes, too, in every schedule with so many interruptions.</summary>
public sealed class FlushQueueTests
{
    private static readonly ExplorationPlan Plan = new(Strategy.Random, 1, 200_000);

    [Fact]
    public void What_was_added_before_a_flush_is_released_when_it_returns_whoever_does_it() => Survive(attempt =>
    {
        var queue = new FlushQueue();
        var before = new Entry(static () => { });
        queue.TryAdd([], before);
        void Flush()
        {
            queue.TryFlush();
            attempt.Check(Invariant.Linearizable, Volatile.Read(ref before.Releases) == 1, () => $"released {before.Releases} times", () => "released once");
        }

        Task[] both = [Task.Run(Flush), Task.Run(Flush)];
        Task.WaitAll(both);
    });

    [Fact]
    public void Releases_that_flush_do_not_wait_for_each_other() => Survive(attempt =>
    {
        var queue = new FlushQueue();
        var entries = new List<Entry>();
        void AddAndFlush(Entry entry)
        {
            queue.TryAdd([], entry);
            queue.TryFlush();
        }

        for (int i = 0; i < 2; i++) entries.Add(new(() => queue.TryFlush()));
        Task[] both = [Task.Run(() => AddAndFlush(entries[0])), Task.Run(() => AddAndFlush(entries[1]))];
        Task.WaitAll(both);
        foreach (Entry entry in entries)
            attempt.Check(Invariant.Conservation, entry.Releases == 1, () => $"released {entry.Releases} times", () => "released once");
    });

    private static void Survive(Action<Attempt> body)
    {
        (bool isComplete, Exploration result) = Controlled.Exhaust(Plan, 2, body);
        Assert.Null(result.Failure?.Violation);
        Assert.True(isComplete);
    }

    private sealed class Entry(Action whenReleased) : IQuarantined
    {
        public int Releases;

        public void Release()
        {
            whenReleased();
            Interlocked.Increment(ref Releases);
        }
    }
}

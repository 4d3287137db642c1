using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>Finds the orders of a concurrent history that the model accepts.</summary>
/// <remarks><b>Source.</b> Wing and Gong, "Testing and Verifying Concurrent Objects", 1993: a search over what may come next.</remarks>
public static class Linearization
{
    private static readonly Surroundings Plenty = new(ulong.MaxValue);

    /// <summary>The world after each order that the model accepts, found one by one; none: the history is not linearizable.</summary>
    public static IEnumerable<World> EndsOf(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history) => Search(start, history, new int[history.Length]);

    private static IEnumerable<World> Search(World world, ImmutableArray<ImmutableArray<HistoryEntry>> history, int[] next)
    {
        int[] open = [.. Enumerable.Range(0, history.Length).Where(thread => next[thread] < history[thread].Length)];
        if (open.Length == 0)
        {
            yield return world;
            yield break;
        }

        // Whatever was called after another had returned comes after it.
        int firstReturn = open.Min(thread => history[thread][next[thread]].Ended);
        foreach (int thread in open)
        {
            HistoryEntry entry = history[thread][next[thread]];
            if (entry.Begun > firstReturn || !entry.Operation.Uses.All(world.Knows)) continue;
            next[thread]++;
            foreach (World after in After(world, entry))
            {
                foreach (World end in Search(after, history, next)) yield return end;
            }

            next[thread]--;
        }
    }

    /// <summary>
    /// The worlds that may follow an operation. Nobody looked at how much waits for a flush then: what is due is flushed, and more may be, since one
    /// that another thread has begun may come to what this one left.
    /// </summary>
    private static IEnumerable<World> After(World world, HistoryEntry entry)
    {
        Verdict<World> due = world.Judge(entry.Operation, entry.Seen, Plenty);
        if (!due.IsAccepted) yield break;
        yield return due.Next;
        for (int left = due.Next.Quarantine.Count - 1; left >= 0; left--)
        {
            Verdict<World> early = world.Judge(entry.Operation, entry.Seen with { Quarantined = left }, Plenty);
            if (early.IsAccepted) yield return early.Next;
        }
    }
}

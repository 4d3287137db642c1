using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>Finds the orders of a concurrent history that the model accepts.</summary>
/// <remarks>
/// <b>Source.</b> Wing and Gong, "Testing and Verifying Concurrent Objects", 1993: a search over what may come next. Lowe, "Testing for linearizability", 2017: where
/// the same operations have been done, in whatever order, and have come to the same, nothing new can follow.
/// </remarks>
public sealed class Linearization
{
    private static readonly Surroundings Plenty = new(ulong.MaxValue);

    private readonly ImmutableArray<ImmutableArray<HistoryEntry>> _history;
    private readonly HashSet<string> _tried = [];
    private readonly CanonicalForm _form;

    private Linearization(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history)
    {
        _history = history;
        _form = CanonicalForm.WithNames(start.WithoutObjects());
    }

    /// <summary>The worlds, each once, that lawful orders end in, found one by one; none: the history is not linearizable.</summary>
    public static IEnumerable<World> EndsOf(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history) => EndsOf(start, history, static _ => { });

    /// <summary>The same.</summary>
    /// <param name="start">The world in which the history begins.</param>
    /// <param name="history">What each thread has done.</param>
    /// <param name="visited">Told, whenever another end was found and at the end, in how many different places the search has been.</param>
    public static IEnumerable<World> EndsOf(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history, Action<int> visited)
    {
        var search = new Linearization(start, history);
        foreach (World end in search.Search(start, new int[history.Length]))
        {
            visited(search._tried.Count);
            yield return end;
        }

        visited(search._tried.Count);
    }

    private IEnumerable<World> Search(World world, int[] next)
    {
        if (!_tried.Add($"{string.Join(' ', next)} {Convert.ToBase64String(_form.Of(world))}")) yield break;
        int[] open = [.. Enumerable.Range(0, _history.Length).Where(thread => next[thread] < _history[thread].Length)];
        if (open.Length == 0)
        {
            yield return world;
            yield break;
        }

        // Whatever was called after another had returned comes after it.
        int firstReturn = open.Min(thread => _history[thread][next[thread]].Ended);
        foreach (int thread in open)
        {
            HistoryEntry entry = _history[thread][next[thread]];
            if (entry.Begun > firstReturn || !entry.Operation.Uses.All(world.Knows)) continue;
            next[thread]++;
            foreach (World after in After(world, entry))
            {
                foreach (World end in Search(after, next)) yield return end;
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

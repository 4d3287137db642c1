using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>An order of a concurrent history that the model accepts.</summary>
/// <param name="Steps">Each operation, in that order, and the world that it met.</param>
/// <param name="End">The world after all.</param>
public sealed record LawfulOrder(ImmutableArray<(World Before, HistoryEntry Entry)> Steps, World End);

/// <summary>Finds the orders of a concurrent history that the model accepts.</summary>
/// <remarks>
/// <b>Source.</b> Wing and Gong, "Testing and Verifying Concurrent Objects", 1993: a search over what may come next. Lowe, "Testing for linearizability", 2017: where
/// the same operations have been done, in whatever order, and have come to the same, nothing new can follow. Herlihy and Wing, "Linearizability: A Correctness
/// Condition for Concurrent Objects", 1990, theorem 1: objects that have nothing to do with each other are searched one after the other (<see cref="HistoryParts"/>).
/// </remarks>
public sealed class Linearization
{
    private readonly ImmutableArray<ImmutableArray<HistoryEntry>> _history;
    private readonly HashSet<string> _tried = [];
    private readonly CanonicalForm _form;
    private readonly List<(World Before, HistoryEntry Entry)> _steps = [];

    private Linearization(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history)
    {
        _history = history;
        _form = CanonicalForm.WithNames(start.WithoutObjects());
    }

    /// <summary>Lawful orders, one for each world that such end in, found one by one; none: the history is not linearizable.</summary>
    /// <param name="start">The world in which the history begins.</param>
    /// <param name="history">What each thread has done.</param>
    /// <param name="visited">Told, whenever another end was found and at the end, in how many more places the search has been; null: nobody.</param>
    /// <param name="isWhole">Whether it is searched as a whole, even if it could be searched in parts.</param>
    public static IEnumerable<LawfulOrder> OrdersOf(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history, Action<int>? visited = null, bool isWhole = false) =>
        OrdersOf(start, isWhole ? [history] : HistoryParts.Of(start, history), visited ?? (static _ => { }));

    private static IEnumerable<LawfulOrder> OrdersOf(World start, ImmutableArray<ImmutableArray<ImmutableArray<HistoryEntry>>> parts, Action<int> visited)
    {
        if (parts.IsEmpty)
        {
            yield return new([], start);
            yield break;
        }

        var search = new Linearization(start, parts[0]);
        int told = 0;
        foreach (World end in search.Search(start, new int[parts[0].Length]))
        {
            Tell();
            ImmutableArray<(World, HistoryEntry)> steps = [.. search._steps];
            foreach (LawfulOrder rest in OrdersOf(end, parts.RemoveAt(0), visited)) yield return rest with { Steps = steps.AddRange(rest.Steps) };
        }

        Tell();

        void Tell()
        {
            visited(search._tried.Count - told);
            told = search._tried.Count;
        }
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
            _steps.Add((world, entry));
            foreach (World after in After(world, entry, next))
            {
                foreach (World end in Search(after, next)) yield return end;
            }

            _steps.RemoveAt(_steps.Count - 1);
            next[thread]--;
        }
    }

    private IEnumerable<World> After(World world, HistoryEntry entry, int[] next)
    {
        bool isAccepted = false;
        foreach (World after in After(world, entry))
        {
            isAccepted = true;
            yield return after;
        }

        if (!isAccepted && entry.Operation is CoreAccess or Translate && Foresees(world, entry, next)) yield return world;
    }

    /// <summary>
    /// Whether an access, or a translation, met what calls make that are under way with it, and that nobody else has seen yet: a table is written before
    /// the call is over, and a walk asks no lock.
    /// </summary>
    private bool Foresees(World world, HistoryEntry access, int[] next)
    {
        for (int thread = 0; thread < next.Length; thread++)
        {
            if (next[thread] >= _history[thread].Length || _history[thread][next[thread]] is not { Operation: not CoreAccess } call) continue;
            if (call.Begun > access.Ended || !call.Operation.Uses.All(world.Knows)) continue;
            next[thread]++;
            bool isSeen = After(world, call).Any(ahead => ahead.Judge(access.Operation, access.Seen, access.Surroundings).IsAccepted || Foresees(ahead, access, next));
            next[thread]--;
            if (isSeen) return true;
        }

        return false;
    }

    /// <summary>
    /// The worlds that may follow an operation. Nobody looked at how much waits for a flush then: what is due is flushed, and more may be, since one
    /// that another thread has begun may come to what this one left.
    /// </summary>
    private static IEnumerable<World> After(World world, HistoryEntry entry)
    {
        Verdict<World> due = world.Judge(entry.Operation, entry.Seen, entry.Surroundings);
        if (!due.IsAccepted) yield break;
        yield return due.Next;
        for (int left = due.Next.Quarantine.Count - 1; left >= 0; left--)
        {
            Verdict<World> early = world.Judge(entry.Operation, entry.Seen with { Quarantined = left }, entry.Surroundings);
            if (early.IsAccepted) yield return early.Next;
        }
    }
}

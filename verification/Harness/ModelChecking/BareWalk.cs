namespace Harness.ModelChecking;

/// <summary>The least that a breadth-first search can do: the same states, with their successors written down beforehand as numbers.</summary>
internal sealed class BareWalk
{
    private const double LeastSeconds = 0.1;
    private const int MostWalks = 1000;

    private readonly int[] _starts;
    private readonly int[] _successors;

    /// <param name="edges">From state to state, in any order; the first state is 0.</param>
    public BareWalk(IEnumerable<IEnumerable<(int From, int To)>> edges)
    {
        (int From, int To)[] sorted = [.. edges.SelectMany(static part => part).Order()];
        int count = sorted.Length == 0 ? 1 : 1 + sorted.Max(static edge => Math.Max(edge.From, edge.To));
        _starts = new int[count + 1];
        _successors = [.. sorted.Select(static edge => edge.To)];
        foreach ((int from, _) in sorted) _starts[from + 1]++;
        for (int i = 0; i < count; i++) _starts[i + 1] += _starts[i];
    }

    /// <summary>States a second.</summary>
    public double StatesPerSecond(TimeProvider time)
    {
        long start = time.GetTimestamp(), states = 0;
        for (int walks = 0; walks < MostWalks && time.GetElapsedTime(start).TotalSeconds < LeastSeconds; walks++) states += Walk();
        return states / time.GetElapsedTime(start).TotalSeconds;
    }

    private int Walk()
    {
        var seen = new bool[_starts.Length - 1];
        int[] queue = new int[seen.Length];
        int end = 1;
        seen[0] = true;
        for (int head = 0; head < end; head++)
        {
            foreach (int successor in _successors.AsSpan(_starts[queue[head]].._starts[queue[head] + 1]))
            {
                if (seen[successor]) continue;
                seen[successor] = true;
                queue[end++] = successor;
            }
        }

        return end;
    }
}

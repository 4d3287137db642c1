namespace Mutation.Hunting;

/// <summary>Work that is done in several lanes beside each other.</summary>
internal static class Lanes
{
    /// <summary>Does all; each lane takes the next piece that no other has.</summary>
    /// <param name="count">How many lanes.</param>
    /// <param name="pieces">How many pieces.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <param name="work">Given the piece and the lane.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public static void Run(int count, int pieces, CancellationToken stop, Action<int, int> work)
    {
        int next = -1;
        Task[] lanes = [.. Enumerable.Range(0, count).Select(lane => Task.Run(
            () =>
            {
                for (int i = Interlocked.Increment(ref next); i < pieces; i = Interlocked.Increment(ref next))
                {
                    stop.ThrowIfCancellationRequested();
                    work(i, lane);
                }
            },
            stop))];
        // The first that fails is told, once all have ended.
        Task.WhenAll(lanes).GetAwaiter().GetResult();
    }
}

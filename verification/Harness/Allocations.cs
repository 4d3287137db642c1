namespace Harness;

/// <summary>
/// Counts the managed memory that code allocates, in a process in which other threads allocate, too. The runtime's own count
/// (<see cref="GC.GetAllocatedBytesForCurrentThread"/>) may be too high if it is read while a collection is under way: what is left of the
/// piece of memory that the thread has in hand, up to 8 KiB, then counts as allocated. It is never too low.
/// </summary>
public static class Allocations
{
    private const int MostTries = 100;

    /// <summary>
    /// Bytes that <paramref name="body"/> allocates on the calling thread. It is run again while a collection made the count uncertain, so
    /// each run must do the same; what allocates nothing is run once, since the count starts with no memory in hand. Any thread.
    /// </summary>
    /// <exception cref="InvalidOperationException">A collection came into each of 100 runs that allocated something.</exception>
    public static long Of(Action body)
    {
        for (int i = 0; i < MostTries; i++)
        {
            // Takes from the thread what it has in hand.
            GC.Collect(0, GCCollectionMode.Forced, blocking: true);
            int collections = GC.CollectionCount(0);
            long before = GC.GetAllocatedBytesForCurrentThread();
            body();
            long bytes = GC.GetAllocatedBytesForCurrentThread() - before;
            if (bytes == 0 || GC.CollectionCount(0) == collections) return bytes;
        }

        throw new InvalidOperationException($"A collection came into each of {MostTries} runs: how much was allocated cannot be told.");
    }
}

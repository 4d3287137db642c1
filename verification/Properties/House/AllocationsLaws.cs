using Harness;

namespace Properties.House;

/// <summary>What tests count of allocations is right whatever else the process does.</summary>
[Trait("Category", "Slow")]
public sealed class AllocationsLaws
{
    private static object? s_kept;

    /// <summary>The runtime's own count is wrong in one of twenty such rounds or so.</summary>
    [Fact]
    public void Collections_for_other_threads_are_no_allocations()
    {
        bool stop = false;
        Thread[] others = [.. Enumerable.Range(0, 3).Select(_ => new Thread(Allocate))];
        foreach (Thread other in others) other.Start();
        try
        {
            for (int i = 0; i < 100; i++)
            {
                s_kept = new byte[100];
                int runs = 0;
                Assert.Equal(0, Allocations.Of(() =>
                {
                    runs++;
                    Spin();
                }));
                Assert.Equal(1, runs);
            }
        }
        finally
        {
            Volatile.Write(ref stop, true);
            foreach (Thread other in others) other.Join();
        }

        void Allocate()
        {
            // Enough that a collection takes its time.
            var kept = new List<byte[]>();
            while (!Volatile.Read(ref stop))
            {
                kept.Add(new byte[1 + kept.Count % 2000]);
                if (kept.Count > 20_000) kept.Clear();
            }
        }

        static void Spin()
        {
            ulong word = 1;
            for (int i = 0; i < 4_000_000; i++) word ^= word << 1 ^ (uint)i;
            s_kept = word == 0 ? s_kept : null;
        }
    }

    [Fact]
    public void What_is_allocated_is_counted_to_the_byte()
    {
        // A header of 16 bytes, a count of 8 in it.
        Assert.Equal(1024 + 2 * 24 + 1000, Allocations.Of(() =>
        {
            s_kept = new byte[1024];
            s_kept = new byte[1000];
        }));
    }

    [Fact]
    public void Where_each_run_is_uncertain_nothing_is_told() =>
        Assert.Throws<InvalidOperationException>(() => Allocations.Of(() =>
        {
            s_kept = new byte[8];
            GC.Collect(0, GCCollectionMode.Forced, blocking: true);
        }));
}

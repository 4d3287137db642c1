using Harness.ModelChecking;

namespace Properties.Model;

/// <summary>What a search remembers of states, and of those that it has still to expand.</summary>
public sealed class StateTableLaws
{
    // More than a chunk holds, so that the table grows, and its parts too.
    private const int Many = 200_000;

    /// <summary>Fingerprints that are spread, and such as share the shard and the slot.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    public void A_state_has_one_number_and_its_first_parent(int spread)
    {
        var random = new Random(1);
        var table = new StateTable();
        var expected = new Dictionary<ulong, (int Number, int Parent)>();
        for (int i = 0; i < Many; i++)
        {
            // Of the second kind only the middle bits differ, of which no slot is made.
            ulong fingerprint = spread == 1 ? (ulong)random.NextInt64(1, long.MaxValue) : 1 + ((ulong)random.Next(500) << 32);
            if (expected.Count != 0 && random.Next(3) == 0) fingerprint = table.FingerprintOf(random.Next(table.Count));
            bool isNew = table.TryAdd(fingerprint, i - 1, out int number);
            Assert.Equal(!expected.ContainsKey(fingerprint), isNew);
            if (isNew) expected.Add(fingerprint, (number, i - 1));
            Assert.Equal(expected[fingerprint].Number, number);
        }

        Assert.Equal(expected.Count, table.Count);
        Assert.Equal(Enumerable.Range(0, expected.Count), expected.Values.Select(static state => state.Number).Order());
        Assert.All(expected, state => Assert.Equal((state.Key, state.Value.Parent), (table.FingerprintOf(state.Value.Number), table.ParentOf(state.Value.Number))));
    }

    [Fact]
    public async Task Threads_that_add_the_same_states_add_each_once()
    {
        var table = new StateTable();
        int[] added = await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            var random = new Random(2);
            int count = 0;
            for (int i = 0; i < Many; i++)
            {
                if (table.TryAdd((ulong)random.NextInt64(1, 150_000), thread, out _)) count++;
            }

            return count;
        })));
        Assert.Equal(table.Count, added.Sum());
        Assert.Equal(table.Count, Enumerable.Range(0, table.Count).Select(table.FingerprintOf).Distinct().Count());
    }

    /// <summary>States are given out as they were written, each once, in whatever order.</summary>
    [Fact]
    public async Task What_is_written_to_a_frontier_is_read_from_it_once()
    {
        const int each = 20_000;
        var frontier = new Frontier();
        Assert.True(frontier.IsEmpty);
        await Task.WhenAll(Enumerable.Range(0, 3).Select(thread => Task.Run(() =>
        {
            var writer = new Frontier.Writer(frontier);
            for (int i = 0; i < each; i++) writer.Add((thread * each) + i, FormOf((thread * each) + i));
            // Longer than a block.
            writer.Add(-1 - thread, new byte[40_000]);
            writer.Flush();
        })));
        Assert.True(frontier.ByteCount > 3 * each);
        var read = new List<int>();
        while (frontier.Take() is var (bytes, length))
        {
            for (int offset = 0; offset < length;)
            {
                offset = Frontier.Read(bytes, offset, out int number, out ReadOnlySpan<byte> form);
                read.Add(number);
                Assert.Equal(number < 0 ? new byte[40_000] : FormOf(number), form.ToArray());
            }
        }

        Assert.Equal(Enumerable.Range(-3, 3 + (3 * each)), read.Order());
        Assert.Equal(0, frontier.ByteCount);
        Assert.Null(frontier.Take());

        static byte[] FormOf(int number) => [.. Enumerable.Range(0, number % 50).Select(i => unchecked((byte)(number + i)))];
    }

    /// <summary>Of a graph that is written down every state that can be reached is walked to.</summary>
    [Fact]
    public void A_bare_walk_goes_as_fast_as_the_clock_says()
    {
        // A ring of a thousand, and ten that cannot be reached. The clock is looked at once a walk, and before the first and after the last.
        IEnumerable<(int, int)> ring = Enumerable.Range(0, 1000).Select(static i => (i, (i + 1) % 1000)), apart = Enumerable.Range(1000, 10).Select(static i => (i, 1000));
        double speed = new BareWalk([ring, apart]).StatesPerSecond(new Coverage.LookClock());
        // 99 walks in 101 looks of a millisecond.
        Assert.InRange(speed, 980_000, 981_000);
    }
}

using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>What a gather says must be invalidated, against the set of what was added.</summary>
public sealed class GatherLaws
{
    [Fact]
    public void Everything_that_was_added_is_covered_and_no_more_while_there_is_room() =>
        Gen.Select(Gen.Int[0, 60], Gen.Int[1, 6]).Array[1, 14].ForAll(
            3000,
            added =>
            {
                var gather = new InvalidationGather();
                bool[] expected = new bool[70];
                bool joined = false;
                foreach ((int first, int count) in added)
                {
                    gather.Add(new IovaRange(new((ulong)first), new((ulong)(first + count - 1))));
                    Array.Fill(expected, true, first, count);
                    joined |= Runs(expected) > InvalidationGather.MaxRangeCount;
                }

                ReadOnlySpan<IovaRange> ranges = gather.Ranges;
                Assert.InRange(ranges.Length, 1, InvalidationGather.MaxRangeCount);
                bool[] covered = new bool[70];
                for (int i = 0; i < ranges.Length; i++)
                {
                    Array.Fill(covered, true, (int)ranges[i].First.Value, (int)ranges[i].ByteCount);
                    if (i != 0) Assert.True(ranges[i].First.Value > ranges[i - 1].Last.Value + 1, "ascending, and none touches the next");
                }

                for (int i = 0; i < covered.Length; i++) Assert.True(covered[i] || !expected[i], $"{i} is lost");
                if (!joined) Assert.Equal(expected, covered);
            });

    [Fact]
    public void When_there_are_too_many_the_two_closest_become_one()
    {
        var gather = new InvalidationGather();
        ulong[] firsts = [0, 100, 200, 300, 350, 500, 600, 700, 800];
        foreach (ulong first in firsts) gather.Add(IovaRange.FromLength(new(first), 10));
        Assert.Equal(new ulong[] { 0, 100, 200, 300, 500, 600, 700, 800 }, Firsts(gather));
        Assert.Equal(new IovaRange(new(300), new(359)), gather.Ranges[3]);
    }

    [Fact]
    public void Of_those_that_are_equally_close_the_lowest_become_one()
    {
        var gather = new InvalidationGather();
        for (ulong first = 0; first <= 800; first += 100) gather.Add(IovaRange.FromLength(new(first), 10));
        Assert.Equal(new ulong[] { 0, 200, 300, 400, 500, 600, 700, 800 }, Firsts(gather));
        Assert.Equal(new IovaRange(new(0), new(109)), gather.Ranges[0]);
    }

    [Fact]
    public void How_close_two_are_does_not_depend_on_how_long_they_are()
    {
        var gather = new InvalidationGather();
        (ulong First, ulong Last)[] added = [(0, 9), (100, 109), (200, 289), (300, 309), (350, 359), (500, 509), (600, 609), (700, 709), (800, 809)];
        foreach ((ulong first, ulong last) in added) gather.Add(new IovaRange(new(first), new(last)));
        Assert.Equal(new ulong[] { 0, 100, 200, 350, 500, 600, 700, 800 }, Firsts(gather));
        Assert.Equal(new IovaRange(new(200), new(309)), gather.Ranges[2]);
    }

    [Fact]
    public void The_ends_of_the_address_space_do_not_wrap()
    {
        var gather = new InvalidationGather();
        gather.Add(new IovaRange(new(ulong.MaxValue - 9), new(ulong.MaxValue)));
        gather.Add(new IovaRange(new(0), new(9)));
        Assert.Equal(new ulong[] { 0, ulong.MaxValue - 9 }, Firsts(gather));
        gather.Add(new IovaRange(new(10), new(ulong.MaxValue - 10)));
        Assert.Equal(new IovaRange(new(0), new(ulong.MaxValue)), Assert.Single(gather.Ranges.ToArray()));
        gather.Clear();
        Assert.Equal(0, gather.Ranges.Length);
        Assert.True(gather.LeavesOnly && !gather.HasTables && !gather.HasBroken);
    }

    private static ulong[] Firsts(InvalidationGather gather) => [.. gather.Ranges.ToArray().Select(range => range.First.Value)];

    private static int Runs(bool[] set)
    {
        int runs = 0;
        for (int i = 0; i < set.Length; i++) runs += set[i] && (i == 0 || !set[i - 1]) ? 1 : 0;
        return runs;
    }
}

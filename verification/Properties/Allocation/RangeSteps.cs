using CsCheck;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Calls of a range allocator in a small world, and what a row of flags says to each.</summary>
internal static class RangeSteps
{
    public const int Most = 64;

    /// <summary>Both ends of the 64-bit space and in between; in granules of a page, and of a byte.</summary>
    public static readonly Gen<World> Worlds =
        from count in Gen.Int[16, Most]
        from granule in Gen.OneOf(Gen.Const(4096UL), Gen.Const(4096UL), Gen.Const(1UL))
        from end in Gen.Int[0, 2]
        select new World(end switch { 0 => 0, 1 => 3 * granule, _ => ulong.MaxValue - (ulong)count * granule + 1 }, count, granule);

    public static readonly Gen<Step[]> Steps = Gen.OneOf(
        Gen.Select(Gen.Int[0, 5], log2 => (Step)new Take(1 << log2, log2, false, 0, Most)),
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 6], Gen.Bool, (log2, align, down) => (Step)new Take(1 << log2, align, down, 0, Most)),
        Gen.Select(Gen.Int[1, 20], Gen.Int[0, 6], Gen.Bool, (granules, align, down) => (Step)new Take(granules, align, down, 0, Most)),
        Gen.Select(Gen.Int[1, 9], Gen.Int[0, 3], Gen.Bool, Gen.Int[0, Most], Gen.Int[0, Most], (granules, align, down, from, to) =>
            (Step)new Take(granules, align, down, Math.Min(from, to), Math.Max(from, to))),
        Gen.Select(Gen.Int[1, 9], Gen.Int[0, 3], Gen.Int[0, Most], Gen.Int[0, Most], (granules, align, from, to) =>
            (Step)new Look(granules, align, Math.Min(from, to), Math.Max(from, to))),
        Gen.Select(Gen.Int[-2, Most], Gen.Int[1, 9], (granule, granules) => (Step)new TakeAt(granule, granules)),
        Gen.Select(Gen.Int[0, Most], Gen.Int[1, 9], (granule, granules) => (Step)new GiveForeign(granule, granules)),
        Gen.Int[0, Most].Select(which => (Step)new Give(which)),
        Gen.Int[0, Most].Select(which => (Step)new Give(which)),
        Gen.Int[0, Most].Select(which => (Step)new Give(which))).Array[1, 80];

    /// <summary>Runs the steps and judges each.</summary>
    /// <param name="world">Where.</param>
    /// <param name="steps">What.</param>
    /// <param name="make">The allocator.</param>
    /// <param name="isFirstFit">Whether a range must be where the row of flags would put it.</param>
    /// <param name="isWhole">Whether a range may only be given back as it was taken.</param>
    public static void Run(World world, Step[] steps, Func<IovaRange, IRangeAllocator> make, bool isFirstFit, bool isWhole)
    {
        (ulong first, int count, ulong granule) = world;
        var space = IovaRange.FromLength(new(first), (ulong)count * granule);
        IRangeAllocator allocator = make(space);
        var map = new GranuleMap(first, count, granule);
        var live = new List<IovaRange>();
        foreach (Step step in steps)
        {
            switch (step)
            {
                case Look look:
                    (ulong low, ulong high) = Bounds(look.From, look.To);
                    ulong alignment = granule << look.AlignmentLog2;
                    ulong? lowest = map.Find(look.Granules, alignment, Placement.BottomUp, low, high);
                    VcmmError seen = allocator.TryFind((ulong)look.Granules * granule, alignment, new(new(low), new(high)), out IovaRange found);
                    Assert.Equal(lowest is null ? VcmmError.NoSpace : VcmmError.None, seen);
                    // Nothing is taken: the steps that follow are judged as if nobody had looked.
                    if (lowest is { } there) Assert.Equal(IovaRange.FromLength(new(there), (ulong)look.Granules * granule), found);
                    break;
                case Take take:
                    (low, high) = Bounds(take.From, take.To);
                    alignment = granule << take.AlignmentLog2;
                    Placement placement = take.IsTopDown ? Placement.TopDown : Placement.BottomUp;
                    ulong? place = map.Find(take.Granules, alignment, placement, low, high);
                    VcmmError error = allocator.TryAllocate((ulong)take.Granules * granule, alignment, placement, new(new(low), new(high)), out IovaRange range);
                    Assert.Equal(place is null ? VcmmError.NoSpace : VcmmError.None, error);
                    if (place is null) break;
                    if (isFirstFit) Assert.Equal(place, range.First.Value);
                    Assert.True(range.First.IsAligned(alignment));
                    Assert.Equal((ulong)take.Granules * granule - 1, range.Last.Value - range.First.Value);
                    Assert.True(new IovaRange(new(low), new(high)).Contains(range) && space.Contains(range));
                    map.Mark(range.First.Value, range.ByteCount, true);
                    live.Add(range);
                    break;
                case TakeAt(int at, int granules):
                    if (at < 0 ? first == 0 : at + granules > count && space.Last.Value == ulong.MaxValue) break;
                    IovaRange wanted = IovaRange.FromLength(new(unchecked(first + (ulong)(long)at * granule)), (ulong)granules * granule);
                    VcmmError expected = !space.Contains(wanted) ? VcmmError.Invalid : map.IsFree(at, granules) ? VcmmError.None : VcmmError.NoSpace;
                    Assert.Equal(expected, allocator.TryAllocateAt(wanted));
                    if (expected != VcmmError.None) break;
                    map.Mark(wanted.First.Value, wanted.ByteCount, true);
                    live.Add(wanted);
                    break;
                case GiveForeign(int at, int granules) when at + granules <= count:
                    var foreign = IovaRange.FromLength(new(map.AddressOf(at)), (ulong)granules * granule);
                    if (live.Contains(foreign) || !isWhole && map.IsTaken(at, granules)) break;
                    Assert.Equal(VcmmError.Invalid, allocator.TryFree(foreign));
                    break;
                case Give(int which) when live.Count != 0:
                    IovaRange given = live[which % live.Count];
                    live.Remove(given);
                    Assert.Equal(VcmmError.None, allocator.TryFree(given));
                    Assert.Equal(VcmmError.Invalid, allocator.TryFree(given));
                    map.Mark(given.First.Value, given.ByteCount, false);
                    break;
            }
        }

        foreach (IovaRange range in live) Assert.Equal(VcmmError.None, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(space));

        (ulong Low, ulong High) Bounds(int from, int to) => to < Most
            ? (map.AddressOf(Math.Min(from, count - 1)), map.AddressOf(Math.Min(to, count - 1)) + (granule - 1))
            : (0, ulong.MaxValue);
    }

    public sealed record World(ulong First, int Count, ulong GranuleBytes);

    public abstract record Step;

    /// <summary>Between the granules <paramref name="From"/> and <paramref name="To"/>, or anywhere if that is the most.</summary>
    public sealed record Take(int Granules, int AlignmentLog2, bool IsTopDown, int From, int To) : Step;

    /// <summary>For the lowest place, as <see cref="Take"/>.</summary>
    public sealed record Look(int Granules, int AlignmentLog2, int From, int To) : Step;

    public sealed record TakeAt(int Granule, int Granules) : Step;

    public sealed record Give(int Which) : Step;

    /// <summary>Of what was not taken so.</summary>
    public sealed record GiveForeign(int Granule, int Granules) : Step;
}

using Harness;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>
/// The table in which a slot of the cache knows its ranges has 64 places, and twice as many each time that it must be rebuilt with five
/// eighths of them in use: before an addition that finds three quarters in use or gone.
/// </summary>
public sealed class KnownRangeLaws
{
    private const ulong Page = 4096;

    /// <summary>The bytes that a table of 128 places takes.</summary>
    private const long LargerBytes = 128 * sizeof(ulong);

    /// <summary>What the first call of all allocates is not the table's.</summary>
    public KnownRangeLaws()
    {
        CachedRangeAllocator allocator = Make();
        Come(allocator, 0);
        Go(allocator, 0);
    }

    [Fact]
    public void Three_quarters_of_the_table_fill_before_there_is_a_larger_one()
    {
        long few = Bytes(1);
        Assert.Equal(few, Bytes(48));
        Assert.InRange(Bytes(49) - few, LargerBytes, LargerBytes + 200);

        static long Bytes(int count) => Allocations.Of(() => Fill(Make(), count));
    }

    /// <summary>What has gone is no longer counted in the larger one.</summary>
    [Fact]
    public void Three_quarters_of_the_larger_table_fill_whatever_went_before()
    {
        long few = Bytes(60);
        Assert.Equal(few, Bytes(96));
        Assert.InRange(Bytes(97) - few, 2 * LargerBytes, 2 * LargerBytes + 200);

        static long Bytes(int count) => Allocations.Of(() =>
        {
            CachedRangeAllocator allocator = Make();
            Fill(allocator, 47);
            for (int i = 0; i < 7; i++) Go(allocator, 7 * i);
            // Those that went leave as many places of the addresses free.
            for (int i = 47; i < count + 7; i++) Come(allocator, i);
        });
    }

    /// <summary>Each goes and comes again where it was: the place that it leaves is its own.</summary>
    [Fact]
    public void A_place_that_is_left_is_used_again()
    {
        Assert.Equal(Bytes(1), Bytes(200));

        static long Bytes(int times) => Allocations.Of(() =>
        {
            CachedRangeAllocator allocator = Make();
            Fill(allocator, 47);
            for (int i = 0; i < times; i++)
            {
                Go(allocator, i % 47);
                Come(allocator, i % 47);
            }
        });
    }

    /// <summary>One goes and another comes, so that places that are gone remain: with 40 left the table is cleared in place or, at that, replaced.</summary>
    [Theory]
    [InlineData(40, false)]
    [InlineData(41, true)]
    public void The_table_grows_with_five_eighths_in_use(int count, bool grows)
    {
        Assert.InRange(Bytes(1000) - Bytes(1), grows ? LargerBytes : 0, grows ? LargerBytes + 200 : 0);

        long Bytes(int times) => Allocations.Of(() =>
        {
            CachedRangeAllocator allocator = Make();
            Fill(allocator, count);
            for (int i = 0; i < times; i++)
            {
                Go(allocator, i);
                Come(allocator, count + i);
            }
        });
    }

    private static CachedRangeAllocator Make() => new(new RangeAllocator(IovaRange.FromLength(new(0), 4096 * Page)), 1, static () => 0);

    private static void Fill(CachedRangeAllocator allocator, int count)
    {
        for (int i = 0; i < count; i++) Come(allocator, i);
    }

    private static void Come(CachedRangeAllocator allocator, int page) => Require(allocator.TryAllocateAt(IovaRange.FromLength(new((ulong)page * Page), Page)));

    private static void Go(CachedRangeAllocator allocator, int page)
    {
        Require(allocator.TryFree(IovaRange.FromLength(new((ulong)page * Page), Page)));
        allocator.GiveBack();
    }

    private static void Require(VcmmError error)
    {
        if (error != VcmmError.None) Assert.Fail(error.ToString());
    }
}

using CsCheck;
using Harness.Generating;
using IommuSim;
using IommuSim.Machinery;
using Platform;

namespace Properties.Machinery;

/// <summary>What a cache of translations finds, and what an invalidation takes from it.</summary>
public sealed class TranslationCacheLaws
{
    private const ulong Page = 4096;

    private static readonly Gen<CacheLine> Lines =
        from tag in Gen.ULong[0, 5]
        from page in Gen.ULong[0, 20]
        from level in Gen.Int[1, 2]
        from isFirstStage in Gen.Bool
        select new CacheLine(new(tag), level == 1 ? page : page % 3, level, (page + 100) * Page, Rights.Read, isFirstStage);

    // The masks of one address space, of any, and of those that differ in the lowest bits, which choose the set.
    private static readonly Gen<LineFilter> Filters =
        from tag in Gen.ULong[0, 5]
        from mask in Gen.OneOf(Gen.Const(CacheTag.Mask), Gen.Const(CacheTag.Mask), Gen.Const(0UL), Gen.Const(CacheTag.Mask & ~1UL), Gen.Const(CacheTag.Mask & ~7UL))
        from first in Gen.ULong[0, 25]
        from count in Gen.OneOf(Gen.ULong[1, 3], Gen.ULong[4, 30], Gen.Const(1UL << 40))
        from stage in Gen.Int[0, 2]
        select Staged(new LineFilter(new(tag), mask).In(IovaRange.FromLength(new(first * Page), count * Page)), stage);

    private ulong _epoch;

    [Fact]
    public void An_invalidation_takes_what_it_names_and_nothing_else() =>
        Gen.Select(Gen.Int[0, 4], Gen.Int[1, 3], Lines.Array[0, 40], Filters.Array[1, 4]).ForAll(2000, world =>
        {
            (int setsLog2, int ways, CacheLine[] lines, LineFilter[] filters) = world;
            var cache = new TranslationCache<PageLevels>(1 << setsLog2, ways, CacheReplacement.FirstInFirstOut);
            foreach (CacheLine line in lines) Assert.True(cache.TryInsert(line, Good()));
            AssertKnowsWhatItHolds(cache);
            foreach (LineFilter filter in (LineFilter[])[.. filters, LineFilter.All])
            {
                List<CacheLine> left = [.. Held(cache).Where(line => !IsNamed(filter, line))];
                cache.Invalidate(filter);
                Assert.Equal(left, Held(cache));
                AssertKnowsWhatItHolds(cache);
                foreach (CacheLine line in left)
                {
                    Assert.True(cache.TryFind(line.Tag, line.Page << PageLevels.Shift(line.Level), line.Level, out CacheLine found));
                    Assert.Equal(line.Target, found.Target);
                }
            }
        });

    /// <summary>Ranges of which one end, as an address, is about the other as a number of a page.</summary>
    [Theory]
    [InlineData(0xF_FF00_0000, 1UL << 52 | 0xFFF)]
    [InlineData(0x1000, 1UL << 36 | 0xFFF)]
    public void A_range_of_more_pages_than_there_are_sets_is_looked_for_in_all_of_them(ulong first, ulong last)
    {
        for (ulong page = first / Page; page < first / Page + 4; page++)
        {
            var cache = new TranslationCache<PageLevels>(4, 1, CacheReplacement.FirstInFirstOut);
            cache.TryInsert(new(new(3), page, 1, 0x7000, Rights.Read), Good());
            cache.Invalidate(LineFilter.Of(new(3)).In(new(new(first), new(last))));
            Assert.Empty(Held(cache));
        }
    }

    [Fact]
    public void While_it_is_held_nobody_finds_anything_and_afterwards_all_is_there()
    {
        var cache = new TranslationCache<PageLevels>(4, 1, CacheReplacement.LeastRecentlyUsed);
        var tag = new CacheTag(3);
        cache.TryInsert(new(tag, 1, 1, 0x7000, Rights.Read), Good());
        for (int round = 0; round < 2; round++)
        {
            Assert.Equal((true, true, Reach.Goes), Found());
            cache.Hold();
            Assert.Equal((false, false, Reach.Unclear), Found());
            cache.Release();
        }

        Assert.Equal((true, true, Reach.Goes), Found());

        (bool, bool, Reach) Found() => (
            cache.TryFind(tag, 0x1000, 1, out _),
            cache.TryFindTable(tag, 0x1000, 1, out _, out _, out _),
            cache.TryReach(tag, 0x1000, Rights.Read, out _));
    }

    /// <summary>
    /// In the middle of a fill the line that is replaced is gone, and the new one does not count yet. What stands for it here is a change that
    /// does not come to its end.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_invalidation_waits_for_a_change_that_is_under_way_though_nothing_is_there(bool wasHeld)
    {
        var cache = new TranslationCache<PageLevels>(1, 1, CacheReplacement.FirstInFirstOut);
        if (wasHeld)
        {
            cache.Hold();
            cache.Release();
        }

        Assert.Throws<NullReferenceException>(() => cache.Evict(null!));
        Assert.True(Waiting.Waits(() => cache.Invalidate(LineFilter.All), cache.Release));
        Assert.True(cache.TryInsert(new(new(3), 1, 1, 0x7000, Rights.Read), Good()));
        Assert.Single(Held(cache));
    }

    [Fact]
    public void An_access_goes_where_a_line_grants_all_that_it_needs()
    {
        var cache = new TranslationCache<PageLevels>(4, 1, CacheReplacement.LeastRecentlyUsed);
        var tag = new CacheTag(3);
        Assert.Equal(Reach.Absent, cache.TryReach(tag, 0x1234, Rights.Read, out _));
        cache.TryInsert(new(tag, 1, 1, 0x7000, Rights.Read | Rights.Write), Good());
        cache.TryInsert(new(tag, 2, 1, 0x8000, Rights.Read), Good());
        cache.TryInsert(new(tag, 3, 1, 0x9000, Rights.Read) { Fault = 1 }, Good());
        Assert.Equal((Reach.Goes, 0x7234UL), (cache.TryReach(tag, 0x1234, Rights.Read, out ulong address), address));
        Assert.Equal(Reach.Goes, cache.TryReach(tag, 0x1234, Rights.Read | Rights.Write, out _));
        Assert.Equal(Reach.Unclear, cache.TryReach(tag, 0x2234, Rights.Write, out _));
        Assert.Equal(Reach.Unclear, cache.TryReach(tag, 0x3234, Rights.Read, out _));
        Assert.Equal(Reach.Absent, cache.TryReach(new(4), 0x1234, Rights.Read, out _));
    }

    [Fact]
    public void What_keeps_nothing_objects_to_nothing()
    {
        CacheLine line = new(new(3), 1, 1, 0x7000, Rights.Read);
        var none = new TranslationCache<PageLevels>(0, 4, CacheReplacement.FirstInFirstOut);
        Assert.True(none.IsOff);
        Assert.True(none.TryInsert(line, Good()));
        var held = new TranslationCache<PageLevels>(4, 1, CacheReplacement.FirstInFirstOut);
        held.Hold();
        Assert.True(held.TryInsert(line, Good()));
        held.Release();
        Assert.Empty(Held(held));
        _epoch = 2;
        Assert.False(held.TryInsert(line, new FillGuard(in _epoch, 0)));
        Assert.Empty(Held(held));
        Assert.True(held.TryInsert(line, Good()));
        Assert.Single(Held(held));
    }

    private static LineFilter Staged(LineFilter filter, int stage) => stage == 0 ? filter : filter.OfStage(isFirst: stage == 1);

    private static List<CacheLine> Held(TranslationCache<PageLevels> cache) => [.. cache.Lines.ToArray().Where(static line => line.Valid)];

    private static void AssertKnowsWhatItHolds(TranslationCache<PageLevels> cache)
    {
        List<CacheLine> held = Held(cache);
        for (int level = 1; level <= PageLevels.HighestLevel; level++) Assert.Equal(held.Exists(line => line.Level == level), cache.HasLevel(level));
        Assert.Equal(held.Count != 0, cache.MayHave(LineFilter.All));
        Assert.Equal(held.Count != 0, cache.MayHave(LineFilter.All.OfStage(isFirst: false)));
        Assert.Equal(held.Exists(static line => line.IsFirstStage), cache.MayHave(LineFilter.All.OfStage(isFirst: true)));
    }

    private static bool IsNamed(in LineFilter filter, in CacheLine line)
    {
        ulong bytes = line.Level == 1 ? Page : 512 * Page;
        ulong first = line.Page * bytes;
        bool isOfStage = filter == Staged(filter, 1) ? line.IsFirstStage : filter != Staged(filter, 2) || !line.IsFirstStage;
        return (line.Tag.Value & filter.TagMask) == (filter.Tag.Value & filter.TagMask) && isOfStage && first <= filter.Range.Last.Value && first + bytes - 1 >= filter.Range.First.Value;
    }

    private FillGuard Good() => new(in _epoch, _epoch);
}

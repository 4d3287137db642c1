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
            foreach (LineFilter filter in filters)
            {
                List<CacheLine> left = [.. Held(cache).Where(line => !IsNamed(filter, line))];
                cache.Invalidate(filter);
                Assert.Equal(left, Held(cache));
                foreach (CacheLine line in left)
                {
                    Assert.True(cache.TryFind(line.Tag, line.Page << PageLevels.Shift(line.Level), line.Level, out CacheLine found));
                    Assert.Equal(line.Target, found.Target);
                }
            }
        });

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

    private static bool IsNamed(in LineFilter filter, in CacheLine line)
    {
        ulong bytes = line.Level == 1 ? Page : 512 * Page;
        ulong first = line.Page * bytes;
        bool isOfStage = filter == Staged(filter, 1) ? line.IsFirstStage : filter != Staged(filter, 2) || !line.IsFirstStage;
        return (line.Tag.Value & filter.TagMask) == (filter.Tag.Value & filter.TagMask) && isOfStage && first <= filter.Range.Last.Value && first + bytes - 1 >= filter.Range.First.Value;
    }

    private FillGuard Good() => new(in _epoch, _epoch);
}

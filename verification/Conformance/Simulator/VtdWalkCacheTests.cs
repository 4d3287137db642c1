using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Caches for Paging Structures, and the invalidation hint.</summary>
public sealed class VtdWalkCacheTests
{
    private const ulong SecondTable1 = 0x28000;

    /// <summary>Page 1 read through Table1, then the page directory switched to another table, and page 1 invalidated.</summary>
    private static RawVtd SwitchDirectory(bool leafOnly, VtdOptions? options = null)
    {
        var vtd = new RawVtd(options);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.Write(SecondTable1 + 8, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Write(Table2, SecondTable1 | ReadWrite);
        vtd.InvalidatePages(DomainId, 0x1000, leafOnly: leafOnly);
        return vtd;
    }

    [Fact]
    public void The_leaf_only_hint_keeps_pointers_to_tables()
    {
        using RawVtd vtd = SwitchDirectory(leafOnly: true);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void Without_the_hint_pointers_to_tables_of_the_page_are_dropped()
    {
        using RawVtd vtd = SwitchDirectory(leafOnly: false);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void Without_a_paging_structure_cache_the_hint_changes_nothing()
    {
        using RawVtd vtd = SwitchDirectory(leafOnly: true, VtdOptions.Default with { WalkCacheEntriesPerLevel = 0 });
        vtd.AssertReads(0x1000, FrameB);
    }

    [Theory]
    [InlineData(Table2, SecondTable1, 1)]
    [InlineData(Table3, 0x29000, 2)]
    [InlineData(Table4, 0x2A000, 3)]
    public void A_switched_entry_of_each_level_is_seen_only_after_an_invalidation_that_reaches_it(ulong table, ulong target, int depth)
    {
        using var vtd = new RawVtd();
        // A second path of tables below the switched entry, ending at frame B.
        ulong[] path = [SecondTable1, 0x29000, 0x2A000];
        vtd.Write(path[0], FrameB | ReadWrite);
        vtd.Write(path[0] + 8, FrameB | ReadWrite);
        vtd.Write(path[1], path[0] | ReadWrite);
        vtd.Write(path[2], path[1] | ReadWrite);
        Assert.Equal(target, path[depth - 1]);
        vtd.SetPage(0, FrameA | ReadWrite);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0, FrameA);
        vtd.Write(table, target | ReadWrite);

        // A neighbour page, not in the IOTLB, still goes by the cached pointer.
        vtd.AssertReads(0x1000, FrameA);
        vtd.InvalidatePages(DomainId, 0, leafOnly: true);
        vtd.AssertReads(0, FrameA);
        vtd.InvalidatePages(DomainId + 1, 0);
        vtd.AssertReads(0, FrameA);
        vtd.InvalidatePages(DomainId, 1UL << 47);
        vtd.AssertReads(0, FrameA);
        vtd.InvalidatePages(DomainId, 0);
        vtd.AssertReads(0, FrameB);
    }

    [Fact]
    public void Any_page_below_a_pointer_drops_it()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.Write(SecondTable1 + 8, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Write(Table2, SecondTable1 | ReadWrite);
        // The last page of the 2 MiB that the pointer covers drops the pointer, but not the translation of page 1.
        vtd.InvalidatePages(DomainId, 0x1FF000);
        vtd.AssertReads(0x1000, FrameA);
        vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void Domain_and_global_invalidation_drop_pointers()
    {
        foreach (bool isGlobal in new[] { true, false })
        {
            using var vtd = new RawVtd();
            vtd.SetPage(1, FrameA | ReadWrite);
            vtd.AssertReads(0x1000, FrameA);
            Assert.Equal([2, 3, 4], vtd.Iommu.WalkCache.Select(entry => entry.Level).Order());
            vtd.InvalidateDomain(DomainId - 1);
            Assert.Equal(3, vtd.Iommu.WalkCache.Count);
            if (isGlobal) vtd.InvalidateAll();
            else vtd.InvalidateDomain(DomainId);
            Assert.Empty(vtd.Iommu.WalkCache);
        }
    }

    [Fact]
    public void A_cached_pointer_carries_the_permission_of_the_levels_above()
    {
        using var vtd = new RawVtd();
        vtd.Write(Table4, Table3 | 1);
        vtd.SetPage(0, FrameA | ReadWrite);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0, FrameA);
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(0x1000, DeviceAccess.Write));
        Assert.NotEqual(0, vtd.Iommu.Statistics.WalkCacheHits);
    }

    [Fact]
    public void Each_level_keeps_as_many_pointers_as_it_has_entries()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { WalkCacheEntriesPerLevel = 1 });
        vtd.Write(Table2 + 8, SecondTable1 | ReadWrite);
        vtd.SetPage(0, FrameA | ReadWrite);
        vtd.Write(SecondTable1, FrameB | ReadWrite);
        vtd.AssertReads(0, FrameA);
        vtd.AssertReads(0x200000, FrameB);
        WalkCacheEntry directory = Assert.Single(vtd.Iommu.WalkCache, entry => entry.Level == 2);
        Assert.Equal(Platform.IovaRange.FromLength(new(0x200000), 0x200000), directory.Range);
        Assert.Equal(SecondTable1, directory.Table.Value);
    }

    [Fact]
    public void An_absent_directory_entry_is_not_cached_without_caching_mode()
    {
        using var vtd = new RawVtd();
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x200000));
        vtd.Write(SecondTable1, FrameB | ReadWrite);
        vtd.Write(Table2 + 8, SecondTable1 | ReadWrite);
        vtd.AssertReads(0x200000, FrameB);
    }
}

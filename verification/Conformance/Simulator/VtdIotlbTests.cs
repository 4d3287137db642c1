using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Caching Translation Information: what the IOTLB keeps and what each invalidation drops.</summary>
public sealed class VtdIotlbTests
{
    [Fact]
    public void A_changed_entry_is_not_seen_until_an_invalidation()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1234, FrameA | 0x234);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0x1234, FrameA | 0x234);
        vtd.SetPage(1, 0);
        vtd.AssertReads(0x1FFF, FrameA | 0xFFF);
        vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x1000));
    }

    [Fact]
    public void An_absent_entry_is_not_cached_without_caching_mode()
    {
        using var vtd = new RawVtd();
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x1000));
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void A_cached_permission_is_final_until_an_invalidation()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | 1);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(0x1000, DeviceAccess.Write));
        vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        Assert.True(vtd.WriteTo(0x1000).Ok);
    }

    public static TheoryData<string, ulong, ulong, bool> Descriptors => new()
    {
        // name, low, high, whether page 0x5000 of domain 7 is dropped
        { "global", 0x2 | 1 << 4, 0, true },
        { "the domain", 0x2 | 2 << 4 | 7 << 16, 0, true },
        { "another domain", 0x2 | 2 << 4 | 6 << 16, 0, false },
        { "domain 0", 0x2 | 2 << 4, 0, false },
        { "the page", 0x2 | 3 << 4 | 7 << 16, 0x5000, true },
        { "the page, leaf only", 0x2 | 3 << 4 | 7 << 16, 0x5040, true },
        { "the page in another domain", 0x2 | 3 << 4 | 8 << 16, 0x5000, false },
        { "the page before", 0x2 | 3 << 4 | 7 << 16, 0x4000, false },
        { "the page after", 0x2 | 3 << 4 | 7 << 16, 0x6000, false },
        { "two pages that hold it", 0x2 | 3 << 4 | 7 << 16, 0x4001, true },
        { "two pages, address inside", 0x2 | 3 << 4 | 7 << 16, 0x5001, true },
        { "two pages after it", 0x2 | 3 << 4 | 7 << 16, 0x6001, false },
        { "four pages that hold it", 0x2 | 3 << 4 | 7 << 16, 0x7002, true },
        { "four pages after it", 0x2 | 3 << 4 | 7 << 16, 0x8002, false },
        { "the largest mask", 0x2 | 3 << 4 | 7 << 16, 18, true },
        { "the largest mask, elsewhere", 0x2 | 3 << 4 | 7 << 16, 1UL << 30 | 18, false },
    };

    [Theory]
    [MemberData(nameof(Descriptors))]
    public void Each_granularity_drops_what_it_names_and_nothing_else(string name, ulong low, ulong high, bool drops)
    {
        using var vtd = new RawVtd();
        vtd.SetPage(5, FrameA | ReadWrite);
        vtd.AssertReads(0x5000, FrameA);
        vtd.SetPage(5, FrameB | ReadWrite);
        vtd.Submit(low, high);
        Assert.True(vtd.Wait(), name);
        vtd.AssertReads(0x5000, drops ? FrameB : FrameA);
    }

    [Fact]
    public void Domains_do_not_share_translations()
    {
        using var vtd = new RawVtd();
        var other = new Platform.StreamId(0x28);
        vtd.SetContext(other, 0x24000 | 1, 2 | 9 << 8);
        vtd.Write(0x24000, 0x25000 | ReadWrite);
        vtd.Write(0x25000, 0x26000 | ReadWrite);
        vtd.Write(0x26000, 0x27000 | ReadWrite);
        vtd.Write(0x27008, FrameB | ReadWrite);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(FrameB, vtd.Iommu.Translate(other, new(0x1000), DeviceAccess.Read).Address.Value);
        vtd.SetPage(1, 0);
        vtd.Write(0x27008, 0);
        vtd.InvalidateDomain(9);
        vtd.AssertReads(0x1000, FrameA);
        Assert.False(vtd.Iommu.Translate(other, new(0x1000), DeviceAccess.Read).Ok);
    }

    [Fact]
    public void Devices_of_one_domain_share_translations()
    {
        using var vtd = new RawVtd();
        var other = new Platform.StreamId(0x28);
        vtd.SetContext(other, Table4 | 1, 2 | DomainId << 8);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetPage(1, FrameB | ReadWrite);
        Assert.Equal(FrameA, vtd.Iommu.Translate(other, new(0x1000), DeviceAccess.Read).Address.Value);
    }

    [Theory]
    [InlineData(Table2, 21)]
    [InlineData(Table3, 30)]
    public void A_large_page_is_one_translation_that_any_of_its_pages_invalidates(ulong table, int sizeLog2)
    {
        using var vtd = new RawVtd();
        ulong size = 1UL << sizeLog2;
        vtd.Write(table, 2 * size | 1 << 7 | ReadWrite);
        vtd.AssertReads(0x3456, 2 * size | 0x3456);
        vtd.AssertReads(size - 1, 3 * size - 1);
        Assert.Equal(1, vtd.Iommu.Statistics.Walks);
        Assert.Equal(size, Assert.Single(vtd.Iommu.Iotlb).Range.ByteCount);
        vtd.Write(table, 4 * size | 1 << 7 | ReadWrite);
        vtd.InvalidatePages(DomainId, size, leafOnly: true);
        vtd.AssertReads(0, 2 * size);
        vtd.InvalidatePages(DomainId, size - 4096, leafOnly: true);
        vtd.AssertReads(0, 4 * size);
    }

    [Fact]
    public void The_least_recently_used_translation_of_a_full_set_makes_room()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 1, IotlbWays = 2 });
        for (ulong page = 1; page <= 3; page++) vtd.SetPage(page, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x2000, FrameA);
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x3000, FrameA);
        Assert.Equal(new ulong[] { 0x1000, 0x3000 }, vtd.Iommu.Iotlb.Select(entry => entry.Range.First.Value).Order());
        Assert.Equal(3, vtd.Iommu.Statistics.Walks);
    }

    [Fact]
    public void The_first_translation_of_a_full_set_makes_room_though_it_was_used_last()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 1, IotlbWays = 2, Replacement = CacheReplacement.FirstInFirstOut });
        for (ulong page = 1; page <= 3; page++) vtd.SetPage(page, FrameA | ReadWrite);
        foreach (ulong iova in (ulong[])[0x1000, 0x2000, 0x1000, 0x3000]) vtd.AssertReads(iova, FrameA);
        Assert.Equal(new ulong[] { 0x2000, 0x3000 }, vtd.Iommu.Iotlb.Select(entry => entry.Range.First.Value).Order());
    }

    [Fact]
    public void Any_translation_of_a_full_set_may_make_room_and_it_is_the_same_in_each_run()
    {
        string first = Survivors(), second = Survivors();
        Assert.Equal(first, second);
        // Neither always the first nor always the last: each page has been replaced and has stayed.
        Assert.True(first.Split('\n').Distinct().Count() > 4, first);

        static string Survivors()
        {
            using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 1, IotlbWays = 4, Replacement = CacheReplacement.Random });
            var seen = new List<string>();
            for (ulong page = 0; page < 16; page++)
            {
                vtd.SetPage(page, FrameA | ReadWrite);
                vtd.AssertReads(page << 12, FrameA);
                seen.Add(string.Join(',', vtd.Iommu.Iotlb.Select(entry => page - (entry.Range.First.Value >> 12)).Order()));
            }

            Assert.Equal(4, vtd.Iommu.Iotlb.Count);
            return string.Join('\n', seen);
        }
    }

    [Theory]
    [InlineData(CacheReplacement.LeastRecentlyUsed)]
    [InlineData(CacheReplacement.FirstInFirstOut)]
    [InlineData(CacheReplacement.Random)]
    public void Nothing_is_replaced_while_there_is_room(CacheReplacement replacement)
    {
        const int Ways = 8;
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 1, IotlbWays = Ways, Replacement = replacement });
        for (ulong page = 0; page < Ways; page++)
        {
            vtd.SetPage(page, FrameA | ReadWrite);
            vtd.AssertReads(page << 12, FrameA);
        }

        Assert.Equal(Ways, vtd.Iommu.Iotlb.Count);
        // What was taken away leaves room for one.
        vtd.InvalidatePages(DomainId, 0x3000);
        vtd.SetPage(9, FrameA | ReadWrite);
        vtd.AssertReads(0x9000, FrameA);
        Assert.Equal(new ulong[] { 0, 1, 2, 4, 5, 6, 7, 9 }, vtd.Iommu.Iotlb.Select(entry => entry.Range.First.Value >> 12).Order());
    }

    [Fact]
    public void Pages_that_differ_above_the_set_index_compete_for_one_set()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 4, IotlbWays = 1 });
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetPage(2, FrameA | ReadWrite);
        vtd.SetPage(5, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x2000, FrameA);
        vtd.AssertReads(0x5000, FrameA);
        Assert.Equal(new ulong[] { 0x2000, 0x5000 }, vtd.Iommu.Iotlb.Select(entry => entry.Range.First.Value).Order());
    }

    [Theory]
    [InlineData(0, 4)]
    [InlineData(64, 0)]
    public void Without_an_IOTLB_every_access_walks(int sets, int ways)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = sets, IotlbWays = ways });
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameB);
        Assert.Equal(2, vtd.Iommu.Statistics.Walks);
        Assert.Empty(vtd.Iommu.Iotlb);
    }

    [Fact]
    public void Switching_translation_off_and_on_keeps_the_caches()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.Iommu.Write32(Gcmd, GcmdQie);
        vtd.AssertReads(0x1000, 0x1000);
        vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void The_snapshot_tells_domain_range_target_and_permission()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | 1);
        vtd.AssertReads(0x1000, FrameA);
        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal(new VtdDomainId(7), entry.Domain);
        Assert.Equal(Platform.IovaRange.FromLength(new(0x1000), 4096), entry.Range);
        Assert.Equal(FrameA, entry.Address.Value);
        Assert.True(entry.Read);
        Assert.False(entry.Write);
        Assert.Equal(VtdFaultReason.None, entry.Fault);
    }
}

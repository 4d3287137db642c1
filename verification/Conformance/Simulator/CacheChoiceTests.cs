using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Which of what the caches hold is used, stays and goes.</summary>
public sealed class CacheChoiceTests
{
    private const ulong Page = 0x1000;

    [Fact]
    public void The_least_recently_used_translation_makes_room_in_scalable_mode_too()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { IotlbSets = 1, IotlbWays = 2 });
        for (ulong page = 1; page <= 3; page++) vtd.SetSecond(page, FrameA | Rw);
        foreach (ulong iova in (ulong[])[0x1000, 0x2000, 0x1000, 0x3000]) vtd.Goes(iova, FrameA);
        Assert.Equal([0x1000UL, 0x3000UL], vtd.Iommu.Iotlb.Select(static entry => entry.Range.First.Value).Order());
    }

    [Fact]
    public void The_least_recently_used_pointer_makes_room()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { WalkCacheEntriesPerLevel = 2, IotlbSets = 0 });
        const ulong Size = 1 << 21;
        for (ulong i = 0; i < 3; i++)
        {
            vtd.Write(RawVtd.Table2 + i * 8, 0x28000 + (i << 12) | Rw);
            vtd.Write(0x28000 + (i << 12), FrameA | Rw);
        }

        foreach (ulong iova in (ulong[])[0, Size, 0, 2 * Size]) vtd.AssertReads(iova, FrameA);
        Assert.Equal([0UL, 2 * Size], vtd.Iommu.WalkCache.Where(static entry => entry.Level == 2).Select(static entry => entry.Range.First.Value).Order());
    }

    [Fact]
    public void What_is_of_the_first_stage_goes_when_it_is_named_though_what_was_of_the_second_went_before()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Page, FrameA);
        vtd.Goes(Page, FrameA, pasid: 2);
        vtd.InvalidateIotlb(SecondDomain, Page);
        Assert.Single(vtd.Iommu.Iotlb);
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Page);
        Assert.Empty(vtd.Iommu.Iotlb);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void After_an_eviction_the_caches_keep_what_they_are_given_as_before(ulong seed)
    {
        using var vtd = new RawScalable();
        vtd.Iommu.Evict(seed);
        for (int i = 0; i < 2; i++)
        {
            vtd.Goes(Page, FrameA);
            vtd.Goes(Page, FrameA, pasid: 2);
        }

        VtdStatistics seen = vtd.Iommu.Statistics;
        Assert.Equal((2, 2, 0), (seen.IotlbHits, seen.PasidCacheHits, seen.DiscardedFills));
    }

    /// <summary>Each line is drawn by itself, whatever the seed.</summary>
    [Fact]
    public void About_half_goes_whatever_the_seed()
    {
        const ulong Pages = 64;
        using var vtd = new RawVtd();
        for (ulong page = 0; page < Pages; page++) vtd.SetPage(page, FrameA | Rw);
        int[] stayed = new int[Pages];
        const int Seeds = 64;
        for (ulong seed = 0; seed < Seeds; seed++)
        {
            for (ulong page = 0; page < Pages; page++) vtd.AssertReads(page << 12, FrameA);
            vtd.Iommu.Evict(seed * 0x9E37_79B9);
            Assert.InRange(vtd.Iommu.Iotlb.Count, 16, 48);
            foreach (IotlbEntry entry in vtd.Iommu.Iotlb) stayed[entry.Range.First.Value >> 12]++;
        }

        Assert.All(stayed, static count => Assert.InRange(count, Seeds / 4, Seeds * 3 / 4));
    }

    [Fact]
    public void Neighbours_do_not_share_a_line_of_a_cache_of_any_size()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { ContextCacheEntries = 3 });
        vtd.SetPage(1, FrameA | Rw);
        StreamId[] devices = [new(0x21), new(0x22), new(0x23)];
        foreach (StreamId device in devices) vtd.SetContext(device, RawVtd.Table4 | 1, 2 | RawVtd.DomainId << 8);
        foreach (StreamId device in devices) Assert.True(Goes(device));
        foreach (StreamId device in devices) vtd.SetContext(device, 0, 0);
        Assert.All(devices, device => Assert.True(Goes(device)));

        bool Goes(StreamId device) => vtd.Iommu.Translate(device, new(Page), DeviceAccess.Read).Ok;
    }

    [Fact]
    public void A_device_that_is_let_through_untranslated_goes_by_no_translation_of_domain_0_and_PASID_0()
    {
        using var vtd = new RawScalable();
        vtd.SetContext(PasidDirectory | 1, 0);
        vtd.SetPasid(0, SecondStage | Second4, Snoop, 0);
        vtd.Goes(Page, FrameA);
        vtd.SetRoot(Root);
        // TT 10b.
        vtd.Set(Context + 0x20 * 16, 1 | 2 << 2, 2 | 8 << 8);
        for (int i = 0; i < 2; i++) vtd.Goes(Page, Page);
        Assert.Single(vtd.Iommu.Iotlb);
    }

    [Fact]
    public void In_caching_mode_an_erroneous_PASID_entry_is_kept_under_domain_0_and_leads_to_no_table()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { CachingMode = true });
        // Bit 5 is reserved.
        vtd.SetPasid(5, FirstStage | 1 << 5, FirstDomain | Snoop, First4);
        vtd.Faults(0x5A, Page, pasid: 5);
        Assert.Empty(vtd.Iommu.PasidCache);
        vtd.SetPasid(5, FirstStage, FirstDomain | Snoop, First4);
        vtd.InvalidatePasids(FirstDomain, 5);
        vtd.Faults(0x5A, Page, pasid: 5);
        vtd.InvalidatePasids(0, 5);
        vtd.Goes(Page, FrameA, pasid: 5);
        Assert.Equal(new Pasid(5), Assert.Single(vtd.Iommu.PasidCache).Pasid);
    }

    [Fact]
    public void In_caching_mode_an_absent_root_entry_is_kept_in_scalable_mode()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { CachingMode = true });
        vtd.Write(Root, 0);
        VtdFaultReason reason = vtd.Go(Page).Reason;
        Assert.Equal(VtdFaultReason.ScalableRootEntryNotPresent, reason);
        vtd.Write(Root, Context | 1);
        Assert.Equal(reason, vtd.Go(Page).Reason);
        vtd.InvalidateContexts();
        vtd.Goes(Page, FrameA);
    }

    [Fact]
    public void A_PASID_directory_where_no_memory_is_is_a_fault_that_is_recorded()
    {
        using var vtd = new RawScalable();
        vtd.SetContext(MemoryBytes | 1 | 1 << 3, 1);
        vtd.Faults(0x50, Page, pasid: 2);
    }

    [Theory]
    [InlineData(RawVtd.Table4, 1UL << 39)]
    [InlineData(RawVtd.Table3, 1UL << 30)]
    [InlineData(RawVtd.Table2, 1UL << 21)]
    public void In_caching_mode_an_absent_pointer_of_each_level_is_kept_and_gives_each_access_its_own_reason(ulong table, ulong size)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { CachingMode = true });
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(size));
        vtd.Write(table + 8, vtd.Memory.Read64(new(table)));
        vtd.SetPage(1, FrameA | Rw);
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(size | Page, DeviceAccess.Write));
        vtd.InvalidateDomain(RawVtd.DomainId);
        vtd.AssertReads(size | Page, FrameA);
    }

    [Fact]
    public void A_second_write_through_both_stages_has_no_flag_to_set_where_the_second_keeps_none()
    {
        using var nested = new RawNested();
        for (int i = 0; i < 2; i++) nested.Goes(Page, FrameA, DeviceAccess.Write);
        Assert.Equal(1, nested.Iommu.Statistics.IotlbHits);
    }

    [Fact]
    public void A_fetch_ahead_looks_up_like_an_access_and_without_paging_structure_caches_none_is_filled()
    {
        var seen = new List<SimStep>();
        using var vtd = new RawVtd(VtdOptions.Default with { WalkCacheEntriesPerLevel = 0 }, (step, _) => seen.Add(step));
        vtd.SetPage(1, FrameA | Rw);
        Assert.True(vtd.Iommu.Prefetch(RawVtd.Device, new(Page)));
        Assert.DoesNotContain(SimStep.WalkCacheFill, seen);
        seen.Clear();
        Assert.True(vtd.Iommu.Prefetch(RawVtd.Device, new(Page)));
        Assert.Equal([SimStep.ContextLookup, SimStep.IotlbLookup], seen);
    }
}

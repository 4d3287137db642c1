using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>What the caches of the scalable mode keep, by what they are tagged, and what each invalidation drops: no less and no more.</summary>
public sealed class ScalableCacheTests
{
    private const ulong Iova = 0x1000;
    private const ulong ContextLow = PasidDirectory | 1 | 1 << 3;

    /// <summary>
    /// A machine with translations of three PASIDs in its caches: 1 (second stage, domain 7), 2 and 3 (first stage, domain 8).
    /// Then every last-level entry points to the other frame.
    /// </summary>
    private static RawScalable Filled(VtdOptions? options = null)
    {
        var vtd = new RawScalable(options);
        vtd.SetPasid(3, FirstStage, FirstDomain | Snoop, First4);
        for (ulong page = 1; page < 4; page++)
        {
            vtd.SetSecond(page, FrameA | Rw);
            vtd.SetFirst(page, FrameA | Pwu);
            vtd.Goes(page << 12, FrameA);
            vtd.Goes(page << 12, FrameA, pasid: 2);
            vtd.Goes(page << 12, FrameA, pasid: 3);
        }

        for (ulong page = 1; page < 4; page++)
        {
            vtd.SetSecond(page, FrameB | Rw);
            vtd.SetFirst(page, FrameB | Pwu);
        }

        return vtd;
    }

    /// <summary>Which of the nine cached translations are gone: <c>pasid.page</c>.</summary>
    private static string Gone(RawScalable vtd) => string.Join(
        ' ',
        from pasid in new uint?[] { null, 2, 3 }
        from page in new ulong[] { 1, 2, 3 }
        where vtd.Go(page << 12, pasid: pasid).Address == new PhysAddr(FrameB)
        select $"{pasid ?? 1}.{page}");

    private const string AllOf1 = "1.1 1.2 1.3", AllOf2 = "2.1 2.2 2.3", AllOf3 = "3.1 3.2 3.3";

    [Fact]
    public void A_changed_entry_is_not_seen_without_an_invalidation()
    {
        using RawScalable vtd = Filled();
        Assert.Equal("", Gone(vtd));
        Assert.Equal(9, vtd.Iommu.Iotlb.Count);
        Assert.Equal(
            [(SecondDomain, 1u, TranslationStage.SecondStage), (FirstDomain, 2u, TranslationStage.FirstStage), (FirstDomain, 3u, TranslationStage.FirstStage)],
            vtd.Iommu.Iotlb.Where(entry => entry.Range.First.Value == Iova)
                .Select(entry => ((ulong)entry.Domain.Value, entry.Pasid!.Value.Value, entry.Stage)).Order());
    }

    [Fact]
    public void The_paging_structure_caches_are_tagged_by_PASID_in_the_first_stage_only()
    {
        using RawScalable vtd = Filled();
        Assert.Equal(
            ["2 did:0x7 ", "2 did:0x8 pasid:0x2", "2 did:0x8 pasid:0x3"],
            vtd.Iommu.WalkCache.Where(entry => entry.Level == 2).Select(entry => $"{entry.Level} {entry.Domain} {entry.Pasid}").Order(StringComparer.Ordinal));
        vtd.SetPasid(4, SecondStage | Second4, SecondDomain | Snoop, 0);
        long walks = vtd.Iommu.Statistics.WalkCacheHits;
        vtd.Goes(Iova, FrameB, pasid: 4);
        Assert.Equal(walks + 1, vtd.Iommu.Statistics.WalkCacheHits);
    }

    [Fact]
    public void What_the_PASID_cache_holds_can_be_looked_at()
    {
        using RawScalable vtd = Filled();
        Assert.Equal(
            [(1u, SecondDomain, TranslationStage.SecondStage), (2u, FirstDomain, TranslationStage.FirstStage), (3u, FirstDomain, TranslationStage.FirstStage)],
            vtd.Iommu.PasidCache.Select(entry => (entry.Pasid.Value, (ulong)entry.Domain.Value, entry.Stage)).Order());
        Assert.Equal(2, vtd.Iommu.PasidCache.Select(entry => entry.Root).Distinct().Count());
        vtd.InvalidatePasids(FirstDomain, 3);
        Assert.Equal([1u, 2u], vtd.Iommu.PasidCache.Select(entry => entry.Pasid.Value).Order());
    }

    [Fact]
    public void PASID_selective_drops_all_of_the_PASID_in_the_domain()
    {
        using RawScalable vtd = Filled();
        vtd.InvalidatePasidIotlb(FirstDomain, 1);
        vtd.InvalidatePasidIotlb(SecondDomain, 2);
        Assert.Equal("", Gone(vtd));
        vtd.InvalidatePasidIotlb(FirstDomain, 2);
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid == FirstPasid);
        Assert.Contains(vtd.Iommu.WalkCache, entry => entry.Pasid == new Pasid(3));
        Assert.Equal(AllOf2, Gone(vtd));
    }

    [Fact]
    public void PASID_selective_drops_second_stage_translations_and_keeps_their_paging_structures()
    {
        using RawScalable vtd = Filled();
        int structures = vtd.Iommu.WalkCache.Count(entry => entry.Pasid is null);
        Assert.Equal(3, structures);
        vtd.InvalidatePasidIotlb(SecondDomain, 1);
        Assert.Equal(structures, vtd.Iommu.WalkCache.Count(entry => entry.Pasid is null));
        Assert.Equal(AllOf1, Gone(vtd));
    }

    [Theory]
    [InlineData(0x2000, 0, "2.2")]
    [InlineData(0x2FFF & ~0xFFF, 1, "2.2 2.3")]
    [InlineData(0x0, 1, "2.1")]
    [InlineData(0x5000, 3, AllOf2)]     // The masked bits of the address are ignored.
    [InlineData(0x4000, 0, "")]
    [InlineData(0x4000, 52, AllOf2)]    // All of the 64 bits.
    [InlineData(0x0, 63, AllOf2)]       // CAP.MAMV, here 18, is about the second stage.
    public void Page_selective_within_PASID_drops_the_pages(ulong iova, ulong mask, string gone)
    {
        using RawScalable vtd = Filled();
        vtd.InvalidatePasidIotlb(FirstDomain, 2, iova, mask);
        Assert.False(vtd.HasQueueError);
        Assert.Equal(gone, Gone(vtd));
    }

    [Fact]
    public void Page_selective_within_PASID_leaves_the_second_stage_alone()
    {
        using RawScalable vtd = Filled();
        vtd.InvalidatePasidIotlb(SecondDomain, 1, Iova, 18);
        Assert.Equal("", Gone(vtd));
    }

    [Fact]
    public void The_hint_keeps_the_paging_structures_of_the_first_stage()
    {
        using RawScalable vtd = Filled();
        vtd.Write(First2, First5 | Pwu);
        vtd.Write(First5 + 8, FrameB | Pwu);
        vtd.SetFirst(1, FrameA | Pwu);
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Iova, leafOnly: true);
        vtd.Goes(Iova, FrameA, pasid: 2);    // by way of the old table
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Iova);
        vtd.Goes(Iova, FrameB, pasid: 2);
    }

    [Fact]
    public void Page_selective_within_domain_drops_second_stage_pages_and_the_whole_first_stage()
    {
        using RawScalable vtd = Filled();
        vtd.InvalidateIotlb(SecondDomain, 0x2000);
        Assert.Equal("1.2", Gone(vtd));
        vtd.InvalidateIotlb(FirstDomain, 0x9000, leafOnly: true);
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid is not null);
        Assert.Equal($"1.2 {AllOf2} {AllOf3}", Gone(vtd));
    }

    [Fact]
    public void Domain_selective_and_global_drop_both_stages()
    {
        using RawScalable vtd = Filled();
        vtd.InvalidateIotlb(SecondDomain);
        Assert.Equal(AllOf1, Gone(vtd));
        vtd.InvalidateIotlb(FirstDomain);
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid is not null);
        Assert.Equal($"{AllOf1} {AllOf2} {AllOf3}", Gone(vtd));
        using RawScalable other = Filled();
        other.InvalidateIotlb();
        Assert.Empty(other.Iommu.Iotlb);
        Assert.Empty(other.Iommu.WalkCache);
    }

    [Fact]
    public void A_changed_PASID_entry_counts_when_the_PASID_cache_is_invalidated()
    {
        foreach (Action<RawScalable> invalidate in new Action<RawScalable>[]
        {
            vtd => vtd.InvalidatePasids(), vtd => vtd.InvalidatePasids(FirstDomain), vtd => vtd.InvalidatePasids(FirstDomain, 2),
        })
        {
            using var vtd = new RawScalable();
            vtd.Goes(Iova, FrameA, pasid: 2);
            vtd.SetPasid(2, 0, 0, 0);
            vtd.InvalidatePasidIotlb(FirstDomain, 2);
            vtd.InvalidateIotlb();
            vtd.InvalidateContexts();
            vtd.InvalidatePasids(SecondDomain);
            vtd.InvalidatePasids(SecondDomain, 2);
            vtd.InvalidatePasids(FirstDomain, 1);
            vtd.Goes(Iova, FrameA, pasid: 2);
            Assert.NotEqual(0, vtd.Iommu.Statistics.PasidCacheHits);
            invalidate(vtd);
            vtd.Faults(0x59, Iova, pasid: 2);
        }
    }

    [Fact]
    public void The_PASID_cache_is_tagged_by_requester()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { PasidCacheEntries = 1 });
        vtd.Write(Root + 8, UpperContext | 1);
        vtd.Set(UpperContext + 127 * 32, 0x15000 | 1 | 1 << 3, 0x3F, 0, 0);
        vtd.Goes(Iova, FrameA, pasid: 2);
        vtd.Faults(0x51, Iova, pasid: 2, source: UpperDevice);
        vtd.Goes(Iova, FrameA, pasid: 2);
    }

    [Theory]
    [InlineData(1)]     // global
    [InlineData(2)]     // by domain: the same, in scalable mode
    [InlineData(3)]     // by device: whatever the domain
    public void A_changed_context_entry_counts_when_the_context_cache_is_invalidated(ulong granularity)
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA, pasid: 2);
        vtd.SetContext(ContextLow & ~(1UL << 3), 1);
        vtd.InvalidatePasids();
        vtd.InvalidateIotlb();
        vtd.Submit(0x1 | 3 << 4 | 0x21UL << 32);
        vtd.Goes(Iova, FrameA, pasid: 2);
        vtd.Submit(0x1 | granularity << 4 | 99UL << 16 | 0x27UL << 32 | 3UL << 48);
        vtd.Faults(0x45, Iova, pasid: 2);
    }

    [Fact]
    public void A_context_entry_of_one_mode_is_not_used_in_the_other()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA);
        vtd.SetRoot(Root);
        vtd.Set(Context + 0x20 * 16, Second4 | 1, 2 | SecondDomain << 8);
        vtd.Goes(Iova, FrameA);
        Assert.Contains(vtd.Iommu.Iotlb, entry => entry.Pasid is null);
    }

    [Fact]
    public void Absent_PASID_entries_are_cached_in_caching_mode_only_under_domain_0()
    {
        using var plain = new RawScalable();
        plain.Faults(0x59, Iova, pasid: 5);
        plain.SetPasid(5, FirstStage, FirstDomain | Snoop, First4);
        plain.Goes(Iova, FrameA, pasid: 5);
        using var caching = new RawScalable(VtdOptions.Scalable with { CachingMode = true });
        caching.Faults(0x59, Iova, pasid: 5);
        caching.SetPasid(5, FirstStage, FirstDomain | Snoop, First4);
        caching.InvalidatePasids(FirstDomain, 5);
        caching.Faults(0x59, Iova, pasid: 5);
        caching.InvalidatePasids(0, 5);
        caching.Goes(Iova, FrameA, pasid: 5);
        caching.Faults(0x51, Iova, pasid: 64);
        caching.Write(PasidDirectory + 8, PasidTable | 1);
        caching.Faults(0x51, Iova, pasid: 64);
        caching.InvalidatePasids(0);
        caching.Faults(0x59, Iova, pasid: 64);
    }

    [Fact]
    public void In_caching_mode_absent_entries_are_cached_in_the_second_stage_and_not_in_the_first()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { CachingMode = true });
        vtd.Faults(0x71, 0x5000, pasid: 2);
        vtd.Faults(0x79, 0x5000);
        Assert.Equal(TranslationStage.SecondStage, Assert.Single(vtd.Iommu.Iotlb).Stage);
        vtd.SetFirst(5, FrameB | Pwu);
        vtd.SetSecond(5, FrameB | Rw);
        vtd.Goes(0x5000, FrameB, pasid: 2);
        vtd.Faults(0x79, 0x5000);
        vtd.InvalidateIotlb(SecondDomain, 0x5000);
        vtd.Goes(0x5000, FrameB);
        // Nor is a translation that does not permit the access.
        vtd.SetFirst(6, FrameB | P);
        vtd.Faults(0x81, 0x6000, pasid: 2);
        vtd.SetFirst(6, FrameB | Pwu);
        vtd.Goes(0x6000, FrameB, DeviceAccess.Write, pasid: 2);
    }

    [Fact]
    public void Narrowed_first_stage_permission_counts_after_the_invalidation()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        vtd.SetFirst(1, FrameA | Pu);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Iova, leafOnly: true);
        vtd.Faults(0x85, Iova, DeviceAccess.Write, pasid: 2);
        vtd.Goes(Iova, FrameA, pasid: 2);
        // Cached without the permission: final.
        vtd.SetFirst(1, FrameA | Pwu);
        vtd.Faults(0x85, Iova, DeviceAccess.Write, pasid: 2);
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Iova);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
    }

    /// <summary>What was read before an invalidation is not cached after it, whichever the step in between.</summary>
    [Theory]
    [InlineData(SimStep.PasidFill)]
    [InlineData(SimStep.WalkRead)]
    [InlineData(SimStep.FlagUpdate)]
    [InlineData(SimStep.WalkCacheFill)]
    [InlineData(SimStep.IotlbFill)]
    public void An_invalidation_between_the_steps_of_a_walk_is_not_undone_by_it(SimStep at)
    {
        int met = 0;
        RawScalable? machine = null;
        using var vtd = new RawScalable(hook: (step, _) =>
        {
            if (step != at || machine is null || met++ != 0) return;
            machine.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre);
            machine.InvalidatePasids(FirstDomain, 2);
            machine.InvalidatePasidIotlb(FirstDomain, 2);
        });
        machine = vtd;
        Assert.True(vtd.Go(Iova, pasid: 2).Ok);
        Assert.NotEqual(0, met);
        Assert.Empty(vtd.Iommu.Iotlb);
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid is not null);
        vtd.SetPasid(2, 0, 0, 0);
        if (at != SimStep.PasidFill) return;
        vtd.Faults(0x59, Iova, pasid: 2);
    }

    [Fact]
    public void The_steps_of_an_access_with_PASID_come_in_order()
    {
        var seen = new List<(SimStep, ulong)>();
        using var vtd = new RawScalable(hook: (step, detail) => seen.Add((step, detail)));
        seen.Clear();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        Assert.Equal(
            [
                (SimStep.ContextLookup, 0x20),
                (SimStep.ContextFetch, Root),
                (SimStep.ContextFetch, Context + 0x20 * 32),
                (SimStep.ContextFill, 0x20),
                (SimStep.PasidLookup, 2),
                (SimStep.PasidFetch, PasidDirectory),
                (SimStep.PasidFetch, PasidTable + 2 * 64),
                (SimStep.PasidFill, 2),
                (SimStep.IotlbLookup, Iova),
                (SimStep.WalkCacheLookup, Iova),
                (SimStep.WalkRead, First4),
                (SimStep.FlagUpdate, First4),
                (SimStep.WalkCacheFill, Iova),
                (SimStep.WalkRead, First3),
                (SimStep.FlagUpdate, First3),
                (SimStep.WalkCacheFill, Iova),
                (SimStep.WalkRead, First2),
                (SimStep.FlagUpdate, First2),
                (SimStep.WalkCacheFill, Iova),
                (SimStep.WalkRead, First1 + 8),
                (SimStep.FlagUpdate, First1 + 8),
                (SimStep.IotlbFill, Iova),
            ],
            seen);
        seen.Clear();
        vtd.Goes(Iova, FrameA, pasid: 2);
        Assert.Equal([SimStep.ContextLookup, SimStep.PasidLookup, SimStep.IotlbLookup], seen.Select(step => step.Item1));
    }
}

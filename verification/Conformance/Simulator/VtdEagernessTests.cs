using IommuSim;
using Platform;
using Xunit;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>What hardware does of its own accord.</summary>
public sealed class VtdEagernessTests
{
    private const int PageCount = 32;

    [Fact]
    public void What_was_fetched_ahead_is_used_though_the_table_has_changed()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.True(vtd.Iommu.Prefetch(Device, new(0x1000)));
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.InvalidatePages(DomainId, 0x1000);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void A_table_that_was_fetched_ahead_stays_reachable_until_an_invalidation()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 0 });
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.True(vtd.Iommu.Prefetch(Device, new(0x1000)));
        vtd.Write(Table2, 0);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void Fetching_ahead_records_no_fault()
    {
        using var vtd = new RawVtd();
        Assert.False(vtd.Iommu.Prefetch(Device, new(0x1000)));
        Assert.False(vtd.Iommu.Prefetch(new(0x28), new(0x1000)));
        Assert.Equal(0UL, vtd.Iommu.Read64(Frcd + 8));
        Assert.Equal(0, vtd.Iommu.Statistics.Faults);
    }

    [Fact]
    public void In_caching_mode_what_is_absent_is_fetched_ahead_too()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { CachingMode = true });
        Assert.False(vtd.Iommu.Prefetch(Device, new(0x1000)));
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x1000));
    }

    [Fact]
    public void Half_of_what_is_cached_may_go_at_any_time_and_every_access_is_as_before()
    {
        using var vtd = new RawVtd();
        for (ulong page = 0; page < PageCount; page++) vtd.SetPage(page, (page % 2 == 0 ? FrameA : FrameB) | ReadWrite);
        Touch();
        int before = vtd.Iommu.Iotlb.Count;
        vtd.Iommu.Evict(seed: 1);
        Assert.InRange(vtd.Iommu.Iotlb.Count, before / 4, before * 3 / 4);
        Touch();

        void Touch()
        {
            for (ulong page = 0; page < PageCount; page++) vtd.AssertReads(page << 12, page % 2 == 0 ? FrameA : FrameB);
        }
    }

    [Fact]
    public void Which_half_goes_is_the_seeds_to_say()
    {
        Assert.Equal(Left(1), Left(1));
        Assert.NotEqual(Left(1), Left(2));

        static string Left(ulong seed)
        {
            using var vtd = new RawVtd();
            for (ulong page = 0; page < PageCount; page++)
            {
                vtd.SetPage(page, FrameA | ReadWrite);
                vtd.AssertReads(page << 12, FrameA);
            }

            vtd.Iommu.Evict(seed);
            return string.Join(',', vtd.Iommu.Iotlb.Select(entry => entry.Range.First.Value >> 12).Order());
        }
    }

    [Fact]
    public void A_wait_lets_a_fetch_drain_that_began_before_the_invalidation()
    {
        RawVtd? vtd = null;
        bool? wasHeld = null;
        using (vtd = new RawVtd(hook: (step, _) =>
        {
            if (step != SimStep.WalkRead || wasHeld is not null) return;
            wasHeld = true;
            vtd!.InvalidatePages(DomainId, 0x1000);
            wasHeld = !vtd.Wait();
        }))
        {
            vtd.SetPage(1, FrameA | ReadWrite);
            Assert.True(vtd.Iommu.Prefetch(Device, new(0x1000)));
            Assert.True(wasHeld);
            Assert.True(vtd.IsWaitDone);
            Assert.Empty(vtd.Iommu.Iotlb);
        }
    }

    [Fact]
    public void What_is_fetched_ahead_is_of_the_address_space_that_the_prefix_names()
    {
        using var vtd = new RawScalable();
        // P, R/W, U/S, A: nothing has to be set.
        const ulong Accessed = RawScalable.Pwu | 1 << 5;
        foreach (ulong table in new[] { RawScalable.First4, RawScalable.First3, RawScalable.First2 }) vtd.Write(table, (table + 0x1000) | Accessed);
        vtd.SetFirst(1, RawScalable.FrameA | Accessed);
        Assert.True(vtd.Iommu.Prefetch(RawScalable.Device, new(0x1000), new PasidPrefix(RawScalable.FirstPasid)));
        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal((RawScalable.FirstPasid, TranslationStage.FirstStage), (entry.Pasid!.Value, entry.Stage));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Prefetch(new(0x1_0000), new(0x1000)));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Prefetch(RawScalable.Device, new(0x1000), new PasidPrefix(new(1 << 20))));
    }

    [Fact]
    public void A_fetch_ahead_that_would_have_to_set_an_accessed_flag_ends_there()
    {
        using var vtd = new RawScalable();
        Assert.False(vtd.Iommu.Prefetch(RawScalable.Device, new(0x1000), new PasidPrefix(RawScalable.FirstPasid)));
        Assert.Equal((0L, RawScalable.Pwu), (vtd.Iommu.Statistics.FlagUpdates, vtd.Read(RawScalable.First4) & 0xFFF));
        Assert.Empty(vtd.Iommu.Iotlb);
    }

    [Fact]
    public void A_context_entry_may_go_at_any_time()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetContext(Device, 0, 0);
        vtd.AssertReads(0x1000, FrameA);
        AssertGoes(vtd.Iommu, () => vtd.Iommu.Translate(Device, new(0x1000), DeviceAccess.Read), VtdFaultReason.ContextEntryNotPresent);
    }

    [Fact]
    public void A_PASID_entry_may_go_at_any_time()
    {
        using var vtd = new RawScalable();
        vtd.Goes(0x1000, RawScalable.FrameA, pasid: 2);
        vtd.SetPasid(2, 0, 0, 0);
        vtd.Goes(0x1000, RawScalable.FrameA, pasid: 2);
        AssertGoes(vtd.Iommu, () => vtd.Go(0x1000, pasid: 2), VtdFaultReason.PasidEntryNotPresent);
    }

    [Theory]
    [InlineData(RawScalable.Second2, null)]
    [InlineData(RawScalable.Second3, null)]
    [InlineData(RawScalable.First2, 2u)]
    [InlineData(RawScalable.First4, 2u)]
    public void A_pointer_to_a_table_may_go_at_any_time_in_either_stage(ulong table, uint? pasid)
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { IotlbSets = 0 });
        vtd.Goes(0x1000, RawScalable.FrameA, pasid: pasid);
        vtd.Write(table, 0);
        vtd.Goes(0x1000, RawScalable.FrameA, pasid: pasid);
        AssertGoes(
            vtd.Iommu, () => vtd.Go(0x1000, pasid: pasid), pasid is null ? VtdFaultReason.SecondStageNotPermitted : VtdFaultReason.FirstStageEntryNotPresent);
    }

    /// <summary>Sooner or later what is cached is gone, and the access is blocked as the structures in memory say.</summary>
    private static void AssertGoes(VtdIommu<Ram, Hook> unit, Func<TranslationResult> access, VtdFaultReason expected)
    {
        const ulong MostSeeds = 64;
        TranslationResult result = access();
        for (ulong seed = 0; result.Ok && seed < MostSeeds; seed++)
        {
            unit.Evict(seed);
            result = access();
        }

        Assert.Equal(expected, result.Reason);
    }
}

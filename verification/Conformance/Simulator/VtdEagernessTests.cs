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
}

using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Capability Register, CM: a unit that caches absent and erroneous entries too.</summary>
public sealed class VtdCachingModeTests
{
    private static readonly VtdOptions Caching = VtdOptions.Default with { CachingMode = true };

    [Theory]
    [InlineData(0, VtdFaultReason.Read)]
    [InlineData(FrameA | 3 | 1 << 11, VtdFaultReason.PagingEntryReserved)]
    public void An_absent_or_erroneous_page_faults_until_it_is_invalidated_in_its_domain(ulong before, VtdFaultReason reason)
    {
        using var vtd = new RawVtd(Caching);
        vtd.SetPage(1, before);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.InvalidatePages(DomainId + 1, 0x1000, leafOnly: true);
        vtd.InvalidatePages(0, 0x1000, leafOnly: true);
        vtd.InvalidatePages(DomainId, 0x2000, leafOnly: true);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void A_cached_absent_page_gives_each_access_its_own_reason()
    {
        using var vtd = new RawVtd(Caching);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x1000));
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(0x1000, DeviceAccess.Write));
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbHits);
    }

    [Fact]
    public void An_absent_directory_entry_is_cached_and_the_leaf_only_hint_keeps_it()
    {
        using var vtd = new RawVtd(Caching);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x200000));
        vtd.Write(0x28000, FrameA | ReadWrite);
        vtd.Write(0x28008, FrameB | ReadWrite);
        vtd.Write(Table2 + 8, 0x28000 | ReadWrite);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x201000));
        vtd.InvalidatePages(DomainId, 0x200000, mask: 1, leafOnly: true);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x200000));
        vtd.InvalidatePages(DomainId, 0x200000, mask: 1);
        vtd.AssertReads(0x200000, FrameA);
        vtd.AssertReads(0x201000, FrameB);
    }

    [Fact]
    public void A_permission_that_was_missing_is_cached()
    {
        using var vtd = new RawVtd(Caching);
        vtd.SetPage(1, FrameA | 1);
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(0x1000, DeviceAccess.Write));
        vtd.SetPage(1, FrameA | ReadWrite);
        Assert.Equal(VtdFaultReason.Write, vtd.Fault(0x1000, DeviceAccess.Write));
        vtd.AssertReads(0x1000, FrameA);
    }

    [Theory]
    [InlineData(0, 0, VtdFaultReason.ContextEntryNotPresent)]
    [InlineData(Table4 | 1, 3 | DomainId << 8, VtdFaultReason.ContextEntryInvalid)]
    [InlineData(Table4 | 1 | 1 << 4, 2 | DomainId << 8, VtdFaultReason.ContextEntryReserved)]
    public void An_absent_or_erroneous_context_entry_is_cached_under_domain_0(ulong low, ulong high, VtdFaultReason reason)
    {
        using var vtd = new RawVtd(Caching);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetContext(Device, low, high);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.SetContext(Device, Table4 | 1, 2 | DomainId << 8);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.InvalidateContexts(DomainId);
        vtd.InvalidateContext(DomainId, Device.Value);
        vtd.InvalidateContext(0, Device.Value + 8);
        Assert.Equal(reason, vtd.Fault(0x1000));
        vtd.InvalidateContext(0, Device.Value);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void An_absent_root_entry_is_cached_until_domain_0_or_all_is_invalidated()
    {
        foreach (bool isGlobal in new[] { true, false })
        {
            using var vtd = new RawVtd(Caching);
            vtd.SetPage(1, FrameA | ReadWrite);
            vtd.Write(Root, 0);
            Assert.Equal(VtdFaultReason.RootEntryNotPresent, vtd.Fault(0x1000));
            vtd.Write(Root, ContextTable | 1);
            Assert.Equal(VtdFaultReason.RootEntryNotPresent, vtd.Fault(0x1000));
            if (isGlobal) vtd.InvalidateContexts();
            else vtd.InvalidateContexts(0);
            vtd.AssertReads(0x1000, FrameA);
        }
    }

    [Fact]
    public void A_cached_fault_shows_in_the_snapshot_as_one()
    {
        using var vtd = new RawVtd(Caching);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x1000));
        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal(VtdFaultReason.Read, entry.Fault);
        Assert.Equal(4096UL, entry.Range.ByteCount);
    }
}

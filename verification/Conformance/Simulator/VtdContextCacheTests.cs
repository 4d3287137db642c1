using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>The context cache, and Context-cache Invalidate Descriptor.</summary>
public sealed class VtdContextCacheTests
{
    private static RawVtd WithMappedPage(VtdOptions? options = null)
    {
        var vtd = new RawVtd(options);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        return vtd;
    }

    [Fact]
    public void A_cleared_context_entry_is_used_until_the_context_cache_is_invalidated()
    {
        using RawVtd vtd = WithMappedPage();
        vtd.SetContext(Device, 0, 0);
        vtd.AssertReads(0x1000, FrameA);
        vtd.InvalidateAll();
        vtd.AssertReads(0x1000, FrameA);
        vtd.InvalidateContexts();
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, vtd.Fault(0x1000));
    }

    [Fact]
    public void Context_invalidation_leaves_the_IOTLB_alone()
    {
        using RawVtd vtd = WithMappedPage();
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.InvalidateContexts();
        vtd.AssertReads(0x1000, FrameA);
    }

    public static TheoryData<string, ulong, bool> Descriptors => new()
    {
        { "global", 0x1 | 1 << 4, true },
        { "the domain", 0x1 | 2 << 4 | 7 << 16, true },
        { "another domain", 0x1 | 2 << 4 | 8 << 16, false },
        { "the device", 0x1 | 3 << 4 | 7 << 16 | 0x20UL << 32, true },
        { "the device in another domain", 0x1 | 3 << 4 | 8 << 16 | 0x20UL << 32, false },
        { "another function", 0x1 | 3 << 4 | 7 << 16 | 0x24UL << 32, false },
        { "another function, bit 2 masked", 0x1 | 3 << 4 | 7 << 16 | 0x24UL << 32 | 1UL << 48, true },
        { "function 2, bit 2 masked", 0x1 | 3 << 4 | 7 << 16 | 0x22UL << 32 | 1UL << 48, false },
        { "function 6, bits 2:1 masked", 0x1 | 3 << 4 | 7 << 16 | 0x26UL << 32 | 2UL << 48, true },
        { "function 1, bits 2:1 masked", 0x1 | 3 << 4 | 7 << 16 | 0x21UL << 32 | 2UL << 48, false },
        { "function 7, all masked", 0x1 | 3 << 4 | 7 << 16 | 0x27UL << 32 | 3UL << 48, true },
        { "another device, all masked", 0x1 | 3 << 4 | 7 << 16 | 0x28UL << 32 | 3UL << 48, false },
        { "another bus", 0x1 | 3 << 4 | 7 << 16 | 0x120UL << 32, false },
    };

    [Theory]
    [MemberData(nameof(Descriptors))]
    public void Each_granularity_drops_what_it_names_and_nothing_else(string name, ulong low, bool drops)
    {
        using RawVtd vtd = WithMappedPage();
        vtd.SetContext(Device, 0, 0);
        vtd.Submit(low, 0);
        Assert.True(vtd.Wait(), name);
        Assert.Equal(!drops, vtd.Read(0x1000).Ok);
    }

    [Fact]
    public void An_absent_context_entry_is_not_cached_without_caching_mode()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetContext(Device, 0, 0);
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, vtd.Fault(0x1000));
        vtd.SetContext(Device, Table4 | 1, 2 | DomainId << 8);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void Devices_that_share_a_line_of_the_cache_push_each_other_out()
    {
        using RawVtd vtd = WithMappedPage(VtdOptions.Default with { ContextCacheEntries = 1 });
        vtd.SetContext(Device, 0, 0);
        vtd.AssertReads(0x1000, FrameA);
        var other = new StreamId(0x28);
        vtd.SetContext(other, Table4 | 1, 2 | DomainId << 8);
        Assert.True(vtd.Iommu.Translate(other, new(0x1000), DeviceAccess.Read).Ok);
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, vtd.Fault(0x1000));
    }

    [Fact]
    public void Every_requester_id_has_a_context_entry_of_its_own()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { ContextCacheEntries = 0 });
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.Write(Root + 255 * 16, 0x12000 | 1);
        foreach (ushort deviceFunction in new ushort[] { 0, 1, 0x80, 0xFF })
        {
            var source = new StreamId(0xFF00u | deviceFunction);
            Assert.Equal(VtdFaultReason.ContextEntryNotPresent, vtd.Fault(0x1000, source: source));
            vtd.Write(0x12000UL + deviceFunction * 16UL + 8, 2 | DomainId << 8);
            vtd.Write(0x12000UL + deviceFunction * 16UL, Table4 | 1);
            Assert.True(vtd.Iommu.Translate(source, new(0x1000), DeviceAccess.Read).Ok);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Translate(new(0x10000), new(0), DeviceAccess.Read));
    }

    [Fact]
    public void A_three_level_context_translates_39_bits()
    {
        using var vtd = new RawVtd();
        vtd.SetContext(Device, Table3 | 1, 1 | DomainId << 8);
        vtd.Write(Table3 + 511 * 8, Table2 | ReadWrite);
        vtd.Write(Table2 + 511 * 8, Table1 | ReadWrite);
        vtd.SetPage(511, FrameA | ReadWrite);
        vtd.AssertReads(0x7F_FFFF_F123, FrameA | 0x123);
    }

    [Fact]
    public void Each_level_takes_its_nine_bits_of_the_address()
    {
        using var vtd = new RawVtd();
        vtd.Write(Table4 + 1 * 8, Table3 | ReadWrite);
        vtd.Write(Table3 + 2 * 8, Table2 | ReadWrite);
        vtd.Write(Table2 + 4 * 8, Table1 | ReadWrite);
        vtd.SetPage(8, FrameA | ReadWrite);
        vtd.AssertReads(1UL << 39 | 2UL << 30 | 4UL << 21 | 8UL << 12 | 0x10, FrameA | 0x10);
        vtd.Write(Table4 + 511 * 8, Table3 | ReadWrite);
        vtd.Write(Table3 + 511 * 8, Table2 | ReadWrite);
        vtd.Write(Table2 + 511 * 8, Table1 | ReadWrite);
        vtd.SetPage(511, FrameB | ReadWrite);
        vtd.AssertReads(0xFFFF_FFFF_FFFF, FrameB | 0xFFF);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    [InlineData(8)]
    [InlineData(10)]
    [InlineData(52)]
    [InlineData(61)]
    [InlineData(63)]
    public void Ignored_bits_of_a_paging_entry_are_ignored_at_every_level(int bit)
    {
        using var vtd = new RawVtd();
        vtd.Write(Table4, Table3 | ReadWrite | 1UL << bit);
        vtd.Write(Table3, Table2 | ReadWrite | 1UL << bit);
        vtd.Write(Table2, Table1 | ReadWrite | 1UL << bit);
        vtd.SetPage(1, FrameA | ReadWrite | 1UL << bit | 1 << 7);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void Pass_through_and_a_unit_that_is_off_leave_addresses_as_they_are()
    {
        using var vtd = new RawVtd(enable: false);
        vtd.AssertReads(0x1_2345_6789, 0x1_2345_6789);
        vtd.Enable();
        vtd.SetContext(Device, 1 | 2 << 2, 2 | DomainId << 8);
        vtd.AssertReads(0x1_2345_6789, 0x1_2345_6789);
        Assert.Empty(vtd.Iommu.Iotlb);
    }
}

using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Primary Fault Logging, Fault Status Register, Fault Recording Registers.</summary>
public sealed class VtdFaultRecordTests
{
    private const ulong F = 1UL << 63;

    [Fact]
    public void A_record_holds_page_requester_access_and_reason()
    {
        using var vtd = new RawVtd();
        Assert.False(vtd.Read(0xABCD_1234_5678).Ok);
        Assert.Equal(0xABCD_1234_5000UL, vtd.Iommu.Read64(Frcd));
        Assert.Equal(0xC000_0006_0000_0020UL, vtd.Iommu.Read64(Frcd + 8));
        Assert.Equal(0xC000_0006u, vtd.Iommu.Read32(Frcd + 12));
        vtd.ClearFaults();
        Assert.False(vtd.Iommu.Translate(new(0xFFFF), new(0xFFFF_FFFF_FFFF_FFFF), DeviceAccess.Write).Ok);
        Assert.Equal(0xFFFF_FFFF_FFFF_F000UL, vtd.Iommu.Read64(Frcd));
        Assert.Equal(0x8000_0001_0000_FFFFUL, vtd.Iommu.Read64(Frcd + 8));
    }

    [Fact]
    public void A_cleared_record_keeps_its_text_and_loses_F()
    {
        using var vtd = new RawVtd();
        vtd.Read(0x1000);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
        vtd.Iommu.Write64(Frcd + 8, 0x7FFF_FFFF_FFFF_FFFF);
        vtd.Iommu.Write64(Frcd, ulong.MaxValue);
        vtd.Iommu.Write32(Frcd + 8, 0xFFFF_FFFF);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
        vtd.Iommu.Write32(Frcd + 12, 0x8000_0000);
        Assert.Equal(0x4000_0006_0000_0020UL, vtd.Iommu.Read64(Frcd + 8));
        Assert.Equal(0x1000UL, vtd.Iommu.Read64(Frcd));
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void Records_are_used_in_turn_and_the_one_that_does_not_fit_sets_PFO()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { FaultRecordCount = 3 });
        for (ulong page = 1; page <= 3; page++) vtd.Read(page << 12);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
        vtd.Read(0x4000);
        Assert.Equal(3u, vtd.Iommu.Read32(Fsts));
        for (uint i = 0; i < 3; i++) Assert.Equal((i + 1) << 12, vtd.Iommu.Read64(Frcd + 16 * i));
        Assert.Equal(1, vtd.Iommu.Statistics.FaultsLost);
        Assert.Equal(4, vtd.Iommu.Statistics.Faults);
    }

    [Fact]
    public void While_PFO_is_set_nothing_is_recorded_even_where_there_is_room()
    {
        using var vtd = new RawVtd();
        vtd.Read(0x1000);
        vtd.Read(0x2000);
        vtd.Iommu.Write64(Frcd + 8, F);
        Assert.Equal(1u, vtd.Iommu.Read32(Fsts));
        vtd.Read(0x3000);
        Assert.Equal(1u, vtd.Iommu.Read32(Fsts));
        vtd.Iommu.Write32(Fsts, 1);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        vtd.Read(0x4000);
        Assert.Equal(0x4000UL, vtd.Iommu.Read64(Frcd));
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void FRI_names_the_first_pending_record_and_the_index_wraps()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { FaultRecordCount = 3 });
        vtd.Read(0x1000);
        vtd.Read(0x2000);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
        vtd.Iommu.Write64(Frcd + 8, F);
        vtd.Iommu.Write64(Frcd + 24, F);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        vtd.Read(0x3000);
        vtd.Read(0x4000);
        // PPF came up with record 2; the next one went to record 0.
        Assert.Equal(2u | 2 << 8, vtd.Iommu.Read32(Fsts));
        Assert.Equal(0x3000UL, vtd.Iommu.Read64(Frcd + 32));
        Assert.Equal(0x4000UL, vtd.Iommu.Read64(Frcd));
    }

    [Fact]
    public void The_index_starts_again_at_0_when_translation_is_switched_off()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { FaultRecordCount = 3 });
        vtd.Read(0x1000);
        vtd.Iommu.Write64(Frcd + 8, F);
        vtd.Iommu.Write32(Gcmd, GcmdQie);
        vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
        vtd.Read(0x2000);
        Assert.Equal(0x2000UL, vtd.Iommu.Read64(Frcd));
    }

    [Theory]
    [InlineData(0x2)]                   // not present
    [InlineData(Table4 | 3 | 1 << 4)]   // reserved
    [InlineData(Table4 | 3 | 3 << 2)]   // unsupported type
    [InlineData(Table4 | 3)]            // an absent page
    public void With_FPD_faults_behind_the_context_entry_are_blocked_and_not_recorded(ulong low)
    {
        using var vtd = new RawVtd();
        vtd.SetContext(Device, low, 2 | DomainId << 8);
        Assert.False(vtd.Read(0x1000).Ok);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        Assert.Equal(1, vtd.Iommu.Statistics.FaultsSilenced);
        // Beyond the address width: silenced too. The root entry's own faults are not.
        Assert.False(vtd.Read(1UL << 50).Ok);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        vtd.Write(Root, 0);
        vtd.InvalidateContexts();
        Assert.False(vtd.Read(0x1000).Ok);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void The_fault_event_is_raised_by_the_first_condition_and_served_when_all_are_cleared()
    {
        using var vtd = new RawVtd();
        Assert.Equal(0x8000_0000u, vtd.Iommu.Read32(0x38));
        vtd.Read(0x1000);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(0x38));
        vtd.Read(0x2000);
        vtd.Iommu.Write64(Frcd + 8, F);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(0x38));
        vtd.Iommu.Write32(Fsts, 1);
        Assert.Equal(0x8000_0000u, vtd.Iommu.Read32(0x38));
        vtd.Submit(0, 0);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(0x38));
        vtd.Iommu.Write32(0x38, 0);
        Assert.Equal(0u, vtd.Iommu.Read32(0x38));
    }

    [Fact]
    public void The_largest_number_of_records_fits_into_the_page()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { FaultRecordCount = 222 });
        for (ulong i = 0; i < 222; i++) vtd.Read(i << 12);
        Assert.Equal(2u, vtd.Iommu.Read32(Fsts));
        Assert.Equal(221UL << 12, vtd.Iommu.Read64(0xFF0));
        Assert.Equal(F | 1UL << 62 | 6UL << 32 | 0x20, vtd.Iommu.Read64(0xFF8));
    }
}

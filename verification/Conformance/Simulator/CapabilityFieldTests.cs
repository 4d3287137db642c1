using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Fields that a capability decides on: whether they are reserved, and what they mean where they are not.</summary>
public sealed class CapabilityFieldTests
{
    private const uint Cap = 0x08, Ecap = 0x10, Iqercd = 0xB0;
    private const ulong Page = 0x1000;

    private static readonly VtdOptions Legacy = VtdOptions.Default with { IotlbSets = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0 };

    [Theory]
    [InlineData(4, 0)]
    [InlineData(8, 2)]
    [InlineData(16, 6)]
    public void ND_and_the_bits_of_a_domain_id_that_are_reserved(int bits, ulong nd)
    {
        using var legacy = new RawVtd(Legacy with { DomainIdBits = bits });
        using var scalable = new RawScalable(NoCaches with { DomainIdBits = bits });
        legacy.SetPage(1, FrameA | RawVtd.ReadWrite);
        Assert.Equal((nd, nd), (legacy.Iommu.Read64(Cap) & 7, scalable.Iommu.Read64(Cap) & 7));
        ulong largest = (1UL << bits) - 1;
        SetDomain(largest);
        legacy.AssertReads(Page, FrameA);
        scalable.Goes(Page, FrameA);
        for (int bit = bits; bit < 16; bit++)
        {
            SetDomain(1UL << bit);
            Assert.Equal(VtdFaultReason.ContextEntryReserved, legacy.Fault(Page));
            scalable.Faults(0x5A);
        }

        void SetDomain(ulong domain)
        {
            legacy.SetContext(RawVtd.Device, RawVtd.Table4 | 1, 2 | domain << 8);
            scalable.SetPasid(1, SecondStage | Second4, domain | Snoop, 0);
        }
    }

    [Theory]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(18)]
    public void No_other_width_of_a_domain_id_is_offered(int bits) =>
        Assert.Equal("DomainIdBits", Assert.Throws<ArgumentException>(() => new RawVtd(VtdOptions.Default with { DomainIdBits = bits })).ParamName);

    /// <summary>Commands ignore the bits of a domain id that there are not.</summary>
    [Theory]
    [InlineData(4, true)]
    [InlineData(16, false)]
    public void An_invalidation_looks_at_the_bits_that_there_are(int bits, bool isForgotten)
    {
        const ulong named = 0x30 | RawVtd.DomainId;
        using var vtd = new RawVtd(VtdOptions.Default with { DomainIdBits = bits });
        using var scalable = new RawScalable(VtdOptions.Scalable with { DomainIdBits = bits });
        foreach (Action invalidate in (Action[])[() => vtd.InvalidateDomain(named), () => vtd.InvalidatePages(named, Page)])
        {
            vtd.SetPage(1, FrameA | RawVtd.ReadWrite);
            vtd.InvalidateAll();
            vtd.AssertReads(Page, FrameA);
            vtd.SetPage(1, FrameB | RawVtd.ReadWrite);
            invalidate();
            vtd.AssertReads(Page, isForgotten ? FrameB : FrameA);
        }

        vtd.SetContext(RawVtd.Device, 0, 0);
        vtd.InvalidateContexts(named);
        Assert.Equal(!isForgotten, vtd.Read(Page).Ok);
        scalable.Goes(Page, FrameA, pasid: 2);
        scalable.SetFirst(1, FrameB | Pwu);
        scalable.InvalidatePasidIotlb(0x30 | FirstDomain, 2);
        scalable.Goes(Page, isForgotten ? FrameB : FrameA, pasid: 2);
        scalable.SetPasid(2, 0, 0, 0);
        scalable.InvalidatePasids(0x30 | FirstDomain);
        Assert.Equal(!isForgotten, scalable.Go(Page, pasid: 2).Ok);
    }

    [Fact]
    public void Register_based_invalidation_looks_at_the_bits_that_there_are_too()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { DomainIdBits = 4 }, enable: false);
        vtd.Iommu.Write64(RawVtd.Rtaddr, RawVtd.Root);
        vtd.Iommu.Write32(RawVtd.Gcmd, RawVtd.GcmdSrtp | RawVtd.GcmdTe);
        vtd.SetPage(1, FrameA | RawVtd.ReadWrite);
        vtd.AssertReads(Page, FrameA);
        vtd.SetPage(1, FrameB | RawVtd.ReadWrite);
        vtd.Iommu.Write64(RawVtd.Iotlb, 1UL << 63 | 2UL << 60 | (0xF0 | RawVtd.DomainId) << 32);
        vtd.AssertReads(Page, FrameB);
        vtd.SetContext(RawVtd.Device, 0, 0);
        vtd.Iommu.Write64(RawVtd.Ccmd, 1UL << 63 | 2UL << 61 | 0xF0 | RawVtd.DomainId);
        Assert.False(vtd.Read(Page).Ok);
    }

    [Fact]
    public void Five_levels_of_the_second_stage_in_both_modes()
    {
        const ulong table5 = 0x2A000, high = 1UL << 56 | Page;
        VtdOptions five = Legacy with { FiveLevelTables = true };
        using var legacy = new RawVtd(five);
        using var scalable = new RawScalable(NoCaches with { FiveLevelTables = true });
        // SAGAW bit 3; MGAW is one less than 57.
        foreach (ulong cap in (ulong[])[legacy.Iommu.Read64(Cap), scalable.Iommu.Read64(Cap)]) Assert.Equal((0xEUL, 56UL), (cap >> 8 & 0x1F, cap >> 16 & 0x3F));
        legacy.SetContext(RawVtd.Device, table5 | 1, 3 | RawVtd.DomainId << 8);
        scalable.SetPasid(1, 1 | 2 << 6 | 3 << 2 | table5, SecondDomain | Snoop, 0);
        legacy.Write(table5, RawVtd.Table4 | RawVtd.ReadWrite);
        legacy.Write(table5 + 256 * 8, RawVtd.Table4 | RawVtd.ReadWrite);
        scalable.Write(table5, Second4 | Rw);
        scalable.Write(table5 + 256 * 8, Second4 | Rw);
        legacy.SetPage(1, FrameA | RawVtd.ReadWrite);
        foreach (ulong iova in (ulong[])[Page, high])
        {
            legacy.AssertReads(iova, FrameA);
            scalable.Goes(iova, FrameA);
        }

        Assert.Equal(VtdFaultReason.Read, legacy.Fault((1UL << 57) - 1));
        Assert.Equal(VtdFaultReason.AddressBeyondMgaw, legacy.Fault(1UL << 57));
        scalable.Faults(0x84, 1UL << 57);
        // Bit 7 of an entry of the fifth level is reserved, and so is bit 11.
        foreach (int bit in (int[])[7, 11, 48, 62])
        {
            legacy.Write(table5, RawVtd.Table4 | RawVtd.ReadWrite | 1UL << bit);
            scalable.Write(table5, Second4 | Rw | 1UL << bit);
            Assert.Equal(VtdFaultReason.PagingEntryReserved, legacy.Fault(Page));
            scalable.Faults(0x7A);
        }

        Assert.Equal([high], VtdTables.Leaves(legacy.Memory, new(table5), 5, five).Select(static leaf => leaf.First.Value));
    }

    [Fact]
    public void Without_five_levels_their_address_width_is_none()
    {
        using var legacy = new RawVtd(Legacy);
        legacy.SetContext(RawVtd.Device, RawVtd.Table4 | 1, 3 | RawVtd.DomainId << 8);
        Assert.Equal(VtdFaultReason.ContextEntryInvalid, legacy.Fault(Page));
        using var scalable = new RawScalable(NoCaches);
        scalable.SetPasid(1, 1 | 2 << 6 | 3 << 2 | Second4, SecondDomain | Snoop, 0);
        scalable.Faults(0x5B);
    }

    [Fact]
    public void Five_levels_are_cached_level_by_level()
    {
        const ulong table5 = 0x2A000;
        using var vtd = new RawVtd(VtdOptions.Default with { FiveLevelTables = true });
        vtd.SetContext(RawVtd.Device, table5 | 1, 3 | RawVtd.DomainId << 8);
        vtd.Write(table5, RawVtd.Table4 | RawVtd.ReadWrite);
        vtd.SetPage(1, FrameA | RawVtd.ReadWrite);
        vtd.AssertReads(Page, FrameA);
        Assert.Equal([2, 3, 4, 5], vtd.Iommu.WalkCache.Select(static entry => entry.Level));
        // The way through the fifth level is known.
        vtd.Write(table5, 0);
        vtd.SetPage(2, FrameB | RawVtd.ReadWrite);
        vtd.AssertReads(0x2000, FrameB);
        vtd.InvalidatePages(RawVtd.DomainId, 0x2000);
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x2000));
    }

    /// <summary>Of the second word of a PASID entry: CD, EMTE, both ends of PAT.</summary>
    [Theory]
    [InlineData(25)]
    [InlineData(26)]
    [InlineData(32)]
    [InlineData(63)]
    public void MTS_decides_whether_the_memory_types_of_a_PASID_entry_are_reserved(int bit)
    {
        using var without = new RawScalable(NoCaches);
        using var with = new RawScalable(NoCaches with { MemoryTypes = true });
        Assert.Equal(1UL << 25, without.Iommu.Read64(Ecap) ^ with.Iommu.Read64(Ecap));
        foreach (RawScalable vtd in (RawScalable[])[without, with]) vtd.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop | 1UL << bit, 0);
        without.Faults(0x5A);
        with.Goes(Page, FrameA);
    }

    [Theory]
    [InlineData(27)]
    [InlineData(31)]
    public void Between_them_bits_are_reserved_all_the_same(int bit)
    {
        using var vtd = new RawScalable(NoCaches with { MemoryTypes = true });
        vtd.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop | 1UL << bit, 0);
        vtd.Faults(0x5A);
    }

    [Fact]
    public void Memory_types_of_paging_entries_are_ignored_and_in_legacy_mode_there_are_none()
    {
        using var vtd = new RawScalable(NoCaches with { MemoryTypes = true });
        // EMT 7, which is reserved as a type, and IPAT.
        vtd.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop | 1 << 26, 0);
        vtd.SetSecond(1, FrameA | Rw | 0x78);
        vtd.Goes(Page, FrameA);
        using var legacy = new RawVtd(VtdOptions.Default with { MemoryTypes = true });
        Assert.Equal(0UL, legacy.Iommu.Read64(Ecap) >> 25 & 1);
    }

    [Fact]
    public void RTA_4_abort_dma_mode_blocks_every_request()
    {
        using var ats = new RawAts(NoCaches with { DeviceTlbs = true, PageRequests = true, AbortDma = true });
        Assert.Equal(1UL, ats.Iommu.Read64(Ecap) >> 52 & 1);
        DmaTransfer waiting = ats.Stalls(0x9000);
        ats.Vtd.SetRoot(3 << 10);
        ats.Vtd.Faults(0x33);
        ats.Vtd.Faults(0x33, pasid: 2);
        ats.Vtd.ClearFaults();
        Assert.Equal(VtdFaultReason.AbortDma, ats.Read(Page).Reason);
        // AT 01b: reported of a translation request, too.
        Assert.Equal((0x33UL, 1UL), (ats.Iommu.Read64(Frcd + 8) >> 32 & 0xFF, ats.Iommu.Read64(Frcd + 8) >> 60 & 3));
        // The queue is that of the scalable mode.
        ats.Vtd.InvalidatePasidIotlb(FirstDomain, 2);
        Assert.True(ats.Vtd.Wait());
        Assert.Equal(AccessOutcome.Stalled, waiting.Outcome);
        ats.Vtd.SetRoot(Root | 1 << 10);
        ats.Vtd.Goes(Page, FrameA);
    }

    [Fact]
    public void Abort_dma_mode_without_the_scalable_mode_takes_wide_descriptors_only()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { AbortDma = true });
        vtd.Iommu.Write64(RawVtd.Rtaddr, 3 << 10);
        vtd.Iommu.Write32(RawVtd.Gcmd, RawVtd.GcmdSrtp | RawVtd.GcmdQie | RawVtd.GcmdTe);
        Assert.Equal((VtdFaultReason)0x33, vtd.Fault(Page));
        vtd.InvalidateAll();
        Assert.Equal(5UL, vtd.Iommu.Read64(Iqercd));
        vtd.Iommu.Write32(RawVtd.Gcmd, RawVtd.GcmdTe);
        vtd.Iommu.Write32(RawVtd.Fsts, ~0u);
        vtd.Iommu.Write64(RawVtd.Iqt, 0);
        vtd.Iommu.Write64(RawVtd.Iqa, RawVtd.Queue | 1 << 11);
        vtd.Iommu.Write32(RawVtd.Gcmd, RawVtd.GcmdQie | RawVtd.GcmdTe);
        for (ulong word = 0; word < 8; word++) vtd.Write(RawVtd.Queue + word * 8, 0);
        vtd.Write(RawVtd.Queue, 0x12);
        vtd.Iommu.Write64(RawVtd.Iqt, 32);
        Assert.Equal((32UL, 0u), (vtd.Iommu.Read64(RawVtd.Iqh), vtd.Iommu.Read32(RawVtd.Fsts) & 0x10));
    }
}

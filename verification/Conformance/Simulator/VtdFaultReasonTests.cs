using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Fault Reason Encodings, legacy mode: one row for each condition, with both ends of each reserved field.</summary>
public sealed class VtdFaultReasonTests
{
    private static readonly VtdOptions NoCaches = VtdOptions.Default with
    {
        IotlbSets = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0,
    };

    [Fact]
    public void Reason_1_root_entry_not_present()
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Write(Root, ContextTable);
        Assert.Equal((VtdFaultReason)0x1, vtd.Fault(0x1000));
        Assert.Equal((VtdFaultReason)0x1, vtd.Fault(0x1000, source: new StreamId(0xFFFF)));
    }

    [Fact]
    public void Reason_2_context_entry_not_present()
    {
        using var vtd = new RawVtd(NoCaches);
        Assert.Equal((VtdFaultReason)0x2, vtd.Fault(0x1000, source: new StreamId(0x21)));
        vtd.SetContext(Device, Table4, 2 | DomainId << 8);
        Assert.Equal((VtdFaultReason)0x2, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(Table4 | 1, 0)]                 // AW 0: 30 bits, not in SAGAW
    [InlineData(Table4 | 1, 3)]                 // AW 3: 57 bits, not in SAGAW
    [InlineData(Table4 | 1, 7)]
    [InlineData(Table4 | 1 | 1 << 2, 2)]        // TT 1: needs device TLBs
    [InlineData(Table4 | 1 | 3 << 2, 2)]        // TT 3: reserved
    [InlineData(0x7FFFFF000 | 1, 2)]            // SSPTPTR where no memory is
    public void Reason_3_context_entry_invalid(ulong low, ulong high)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetContext(Device, low, high);
        Assert.Equal((VtdFaultReason)0x3, vtd.Fault(0x1000));
    }

    [Fact]
    public void Reason_3_pass_through_and_widths_that_the_unit_does_not_have()
    {
        using var noPassThrough = new RawVtd(NoCaches with { PassThrough = false });
        noPassThrough.SetContext(Device, Table4 | 1 | 2 << 2, 2);
        Assert.Equal((VtdFaultReason)0x3, noPassThrough.Fault(0x1000));
        using var threeOnly = new RawVtd(NoCaches with { FourLevelTables = false });
        Assert.Equal((VtdFaultReason)0x3, threeOnly.Fault(0x1000));
        using var fourOnly = new RawVtd(NoCaches with { ThreeLevelTables = false });
        fourOnly.SetContext(Device, Table3 | 1, 1);
        Assert.Equal((VtdFaultReason)0x3, fourOnly.Fault(0x1000));
    }

    [Theory]
    [InlineData(2, 0x1_0000_0000_0000)]
    [InlineData(2, 0x8000_0000_0000_0000)]
    [InlineData(2, 0xFFFF_FFFF_FFFF_F000)]
    [InlineData(1, 0x80_0000_0000)]
    public void Reason_4_address_beyond_the_guest_or_the_adjusted_width(ulong width, ulong iova)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetContext(Device, (width == 2 ? Table4 : Table3) | 1, width);
        Assert.Equal((VtdFaultReason)0x4, vtd.Fault(iova));
        Assert.Equal((VtdFaultReason)0x4, vtd.Fault(iova, DeviceAccess.Write));
        // The last address within the width gets as far as the tables.
        Assert.Equal((VtdFaultReason)0x6, vtd.Fault(width == 2 ? 0xFFFF_FFFF_F000UL : 0x7F_FFFF_F000));
    }

    [Fact]
    public void Reason_4_pass_through_beyond_the_guest_width()
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetContext(Device, 1 | 2 << 2, 2);
        vtd.AssertReads(0xFFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF);
        Assert.Equal((VtdFaultReason)0x4, vtd.Fault(0x1_0000_0000_0000));
    }

    /// <summary>Entries of level 4, 3, 2, 1; then what a read and a write get (0: let through).</summary>
    [Theory]
    [InlineData(3, 3, 3, 3, 0x0, 0x0)]
    [InlineData(3, 3, 3, 1, 0x0, 0x5)]
    [InlineData(3, 3, 3, 2, 0x6, 0x0)]
    [InlineData(3, 3, 3, 0, 0x6, 0x5)]
    [InlineData(3, 3, 1, 3, 0x0, 0x5)]
    [InlineData(3, 3, 2, 3, 0x6, 0x0)]
    [InlineData(3, 3, 0, 3, 0x6, 0x5)]
    [InlineData(3, 1, 3, 3, 0x0, 0x5)]
    [InlineData(3, 2, 3, 3, 0x6, 0x0)]
    [InlineData(3, 0, 3, 3, 0x6, 0x5)]
    [InlineData(1, 3, 3, 3, 0x0, 0x5)]
    [InlineData(2, 3, 3, 3, 0x6, 0x0)]
    [InlineData(0, 3, 3, 3, 0x6, 0x5)]
    [InlineData(1, 3, 3, 2, 0x6, 0x5)]
    public void Reasons_5_and_6_permission_is_what_every_level_grants(
        ulong level4, ulong level3, ulong level2, ulong level1, byte read, byte write)
    {
        foreach (VtdOptions options in new[] { NoCaches, VtdOptions.Default })
        {
            using var vtd = new RawVtd(options);
            vtd.Write(Table4, Table3 | level4);
            vtd.Write(Table3, Table2 | level3);
            vtd.Write(Table2, Table1 | level2);
            vtd.SetPage(1, FrameA | level1);
            for (int round = 0; round < 2; round++)
            {
                Check(vtd, DeviceAccess.Read, read);
                Check(vtd, DeviceAccess.Write, write);
            }
        }

        static void Check(RawVtd vtd, DeviceAccess access, byte reason)
        {
            if (reason != 0) Assert.Equal((VtdFaultReason)reason, vtd.Fault(0x1000, access));
            else Assert.True(vtd.Iommu.Translate(Device, new(0x1000), access).Ok);
        }
    }

    [Theory]
    [InlineData(Table4)]
    [InlineData(Table3)]
    [InlineData(Table2)]
    public void Reason_7_next_table_outside_memory(ulong table)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Write(table, MemoryBytes | ReadWrite);
        Assert.Equal((VtdFaultReason)0x7, vtd.Fault(0x1000));
        vtd.Write(table, 0xFFFF_FFFF_F000 | ReadWrite);
        Assert.Equal((VtdFaultReason)0x7, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(MemoryBytes)]
    [InlineData(0xFFFF_FFFF_FFFF_F000)]
    public void Reason_8_root_table_address_invalid(ulong rootTableAddress)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Iommu.Write64(Rtaddr, rootTableAddress);
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie | GcmdSrtp);
        Assert.Equal((VtdFaultReason)0x8, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1 << 9)]
    [InlineData(0x400)]     // translation table mode 1: scalable, which this unit has not
    [InlineData(0x800)]
    [InlineData(0xC00)]     // abort-dma
    public void Reason_30_root_table_address_register_misprogrammed(ulong low)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Iommu.Write64(Rtaddr, Root | low);
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie | GcmdSrtp);
        Assert.Equal((VtdFaultReason)0x30, vtd.Fault(0x1000));
    }

    [Fact]
    public void Reason_9_context_table_outside_memory()
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Write(Root, MemoryBytes | 1);
        Assert.Equal((VtdFaultReason)0x9, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(1 << 1, 0)]
    [InlineData(1 << 11, 0)]
    [InlineData(1UL << 48, 0)]
    [InlineData(1UL << 63, 0)]
    [InlineData(0, 1)]
    [InlineData(0, 1UL << 63)]
    public void Reason_A_reserved_bits_of_a_root_entry(ulong low, ulong high)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Write(Root, ContextTable | 1 | low);
        vtd.Write(Root + 8, high);
        Assert.Equal((VtdFaultReason)0xA, vtd.Fault(0x1000));
        // Not present outranks reserved.
        vtd.Write(Root, ContextTable | low);
        Assert.Equal((VtdFaultReason)0x1, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(1 << 4, 0)]
    [InlineData(1 << 11, 0)]
    [InlineData(1UL << 48, 0)]
    [InlineData(1UL << 63, 0)]
    [InlineData(0, 1 << 7)]
    [InlineData(0, 1 << 24)]
    [InlineData(0, 1UL << 63)]
    public void Reason_B_reserved_bits_of_a_context_entry(ulong low, ulong high)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetContext(Device, Table4 | 1 | low, 2 | DomainId << 8 | high);
        Assert.Equal((VtdFaultReason)0xB, vtd.Fault(0x1000));
        vtd.SetContext(Device, Table4 | low, 2 | high);
        Assert.Equal((VtdFaultReason)0x2, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(0, 0xF << 3)]           // AVAIL is software's
    [InlineData(0, 0xFFFFUL << 8)]      // every domain id
    public void A_context_entry_is_used_whatever_its_free_fields_hold(ulong low, ulong high)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetContext(Device, Table4 | 1 | low, 2 | high);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Theory]
    [InlineData(Table1, FrameA, 11)]
    [InlineData(Table1, FrameA, 48)]
    [InlineData(Table1, FrameA, 51)]
    [InlineData(Table1, FrameA, 62)]
    [InlineData(Table2, Table1, 11)]
    [InlineData(Table2, Table1, 48)]
    [InlineData(Table2, Table1, 51)]
    [InlineData(Table2, Table1, 62)]
    [InlineData(Table3, Table2, 11)]
    [InlineData(Table3, Table2, 48)]
    [InlineData(Table3, Table2, 51)]
    [InlineData(Table3, Table2, 62)]
    [InlineData(Table4, Table3, 7)]     // no 512 GiB pages
    [InlineData(Table4, Table3, 11)]
    [InlineData(Table4, Table3, 48)]
    [InlineData(Table4, Table3, 51)]
    [InlineData(Table4, Table3, 62)]
    public void Reason_C_reserved_bits_of_a_paging_entry(ulong table, ulong target, int bit)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.SetPage(0, FrameA | ReadWrite);
        vtd.AssertReads(0, FrameA);
        vtd.Write(table, target | ReadWrite | 1UL << bit);
        Assert.Equal((VtdFaultReason)0xC, vtd.Fault(0));
        // In an absent entry nothing is reserved.
        vtd.Write(table, target | 1UL << bit);
        Assert.Equal((VtdFaultReason)0x6, vtd.Fault(0));
    }

    [Theory]
    [InlineData(Table2, 12)]
    [InlineData(Table2, 20)]
    [InlineData(Table3, 12)]
    [InlineData(Table3, 29)]
    public void Reason_C_misaligned_large_page(ulong table, int bit)
    {
        using var vtd = new RawVtd(NoCaches);
        vtd.Write(table, 1UL << bit | 1 << 7 | ReadWrite);
        Assert.Equal((VtdFaultReason)0xC, vtd.Fault(0));
        vtd.Write(table, 1UL << (table == Table2 ? 21 : 30) | 1 << 7 | ReadWrite);
        vtd.AssertReads(0, 1UL << (table == Table2 ? 21 : 30));
    }

    [Fact]
    public void Reason_C_page_size_that_the_unit_does_not_have()
    {
        using var no2M = new RawVtd(NoCaches with { Pages2M = false });
        no2M.Write(Table2, 0x200000 | 1 << 7 | ReadWrite);
        Assert.Equal((VtdFaultReason)0xC, no2M.Fault(0));
        using var no1G = new RawVtd(NoCaches with { Pages1G = false });
        no1G.Write(Table3, 1 << 7 | ReadWrite);
        Assert.Equal((VtdFaultReason)0xC, no1G.Fault(0));
    }

    [Fact]
    public void Reason_E_a_page_whose_address_is_in_the_interrupt_range()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, 0xFEE00000 | ReadWrite);
        vtd.SetPage(2, 0xFEEFF000 | ReadWrite);
        vtd.SetPage(3, 0xFEDFF000 | ReadWrite);
        vtd.SetPage(4, 0xFEF00000 | ReadWrite);
        Assert.Equal((VtdFaultReason)0xE, vtd.Fault(0x1000));
        Assert.Equal((VtdFaultReason)0xE, vtd.Fault(0x2000, DeviceAccess.Write));
        vtd.AssertReads(0x3000, 0xFEDFF000);
        vtd.AssertReads(0x4000, 0xFEF00000);
        Assert.DoesNotContain(vtd.Iommu.Iotlb, entry => entry.Address.Value >> 20 == 0xFEE);
    }

    [Fact]
    public void The_host_address_width_decides_which_address_bits_are_reserved()
    {
        for (int width = 32; width <= 52; width += 4)
        {
            using var vtd = new RawVtd(NoCaches with { HostAddressWidth = width });
            vtd.SetPage(0, 1UL << (width - 1) | ReadWrite);
            vtd.AssertReads(0, 1UL << (width - 1));
            if (width == 52) continue;
            vtd.SetPage(0, 1UL << width | ReadWrite);
            Assert.Equal((VtdFaultReason)0xC, vtd.Fault(0));
        }
    }
}

using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>First-stage tables: sizes, permissions, reserved bits, canonical addresses, and the flags that the hardware sets.</summary>
public sealed class FirstStageTests
{
    private const ulong A = 1 << 5, D = 1 << 6, Ea = 1 << 10, PageSize = 1 << 7;
    private const ulong Iova = 0x1000;

    [Fact]
    public void Each_level_has_nine_bits_of_the_address_of_its_own()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First5 | FiveLevels);
        vtd.Write(First5 + 16 * 8, First4 | Pwu);
        vtd.Write(First4 + 1 * 8, First3 | Pwu);
        vtd.Write(First3 + 2 * 8, First2 | Pwu);
        vtd.Write(First2 + 4 * 8, First1 | Pwu);
        vtd.SetFirst(8, FrameB | Pwu);
        vtd.Goes(16UL << 48 | 1UL << 39 | 2UL << 30 | 4UL << 21 | 8UL << 12 | 0x123, FrameB | 0x123, pasid: 2);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4);
        vtd.Goes(1UL << 39 | 2UL << 30 | 4UL << 21 | 8UL << 12 | 0x123, FrameB | 0x123, pasid: 2);
        vtd.Faults(0x80, 16UL << 48 | 1UL << 39, pasid: 2);
    }

    [Theory]
    [InlineData(4, 0x0000_7FFF_FFFF_F000, 0x0000_8000_0000_0000)]
    [InlineData(4, 0xFFFF_8000_0000_0000, 0xFFFF_7FFF_FFFF_F000)]
    [InlineData(4, 0xFFFF_FFFF_FFFF_F000, 0x7FFF_FFFF_FFFF_F000)]
    [InlineData(5, 0x00FF_FFFF_FFFF_F000, 0x0100_0000_0000_0000)]
    [InlineData(5, 0xFF00_0000_0000_0000, 0xFEFF_FFFF_FFFF_F000)]
    [InlineData(5, 0xFFFF_FFFF_FFFF_F000, 0x8000_0000_0000_0000)]
    public void SGN_1_an_address_that_is_not_canonical(int levels, ulong canonical, ulong not)
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, levels == 5 ? First5 | FiveLevels : First4);
        foreach (ulong table in (ulong[])[First5, First4, First3, First2])
        {
            for (ulong i = 0; i < 512; i++) vtd.Write(table + i * 8, (table + 0x1000) | Pwu);
        }

        vtd.SetFirst(canonical >> 12 & 0x1FF, FrameB | Pwu);
        for (int round = 0; round < 2; round++)
        {
            vtd.Goes(canonical, FrameB, pasid: 2);
            vtd.Faults(0x80, not, pasid: 2);
            vtd.Faults(0x80, not, DeviceAccess.Write, pasid: 2, privileged: false);
        }

        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal((canonical, FirstPasid, TranslationStage.FirstStage), (entry.Range.First.Value, entry.Pasid!.Value, entry.Stage));
        vtd.InvalidatePasidIotlb(FirstDomain, 2, canonical);
        Assert.Empty(vtd.Iommu.Iotlb);
        Assert.Empty(vtd.Iommu.WalkCache);
    }

    [Fact]
    public void Pages_of_2M_and_1G_map_all_of_their_bytes_and_PAT_is_no_part_of_the_address()
    {
        using var vtd = new RawScalable(NoCaches);
        foreach (ulong pat in (ulong[])[0, 1 << 12])
        {
            vtd.Write(First2, 0x400000 | pat | PageSize | Pwu);
            vtd.Goes(0x1F_FFFF, 0x5F_FFFF, pasid: 2);
            vtd.Goes(0x1F_EFFF, 0x5F_EFFF, pasid: 2);
            vtd.Write(First3, 1UL << 30 | pat | PageSize | Pwu);
            vtd.Goes(0x3FFF_FFFF, 0x7FFF_FFFF, pasid: 2);
            vtd.Goes(0x3FFF_EFFF, 0x7FFF_EFFF, pasid: 2);
            vtd.Write(First3, First2 | Pwu);
        }

        vtd.SetFirst(1, FrameA | PageSize | Pwu);    // PAT of a last-level entry
        vtd.Write(First2, First1 | Pwu);
        vtd.Goes(Iova, FrameA, pasid: 2);
        using var no1G = new RawScalable(NoCaches with { FirstStagePages1G = false });
        no1G.Write(First3, 1UL << 30 | PageSize | Pwu);
        no1G.Faults(0x72, Iova, pasid: 2);
    }

    /// <summary>A table that holds the entry, and a bit that is reserved in it.</summary>
    [Theory]
    [InlineData(First1, FrameA, 48)]
    [InlineData(First1, FrameA, 51)]
    [InlineData(First2, First1, 48)]
    [InlineData(First2, First1, 51)]
    [InlineData(First3, First2, 48)]
    [InlineData(First3, First2, 51)]
    [InlineData(First4, First3, 7)]
    [InlineData(First4, First3, 48)]
    [InlineData(First4, First3, 51)]
    [InlineData(First5, First4, 7)]
    [InlineData(First5, First4, 48)]
    [InlineData(First5, First4, 51)]
    [InlineData(First2, 1UL << 13 | PageSize, 7)]
    [InlineData(First2, 1UL << 20 | PageSize, 7)]
    [InlineData(First3, 1UL << 13 | PageSize, 7)]
    [InlineData(First3, 1UL << 29 | PageSize, 7)]
    public void SFS_3_reserved_bits_of_a_first_stage_entry(ulong table, ulong target, int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First5 | FiveLevels);
        ulong at = table == First1 ? table + 8 : table;
        vtd.Write(at, target | Pwu | 1UL << bit);
        vtd.Faults(0x72, Iova, pasid: 2);
        vtd.Faults(0x72, Iova, DeviceAccess.Write, pasid: 2);
        Assert.Equal(0UL, vtd.Read(at) & A);
        vtd.Write(at, (target | Pwu | 1UL << bit) & ~1UL);
        vtd.Faults(0x71, Iova, pasid: 2);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(10)]
    [InlineData(11)]
    [InlineData(52)]
    [InlineData(62)]
    [InlineData(63)]    // XD: no request asks for execute permission.
    public void Bits_of_a_first_stage_entry_that_are_ignored(int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        foreach ((ulong at, ulong target) in ((ulong, ulong)[])[(First4, First3), (First3, First2), (First2, First1), (First1 + 8, FrameA)])
        {
            vtd.Write(at, target | Pwu | 1UL << bit);
            vtd.Goes(Iova, FrameA, pasid: 2);
        }
    }

    [Fact]
    public void SFS_1_and_4_entries_outside_memory()
    {
        using var vtd = new RawScalable(NoCaches);
        foreach (ulong table in (ulong[])[First2, First3, First4])
        {
            vtd.Write(table, MemoryBytes | Pwu);
            vtd.Faults(0x70, Iova, pasid: 2);
        }

        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, MemoryBytes);
        vtd.Faults(0x73, Iova, pasid: 2);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, MemoryBytes | FiveLevels);
        vtd.Faults(0x73, Iova, pasid: 2);
    }

    [Fact]
    public void SFS_2_an_entry_of_any_level_is_not_present()
    {
        using var vtd = new RawScalable();
        foreach (ulong at in (ulong[])[First1 + 8, First2, First3, First4])
        {
            vtd.Write(at, vtd.Read(at) & ~1UL);
            vtd.Faults(0x71, Iova, pasid: 2);
            vtd.Faults(0x71, Iova, DeviceAccess.Write, pasid: 2);
        }
    }

    /// <summary>Entries of level 4, 3, 2, 1; WPE; then what a user's read and write and a supervisor's read and write get (0: let through).</summary>
    [Theory]
    [InlineData(7, 7, 7, 7, false, 0x00, 0x00, 0x00, 0x00)]
    [InlineData(7, 7, 7, 7, true, 0x00, 0x00, 0x00, 0x00)]
    [InlineData(7, 7, 7, 5, false, 0x00, 0x85, 0x00, 0x00)]
    [InlineData(7, 7, 7, 5, true, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(5, 7, 7, 7, false, 0x00, 0x85, 0x00, 0x00)]
    [InlineData(7, 5, 7, 7, true, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(7, 7, 5, 7, true, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(7, 7, 7, 3, false, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(7, 7, 3, 7, false, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(7, 3, 7, 7, true, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(3, 7, 7, 7, true, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(7, 7, 7, 1, false, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(1, 7, 7, 7, true, 0x81, 0x81, 0x00, 0x85)]
    public void SGN_2_and_6_permission_is_what_every_level_grants(
        ulong level4, ulong level3, ulong level2, ulong level1, bool wpe, byte read, byte write, byte supervisorRead, byte supervisorWrite)
    {
        foreach (VtdOptions options in new[] { NoCaches, VtdOptions.Scalable })
        {
            using var vtd = new RawScalable(options);
            vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre | (wpe ? Wpe : 0));
            vtd.Set(First4, First3 | level4);
            vtd.Set(First3, First2 | level3);
            vtd.Set(First2, First1 | level2);
            vtd.SetFirst(1, FrameA | level1);
            for (int round = 0; round < 2; round++)
            {
                Check(vtd, DeviceAccess.Read, false, read);
                Check(vtd, DeviceAccess.Write, false, write);
                Check(vtd, DeviceAccess.Read, true, supervisorRead);
                Check(vtd, DeviceAccess.Write, true, supervisorWrite);
            }
        }

        static void Check(RawScalable vtd, DeviceAccess access, bool privileged, byte reason)
        {
            if (reason != 0) vtd.Faults(reason, Iova, access, pasid: 2, privileged: privileged);
            else vtd.Goes(Iova, FrameA, access, pasid: 2, privileged: privileged);
        }
    }

    [Fact]
    public void SGN_3_execute_disable_of_any_level_stops_execute_requests_only()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { ExecuteRequests = true });
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | 1 << 1);
        foreach ((ulong at, ulong target) in ((ulong, ulong)[])[(First4, First3), (First3, First2), (First2, First1), (First1 + 8, FrameA)])
        {
            vtd.Goes(Iova, FrameA, pasid: 2, execute: true);
            vtd.Write(at, target | Pwu | 1UL << 63);
            vtd.InvalidatePasidIotlb(FirstDomain, 2);
            for (int round = 0; round < 2; round++)
            {
                vtd.Faults(0x82, Iova, pasid: 2, execute: true);
                vtd.Goes(Iova, FrameA, pasid: 2);
                vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2, execute: true);
            }

            vtd.Write(at, target | Pwu);
            vtd.InvalidatePasidIotlb(FirstDomain, 2);
        }
    }

    [Fact]
    public void RID_PRIV_makes_requests_without_PASID_a_supervisors()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetContext(PasidDirectory | 1, 2);
        vtd.SetFirst(1, FrameA | P);
        vtd.Faults(0x81, Iova);
        vtd.SetContext(PasidDirectory | 1, 2 | 1 << 20);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
    }

    // --- flags -------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_read_sets_accessed_in_every_entry_and_a_write_dirty_in_the_leaf_too()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA, pasid: 2);
        Assert.Equal(First3 | Pwu | A, vtd.Read(First4));
        Assert.Equal(First2 | Pwu | A, vtd.Read(First3));
        Assert.Equal(First1 | Pwu | A, vtd.Read(First2));
        Assert.Equal(FrameA | Pwu | A, vtd.Read(First1 + 8));
        Assert.Equal(4, vtd.Iommu.Statistics.FlagUpdates);
        // The translation is cached; the dirty flag is set all the same, once.
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        Assert.Equal(FrameA | Pwu | A | D, vtd.Read(First1 + 8));
        Assert.Equal(First1 | Pwu | A, vtd.Read(First2));
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        Assert.Equal(5, vtd.Iommu.Statistics.FlagUpdates);
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbHits);
    }

    [Fact]
    public void Cleared_flags_stay_clear_until_an_invalidation()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        vtd.SetFirst(1, FrameA | Pwu);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        Assert.Equal(FrameA | Pwu, vtd.Read(First1 + 8));
        vtd.InvalidatePasidIotlb(FirstDomain, 2, Iova, leafOnly: true);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        Assert.Equal(FrameA | Pwu | A | D, vtd.Read(First1 + 8));
    }

    [Fact]
    public void A_large_leaf_is_dirtied_and_a_blocked_access_dirties_nothing()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetFirst(1, FrameA | Pu);
        vtd.Faults(0x85, Iova, DeviceAccess.Write, pasid: 2);
        Assert.Equal(FrameA | Pu, vtd.Read(First1 + 8));
        vtd.Write(First2, 0x400000 | PageSize | Pwu);
        vtd.Goes(Iova, 0x401000, DeviceAccess.Write, pasid: 2);
        Assert.Equal(0x400000 | PageSize | Pwu | A | D, vtd.Read(First2));
    }

    [Fact]
    public void The_extended_accessed_flag_is_set_where_it_is_enabled()
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Eafe);
        vtd.SetFirst(1, FrameA | Pwu | A);
        vtd.Goes(Iova, FrameA, pasid: 2);
        Assert.Equal(First3 | Pwu | A | Ea, vtd.Read(First4));
        Assert.Equal(FrameA | Pwu | A | Ea, vtd.Read(First1 + 8));
    }

    [Fact]
    public void SFS_9_a_flag_is_needed_and_the_walk_does_not_snoop()
    {
        foreach (ulong snoop in (ulong[])[0, Snoop])
        {
            using var vtd = new RawScalable(NoCaches with { ScalableWalkSnoop = snoop != 0 });
            vtd.SetPasid(2, FirstStage, FirstDomain, First4);
            vtd.SetPasid(1, SecondStage | Second4, SecondDomain, 0);
            vtd.Faults(0x90, Iova, pasid: 2);
            vtd.Write(First4, First3 | Pwu | A);
            vtd.Write(First3, First2 | Pwu | A);
            vtd.Write(First2, First1 | Pwu | A);
            vtd.Faults(0x90, Iova, pasid: 2);
            vtd.SetFirst(1, FrameA | Pwu | A);
            vtd.Goes(Iova, FrameA, pasid: 2);
            vtd.Faults(0x90, Iova, DeviceAccess.Write, pasid: 2);
            vtd.SetFirst(1, FrameA | Pwu | A | D);
            vtd.Goes(Iova, FrameA, DeviceAccess.Write, pasid: 2);
        }
    }

    [Fact]
    public void Software_that_changes_the_entry_in_the_middle_is_not_overwritten()
    {
        RawScalable? machine = null;
        using var vtd = new RawScalable(NoCaches, (step, detail) =>
        {
            // Between the read of the leaf and its flag, software points it elsewhere.
            if (step == SimStep.FlagUpdate && detail == First1 + 8 && machine!.Iommu.Statistics.FlagUpdatesLost == 0)
                machine.SetFirst(1, FrameB | Pwu);
        });
        machine = vtd;
        vtd.Goes(Iova, FrameB, DeviceAccess.Write, pasid: 2);
        Assert.Equal(FrameB | Pwu | A | D, vtd.Read(First1 + 8));
        Assert.Equal(1, vtd.Iommu.Statistics.FlagUpdatesLost);
    }

    [Fact]
    public void Software_that_clears_the_entry_in_the_middle_blocks_the_access()
    {
        RawScalable? machine = null;
        using var vtd = new RawScalable(NoCaches, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == First1 + 8) machine!.SetFirst(1, 0);
        });
        machine = vtd;
        vtd.Faults(0x71, Iova, DeviceAccess.Write, pasid: 2);
        Assert.Equal(0UL, vtd.Read(First1 + 8));
    }

    [Fact]
    public void SFS_10_and_SSS_6_software_that_never_stops_changing_the_entry()
    {
        ulong changes = 0;
        RawScalable? machine = null;
        using var vtd = new RawScalable(NoCaches, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail is First1 + 8 or Second1 + 8)
                machine!.Write(detail, FrameA | Pwu | ++changes << 52 & 0xFUL << 52);
        });
        machine = vtd;
        vtd.Faults(0x91, Iova, pasid: 2);
        vtd.SetPasid(1, SecondStage | Second4 | 1 << 9, SecondDomain | Snoop, 0);
        vtd.Faults(0x7D, Iova);
        // Eight attempts of each.
        Assert.Equal(16UL, changes);
    }
}

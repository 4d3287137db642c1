using IommuSim;
using Platform;
using static Conformance.Simulator.RawNested;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Nested translation without caches: what goes through the second stage, what both stages permit, which flags are set, and the faults.</summary>
public sealed class NestedTests
{
    private const ulong Iova = 0x1000;

    /// <summary>A, and in a leaf D, of second-stage entries.</summary>
    private const ulong SecondA = 1 << 8, SecondD = 1 << 9;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Every_first_stage_table_and_the_page_go_through_the_second_stage(bool hasFiveLevels)
    {
        var reads = new List<ulong>();
        using var vtd = new RawNested(Uncached, (step, detail) =>
        {
            if (step == SimStep.WalkRead) reads.Add(detail);
        });
        if (hasFiveLevels) vtd.SetPasid(Nested | Nest4, Guest5 | FiveLevels);
        vtd.SetFlags();
        reads.Clear();
        vtd.Goes(Iova | 0x123, FrameA | 0x123);
        ulong[] tables = hasFiveLevels ? [Guest5, Guest4, Guest3, Guest2, Guest1] : [Guest4, Guest3, Guest2, Guest1];
        IEnumerable<ulong> expected = tables.SelectMany(
            table => (ulong[])[Nest4, Nest3, Nest2, NestOf(table), Host + table + (table == Guest1 ? 8UL : 0)]);
        Assert.Equal([.. expected, Nest4, Nest3, Nest2, NestOf(GuestA)], reads);
    }

    [Fact]
    public void Without_the_capability_the_type_is_reserved()
    {
        using var without = new RawNested(RawScalable.NoCaches);
        without.Faults(0x5B);
        Assert.Equal(0UL, without.Iommu.Read64(0x10) >> 26 & 1);
        using var with = new RawNested(Uncached);
        Assert.Equal(1UL, with.Iommu.Read64(0x10) >> 26 & 1);
        with.Goes(Iova, FrameA);
        foreach (VtdOptions lacking in new[] { Uncached with { FirstStage = false }, Uncached with { SecondStage = false }, Uncached with { ScalableMode = false } })
            Assert.Equal(0UL, new VtdIommu<Ram, NoSteps>(with.Vtd.Memory, lacking).Read64(0x10) >> 26 & 1);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(3, 0)]
    [InlineData(7, 0)]
    [InlineData(2, 2)]
    [InlineData(2, 3)]
    public void SPT_4_widths_and_paging_modes_that_are_not_supported(ulong width, ulong mode)
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetPasid(1 | 3 << 6 | Nest4 | width << 2, Guest4 | mode << 2);
        vtd.Faults(0x5B);
    }

    [Fact]
    public void Three_levels_of_the_second_stage()
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetPasid(1 | 3 << 6 | 1 << 2 | Nest3);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
    }

    [Fact]
    public void SPT_4_4_and_SFS_5_guest_physical_addresses_beyond_the_second_stage()
    {
        using var vtd = new RawNested(Uncached);
        const ulong beyond = 1UL << 39;
        ulong narrow = 1 | 3 << 6 | 1 << 2 | Nest3;
        vtd.SetPasid(narrow, Guest4 | beyond);
        vtd.Faults(0x5B);
        vtd.SetPasid(narrow);
        foreach (ulong at in (ulong[])[Guest4, Guest3, Guest2])
        {
            ulong good = vtd.ReadGuest(at);
            vtd.WriteGuest(at, good | beyond);
            vtd.Faults(0x74);
            vtd.WriteGuest(at, good);
        }

        vtd.SetGuest(1, GuestA | beyond | Pwu);
        vtd.Faults(0x74);
        vtd.Faults(0x74, access: DeviceAccess.Write);
        vtd.SetGuest(1, (beyond - 0x1000) | Pwu);
        vtd.Faults(0x79);
    }

    /// <summary>Where the second stage grants writes only, nothing, or is reserved, for a first-stage table and for the page.</summary>
    [Theory]
    [InlineData(Guest4, 0x75)]
    [InlineData(Guest3, 0x76)]
    [InlineData(Guest2, 0x76)]
    [InlineData(Guest1, 0x76)]
    [InlineData(GuestA, 0x86)]
    public void SFS_6_SFS_7_SGN_7_SSS_2_and_SSS_3_what_the_second_stage_says_of_what_the_first_points_at(ulong guest, byte notReadable)
    {
        using var vtd = new RawNested(Uncached);
        ulong good = vtd.Vtd.Read(NestOf(guest));
        vtd.SetNest(guest, good & ~1UL);
        vtd.Faults(notReadable);
        vtd.SetNest(guest, good & ~3UL);
        vtd.Faults(0x79);
        vtd.Faults(0x79, access: DeviceAccess.Write);
        vtd.SetNest(guest, good | 1UL << 62);
        vtd.Faults(0x7A);
        vtd.SetNest(guest, good);
        vtd.Goes(Iova, FrameA);
    }

    [Fact]
    public void SSS_1_SSS_4_SFS_1_and_SFS_4_entries_outside_memory()
    {
        using var vtd = new RawNested(Uncached);
        vtd.Write(Nest2, MemoryBytes | Rw);
        vtd.Faults(0x78);
        vtd.Write(Nest2, Nest1 | Rw);
        vtd.SetPasid(Nested | MemoryBytes);
        vtd.Faults(0x7B);
        vtd.SetPasid(Nested | Nest4);
        foreach ((ulong guest, byte reason) in new[] { (Guest4, (byte)0x73), (Guest3, (byte)0x70), (Guest2, (byte)0x70), (Guest1, (byte)0x70) })
        {
            vtd.SetNest(guest, MemoryBytes | Rw);
            vtd.Faults(reason);
            vtd.SetNest(guest, (Host + guest) | Rw);
        }

        vtd.Goes(Iova, FrameA);
    }

    [Fact]
    public void SFS_2_SFS_3_and_SGN_1_are_those_of_the_first_stage()
    {
        using var vtd = new RawNested(Uncached);
        vtd.Faults(0x71, 0x2000);
        vtd.SetGuest(2, GuestA | 1UL << 48 | Pwu);
        vtd.Faults(0x72, 0x2000);
        vtd.Faults(0x80, 1UL << 47 | Iova);
    }

    /// <summary>Flags are written where the second stage grants reads and writes; set already, they need no write.</summary>
    [Theory]
    [InlineData(Guest4)]
    [InlineData(Guest3)]
    [InlineData(Guest2)]
    [InlineData(Guest1)]
    public void SFS_8_flags_of_a_table_that_the_second_stage_lets_nobody_write(ulong guest)
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetNest(guest, (Host + guest) | 1);
        vtd.Faults(0x77);
        vtd.Faults(0x77, access: DeviceAccess.Write);
        ulong entry = guest == Guest1 ? Guest1 + 8 : guest;
        Assert.Equal(0UL, vtd.ReadGuest(entry) & (A | D));
        vtd.WriteGuest(entry, vtd.ReadGuest(entry) | A);
        vtd.Goes(Iova, FrameA);
        if (guest == Guest1) vtd.Faults(0x77, access: DeviceAccess.Write);
        else vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        vtd.SetFlags();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
    }

    /// <summary>Between the reading of an entry and the writing of its flag the second stage is asked anew, for both: a frame that may only be written is no table.</summary>
    [Theory]
    [InlineData(Guest4, 0x75)]
    [InlineData(Guest1, 0x76)]
    public void SFS_6_SFS_7_flags_of_a_table_that_the_second_stage_no_longer_lets_read(ulong guest, byte reason)
    {
        RawNested? machine = null;
        ulong entry = guest == Guest1 ? Guest1 + 8 : guest;
        using var vtd = new RawNested(Uncached, (step, detail) =>
        {
            if (step == SimStep.WalkRead && detail == Host + entry) machine!.SetNest(guest, (Host + guest) | 2);
        });
        machine = vtd;
        vtd.Faults(reason);
        Assert.Equal(0UL, vtd.ReadGuest(entry) & (A | D));
    }

    [Fact]
    public void SFS_9_SSS_5_flags_where_the_walk_does_not_snoop()
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetPasid(Nested | Nest4, snoop: 0);
        vtd.Faults(0x90);
        vtd.SetFlags();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        vtd.SetPasid(Nested | Nest4 | KeepsFlags, snoop: 0);
        vtd.Faults(0x7C);
    }

    [Fact]
    public void SFS_10_the_guest_never_stops_changing_the_entry()
    {
        ulong changes = 0;
        RawNested? machine = null;
        using var vtd = new RawNested(Uncached, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == Host + Guest1 + 8) machine!.SetGuest(1, GuestA | Pwu | ++changes << 52 & 0xFUL << 52);
        });
        machine = vtd;
        vtd.Faults(0x91);
        Assert.InRange(changes, 4u, 100u);
    }

    [Fact]
    public void Flags_of_the_first_stage_are_set_where_the_second_stage_says()
    {
        using var vtd = new RawNested(Uncached);
        vtd.Goes(Iova, FrameA);
        foreach (ulong at in (ulong[])[Guest4, Guest3, Guest2]) Assert.Equal(A, vtd.ReadGuest(at) & (A | D));
        Assert.Equal(GuestA | Pwu | A, vtd.ReadGuest(Guest1 + 8));
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(GuestA | Pwu | A | D, vtd.ReadGuest(Guest1 + 8));
        Assert.Equal(0UL, vtd.Vtd.Read(NestOf(GuestA)) & (SecondA | SecondD));
    }

    [Fact]
    public void The_second_stage_keeps_flags_of_its_own_for_tables_and_pages()
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetPasid(Nested | Nest4 | KeepsFlags);
        vtd.SetFlags();
        vtd.Goes(Iova, FrameA);
        foreach (ulong at in (ulong[])[Nest4, Nest3, Nest2, NestOf(Guest4), NestOf(Guest3), NestOf(Guest2), NestOf(Guest1), NestOf(GuestA)])
            Assert.Equal(SecondA, vtd.Vtd.Read(at) & (SecondA | SecondD));
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(SecondA | SecondD, vtd.Vtd.Read(NestOf(GuestA)) & (SecondA | SecondD));
        Assert.Equal(SecondA, vtd.Vtd.Read(NestOf(Guest1)) & (SecondA | SecondD));
        // A flag that is set is a write to the table.
        vtd.SetGuest(2, GuestB | Pwu);
        vtd.Goes(0x2000, FrameB);
        Assert.Equal(SecondA | SecondD, vtd.Vtd.Read(NestOf(Guest1)) & (SecondA | SecondD));
        Assert.Equal(SecondA, vtd.Vtd.Read(NestOf(GuestB)) & (SecondA | SecondD));
    }

    /// <summary>The last entry of each stage; WPE; then what a user's read and write and a supervisor's read and write get (0: let through).</summary>
    [Theory]
    [InlineData(7, 3, false, 0x00, 0x00, 0x00, 0x00)]
    [InlineData(7, 1, false, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(7, 2, false, 0x86, 0x00, 0x86, 0x00)]
    [InlineData(5, 3, false, 0x00, 0x85, 0x00, 0x00)]
    [InlineData(5, 3, true, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(5, 1, false, 0x00, 0x85, 0x00, 0x85)]
    [InlineData(5, 2, false, 0x86, 0x85, 0x86, 0x00)]
    [InlineData(3, 3, false, 0x81, 0x81, 0x00, 0x00)]
    [InlineData(7, 0, false, 0x79, 0x79, 0x79, 0x79)]
    public void An_access_needs_the_permission_of_both_stages(
        ulong first, ulong second, bool isProtected, byte read, byte write, byte supervisorRead, byte supervisorWrite)
    {
        foreach (VtdOptions options in new[] { Uncached, All })
        {
            using var vtd = new RawNested(options);
            vtd.SetPasid(Nested | Nest4, Guest4 | Sre | (isProtected ? Wpe : 0));
            vtd.SetGuest(1, GuestA | first);
            vtd.SetNest(GuestA, FrameA | second);
            // Twice: by the tables, and by what of them is cached.
            for (int round = 0; round < 2; round++)
            {
                Check(vtd, read, DeviceAccess.Read, privileged: false);
                Check(vtd, write, DeviceAccess.Write, privileged: false);
                Check(vtd, supervisorRead, DeviceAccess.Read, privileged: true);
                Check(vtd, supervisorWrite, DeviceAccess.Write, privileged: true);
            }
        }
    }

    private static void Check(RawNested vtd, byte reason, DeviceAccess access, bool privileged)
    {
        if (reason == 0) vtd.Goes(Iova, FrameA, access, privileged: privileged);
        else vtd.Faults(reason, Iova, access, privileged);
    }

    [Fact]
    public void What_the_first_stage_forbids_does_not_reach_the_second()
    {
        using var vtd = new RawNested(Uncached);
        vtd.SetPasid(Nested | Nest4 | KeepsFlags);
        vtd.SetGuest(1, GuestA | Pu);
        vtd.SetNest(GuestA, 0);
        vtd.Faults(0x85, access: DeviceAccess.Write);
        vtd.SetNest(GuestA, FrameA | Rw);
        vtd.Faults(0x85, access: DeviceAccess.Write);
        Assert.Equal(FrameA | Rw, vtd.Vtd.Read(NestOf(GuestA)));
    }

    [Theory]
    [InlineData(0xFEE00000)]
    [InlineData(0xFEEFF000)]
    public void SGN_8_the_second_stage_leads_to_the_interrupt_range(ulong frame)
    {
        using var vtd = new RawNested();
        vtd.SetNest(GuestA, frame | Rw);
        vtd.Faults(0x87);
        vtd.Faults(0x87, access: DeviceAccess.Write);
        // The guest-physical address alone may be anything.
        vtd.Write(Nest3 + 3 * 8, Nest2 | Rw);
        vtd.Write(Nest2 + 503 * 8, Nest1 | Rw);
        vtd.SetGuest(1, 0xFEE10000 | Pwu);
        vtd.SetNest(GuestA, FrameA | Rw);
        vtd.Goes(Iova, FrameA);
    }

    [Fact]
    public void The_decoder_tells_both_roots()
    {
        using var vtd = new RawNested();
        VtdFaultReason reason = VtdTables.FindTranslation(vtd.Vtd.Memory, new(Root | 1 << 10), Device, new Pasid(GuestPasid), out DecodedTranslation found, All);
        Assert.Equal(VtdFaultReason.None, reason);
        Assert.Equal((TranslationStage.Nested, new PhysAddr(Guest4), 4), (found.Stage, found.Root, found.Levels));
        Assert.Equal((new PhysAddr(Nest4), 4, false), (found.SecondStageRoot, found.SecondStageLevels, found.SecondStageKeepsFlags));
        vtd.Goes(Iova, FrameA);
        PasidCacheEntry cached = Assert.Single(vtd.Iommu.PasidCache);
        Assert.Equal((TranslationStage.Nested, new PhysAddr(Nest4)), (cached.Stage, cached.Root));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.TablePages(vtd.Vtd.Memory, default, 4, All, TranslationStage.Nested).Any());
    }

    [Fact]
    public void A_device_TLB_is_given_the_page_and_the_rights_of_both_stages()
    {
        using var ats = new RawAts(RawAts.All with { Nesting = true });
        using var vtd = new RawNested(ats.Vtd);
        vtd.WriteGuest(Guest2, 0 | PageSize | Pwu);
        vtd.SetNest(GuestA, FrameA | 1);
        ats.Reads(GuestA, 0xAA, GuestPasid);
        DeviceTlbEntry entry = Assert.Single(ats.Device.Tlb);
        Assert.Equal((GuestA, GuestA | 0xFFF, FrameA), (entry.Range.First.Value, entry.Range.Last.Value, entry.Address.Value));
        Assert.True(entry is { Read: true, Write: false });
        // A table that may not be read is told to the device like any missing permission, and nothing is recorded.
        vtd.Vtd.InvalidateIotlb();
        vtd.SetNest(Guest3, (Host + Guest3) | 2);
        ats.Vtd.ClearFaults();
        ats.Stalls(GuestB, GuestPasid);
        Assert.False(ats.Vtd.HasRecord);
    }

    [Fact]
    public void SFS_8_is_told_to_a_device_like_any_missing_permission()
    {
        using var ats = new RawAts(RawAts.All with { Nesting = true });
        using var vtd = new RawNested(ats.Vtd);
        vtd.SetNest(Guest3, (Host + Guest3) | 1);
        Assert.Equal((byte)0x77, (byte)ats.Stalls(Iova, GuestPasid).Reason);
        Assert.False(ats.Vtd.HasRecord);
    }
}

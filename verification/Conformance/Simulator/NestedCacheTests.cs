using IommuSim;
using Platform;
using static Conformance.Simulator.RawNested;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>What is cached of nested translation, by what it is tagged, and what each invalidation drops of it: no less and no more.</summary>
public sealed class NestedCacheTests
{
    private const ulong Iova = 0x1000;
    private const string AllOf3 = "3.1 3.2 3.3", AllOf4 = "4.1 4.2 4.3";

    /// <summary>
    /// A machine with translations of pages 1 to 3 of two nested PASIDs in its caches, of guest-physical pages 0x21000, 0x22000 and 0x23000.
    /// Then each of those pages is another frame in the second stage.
    /// </summary>
    private static RawNested Filled()
    {
        var vtd = new RawNested();
        for (ulong page = 1; page < 4; page++)
        {
            vtd.SetGuest(page, 0x20000 + (page << 12) | Pwu);
            vtd.SetNest(0x20000 + (page << 12), FrameA | Rw);
            vtd.Goes(page << 12, FrameA);
            vtd.Goes(page << 12, FrameA, pasid: OtherPasid);
        }

        for (ulong page = 1; page < 4; page++) vtd.SetNest(0x20000 + (page << 12), FrameB | Rw);
        return vtd;
    }

    /// <summary>Which of the six cached translations are gone: <c>pasid.page</c>.</summary>
    private static string Gone(RawNested vtd) => string.Join(
        ' ',
        from pasid in new[] { GuestPasid, OtherPasid }
        from page in new ulong[] { 1, 2, 3 }
        where vtd.Vtd.Go(page << 12, pasid: pasid).Address == new PhysAddr(FrameB)
        select $"{pasid}.{page}");

    [Fact]
    public void The_IOTLB_holds_the_page_of_both_stages_by_domain_and_PASID()
    {
        using RawNested vtd = Filled();
        Assert.Equal("", Gone(vtd));
        Assert.Equal(
            [(Domain, GuestPasid, FrameA), (Domain, OtherPasid, FrameA)],
            vtd.Iommu.Iotlb.Where(entry => entry.Range.First.Value == Iova)
                .Select(entry => ((ulong)entry.Domain.Value, entry.Pasid!.Value.Value, entry.Address.Value)).Order());
        Assert.Equal(6, vtd.Iommu.Iotlb.Count);
    }

    [Fact]
    public void Paging_structures_of_the_first_stage_are_host_addresses_by_PASID_and_those_of_the_second_belong_to_the_domain()
    {
        using RawNested vtd = Filled();
        Assert.Equal(
            [
                (2, null, Nest1), (3, null, Nest2), (4, null, Nest3),
                (2, GuestPasid, Host + Guest1), (3, GuestPasid, Host + Guest2), (4, GuestPasid, Host + Guest3),
                (2, OtherPasid, Host + Guest1), (3, OtherPasid, Host + Guest2), (4, OtherPasid, Host + Guest3),
            ],
            vtd.Iommu.WalkCache.Select(entry => (entry.Level, entry.Pasid?.Value, entry.Table.Value)).OrderBy(entry => entry.Item2 ?? 0).ThenBy(entry => entry.Level));
        // A PASID of the second stage alone finds what the nested walks have left.
        vtd.Vtd.SetPasid(5, SecondStage | Nest4, Domain | Snoop, 0);
        long hits = vtd.Iommu.Statistics.WalkCacheHits;
        vtd.Vtd.Goes(GuestA, FrameA, pasid: 5);
        Assert.Equal(hits + 1, vtd.Iommu.Statistics.WalkCacheHits);
    }

    /// <summary>The level of the leaf of either stage, and the bytes of the page that is cached.</summary>
    [Theory]
    [InlineData(1, 1, 1UL << 12)]
    [InlineData(1, 2, 1UL << 12)]
    [InlineData(1, 3, 1UL << 12)]
    [InlineData(2, 1, 1UL << 12)]
    [InlineData(2, 2, 1UL << 21)]
    [InlineData(2, 3, 1UL << 21)]
    [InlineData(3, 1, 1UL << 12)]
    [InlineData(3, 2, 1UL << 21)]
    [InlineData(3, 3, 1UL << 30)]
    public void The_smaller_of_the_two_pages_is_cached(int first, int second, ulong bytes)
    {
        using var vtd = new RawNested();
        // The data are in the guest's second GiB, in the physical memory's third and fourth.
        const ulong guest = 1UL << 30, host = 3UL << 30, iova = 2UL << 30 | 0x20_3000, inPage = 0x456;
        const ulong guest2 = 0x9000, guest1 = 0xA000, nest2 = 0x65000, nest1 = 0x66000;
        vtd.WriteGuest(Guest3 + 2 * 8, first == 3 ? guest | PageSize | Pwu : guest2 | Pwu);
        vtd.WriteGuest(guest2 + 8, first == 2 ? guest | 0x20_0000 | PageSize | Pwu : guest1 | Pwu);
        vtd.WriteGuest(guest1 + 3 * 8, guest | 0x20_3000 | Pwu);
        vtd.Write(Nest3 + 8, second == 3 ? host | PageSize | Rw : nest2 | Rw);
        vtd.Write(nest2 + 8, second == 2 ? host | 0x20_0000 | PageSize | Rw : nest1 | Rw);
        vtd.Write(nest1 + 3 * 8, host | 0x20_3000 | Rw);
        for (int round = 0; round < 2; round++) vtd.Goes(iova | inPage, host | 0x20_3000 | inPage);
        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal(
            (iova & ~(bytes - 1), iova | (bytes - 1), (host | 0x20_3000) & ~(bytes - 1)),
            (entry.Range.First.Value, entry.Range.Last.Value, entry.Address.Value));
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbHits);
    }

    [Fact]
    public void PASID_selective_drops_all_of_the_PASID_and_keeps_the_second_stage()
    {
        using RawNested vtd = Filled();
        vtd.Vtd.InvalidatePasidIotlb(SecondDomain, GuestPasid);
        vtd.Vtd.InvalidatePasidIotlb(Domain, 5);
        Assert.Equal("", Gone(vtd));
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid);
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid?.Value == GuestPasid);
        Assert.Equal(3, vtd.Iommu.WalkCache.Count(entry => entry.Pasid?.Value == OtherPasid));
        Assert.Equal(3, vtd.Iommu.WalkCache.Count(entry => entry.Pasid is null));
        Assert.Equal(AllOf3, Gone(vtd));
    }

    [Theory]
    [InlineData(0x2000, 0, "3.2")]
    [InlineData(0x2000, 1, "3.2 3.3")]
    [InlineData(0x22000, 0, "")]        // The guest-physical address is nothing here.
    public void Page_selective_within_PASID_drops_pages_by_device_address(ulong iova, ulong mask, string gone)
    {
        using RawNested vtd = Filled();
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid, iova, mask);
        Assert.Equal(gone, Gone(vtd));
    }

    /// <summary>A page of 2 MiB in the first stage that is cached by the 4 KiB: software names all of it by the address mask 9.</summary>
    [Fact]
    public void A_large_page_of_the_first_stage_is_dropped_by_its_size()
    {
        using var vtd = new RawNested();
        vtd.WriteGuest(Guest2, 0 | PageSize | Pwu);
        vtd.Goes(GuestA, FrameA);
        vtd.Goes(GuestB, FrameB);
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid, GuestA);
        Assert.Equal(GuestB, Assert.Single(vtd.Iommu.Iotlb).Range.First.Value);
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid, 0, mask: 9);
        Assert.Empty(vtd.Iommu.Iotlb);
    }

    /// <summary>A page of the second stage may have led to anything of the first stage: to its tables, too. The hint is about the second stage.</summary>
    [Theory]
    [InlineData(0x22000, false, 0)]
    [InlineData(0x22000, true, 3)]
    [InlineData(0x5000_0000, false, 3)]
    public void Page_selective_within_domain_drops_all_nested_translations_of_the_domain(ulong guest, bool leafOnly, int kept)
    {
        using RawNested vtd = Filled();
        vtd.Vtd.InvalidateIotlb(SecondDomain, guest, leafOnly: leafOnly);
        Assert.Equal("", Gone(vtd));
        vtd.Vtd.InvalidateIotlb(Domain, guest, leafOnly: leafOnly);
        Assert.Empty(vtd.Iommu.Iotlb);
        // Of the second stage that which leads to the page goes: 0x50000000 is another GiB, but the PML4 entry's.
        Assert.DoesNotContain(vtd.Iommu.WalkCache, entry => entry.Pasid is not null);
        Assert.Equal(guest == 0x22000 ? kept : 2, vtd.Iommu.WalkCache.Count);
        Assert.Equal($"{AllOf3} {AllOf4}", Gone(vtd));
    }

    [Fact]
    public void Domain_selective_and_global_drop_both_stages()
    {
        using RawNested vtd = Filled();
        vtd.Vtd.InvalidateIotlb(SecondDomain);
        Assert.Equal("", Gone(vtd));
        vtd.Vtd.InvalidateIotlb(Domain);
        Assert.Empty(vtd.Iommu.Iotlb);
        Assert.Empty(vtd.Iommu.WalkCache);
        Assert.Equal($"{AllOf3} {AllOf4}", Gone(vtd));
        vtd.Vtd.InvalidateIotlb();
        Assert.Empty(vtd.Iommu.Iotlb);
        Assert.Empty(vtd.Iommu.WalkCache);
    }

    [Fact]
    public void A_first_stage_table_that_the_second_stage_moves_is_found_after_an_invalidation_of_the_second_stage()
    {
        using var vtd = new RawNested();
        vtd.Goes(Iova, FrameA);
        // The guest's last-level table, copied to another frame, where the page is another.
        const ulong moved = 0x90000;
        vtd.Write(moved + 8, GuestB | Pwu);
        vtd.SetNest(Guest1, moved | Rw);
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid, Iova, leafOnly: true);
        vtd.Goes(Iova, FrameA);
        vtd.Vtd.InvalidateIotlb(Domain, Guest1, leafOnly: true);
        vtd.Goes(Iova, FrameB);
    }

    [Fact]
    public void A_second_stage_table_that_is_replaced_counts_after_an_invalidation_of_the_second_stage()
    {
        using var vtd = new RawNested();
        vtd.Goes(Iova, FrameA);
        for (ulong at = 0; at < 4096; at += 8) vtd.Write(SpareNest1 + at, vtd.Vtd.Read(Nest1 + at));
        vtd.Write(SpareNest1 + (GuestA >> 12) * 8, FrameB | Rw);
        vtd.Write(Nest2, SpareNest1 | Rw);
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid);
        vtd.Goes(Iova, FrameA);
        vtd.Vtd.InvalidateIotlb(Domain, GuestA, leafOnly: true);
        vtd.Goes(Iova, FrameA);
        vtd.Vtd.InvalidateIotlb(Domain, GuestA);
        vtd.Goes(Iova, FrameB);
    }

    /// <summary>A cached pointer does not carry what the second stage grants: for a flag the hardware asks it anew.</summary>
    [Fact]
    public void Flags_are_written_by_what_the_second_stage_says_now()
    {
        using var vtd = new RawNested();
        vtd.Goes(Iova, FrameA);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(GuestA | Pwu | A | D, vtd.ReadGuest(Guest1 + 8));
        vtd.SetGuest(2, GuestB | Pwu);
        vtd.SetNest(Guest1, (Host + Guest1) | 1);
        vtd.Faults(0x77, 0x2000);
        vtd.SetGuest(2, GuestB | Pwu | A);
        vtd.Goes(0x2000, FrameB);
        vtd.Faults(0x77, 0x2000, DeviceAccess.Write);
        Assert.Equal(GuestB | Pwu | A, vtd.ReadGuest(Guest1 + 16));
    }

    [Fact]
    public void A_page_that_was_read_is_dirty_in_both_stages_once_it_is_written()
    {
        using var vtd = new RawNested();
        vtd.SetPasid(Nested | Nest4 | KeepsFlags);
        vtd.WriteGuest(Guest1 + 8, GuestA | Pwu | A | D);
        vtd.Goes(Iova, FrameA);
        const ulong dirty = 1 << 9;
        Assert.Equal(0UL, vtd.Vtd.Read(NestOf(GuestA)) & dirty);
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(dirty, vtd.Vtd.Read(NestOf(GuestA)) & dirty);
    }

    [Fact]
    public void In_caching_mode_absent_second_stage_entries_above_the_last_level_are_remembered_by_guest_physical_address()
    {
        using var vtd = new RawNested(All with { CachingMode = true });
        const ulong guest = 1UL << 30;
        vtd.SetGuest(2, guest | Pwu);
        vtd.Faults(0x79, 0x2000);
        Assert.Empty(vtd.Iommu.Iotlb);
        Assert.Contains(vtd.Iommu.WalkCache, entry => entry.Fault == VtdFaultReason.SecondStageNotPermitted && entry.Range.First.Value == guest);
        vtd.Write(Nest3 + 8, Nest2 | Rw);
        vtd.SetNest(0, FrameB | Rw);
        vtd.Faults(0x79, 0x2000);
        vtd.Vtd.InvalidatePasidIotlb(Domain, GuestPasid);
        vtd.Faults(0x79, 0x2000);
        vtd.Vtd.InvalidateIotlb(Domain, guest);
        vtd.Goes(0x2000, FrameB);
        // Of the first stage nothing is remembered, and of the second nothing of the last level.
        vtd.Faults(0x71, 0x3000);
        vtd.SetGuest(3, 0x1FF000 | Pwu);
        vtd.Faults(0x79, 0x3000);
        vtd.SetNest(0x1FF000, FrameA | Rw);
        vtd.Goes(0x3000, FrameA);
    }

    [Fact]
    public void A_page_request_takes_with_it_what_is_known_of_the_second_stage()
    {
        using var ats = new RawAts(RawAts.All with { Nesting = true, CachingMode = true });
        using var vtd = new RawNested(ats.Vtd);
        const ulong guest = 1UL << 30;
        vtd.SetGuest(2, guest | Pwu);
        DmaTransfer transfer = ats.Stalls(0x2000, GuestPasid);
        vtd.Write(Nest3 + 8, Nest2 | Rw);
        vtd.SetNest(0, FrameB | Rw);
        ats.Respond(0, pasid: GuestPasid);
        Assert.Equal((AccessOutcome.Completed, (byte)0xBB), (transfer.Outcome, transfer.Data[0]));
    }

    /// <summary>What was read before an invalidation is not cached after it, whichever the step in between.</summary>
    [Theory]
    [InlineData(SimStep.WalkCacheLookup)]
    [InlineData(SimStep.WalkRead)]
    [InlineData(SimStep.FlagUpdate)]
    [InlineData(SimStep.WalkCacheFill)]
    [InlineData(SimStep.IotlbFill)]
    public void An_invalidation_between_the_steps_of_a_nested_walk_is_not_undone_by_it(SimStep at)
    {
        RawNested? machine = null;
        int count = 0;
        for (int when = 1; when <= 3; when++)
        {
            int met = 0;
            using var vtd = new RawNested(hook: (step, _) =>
            {
                if (step != at || machine is null || ++met != when) return;
                machine.Vtd.InvalidateIotlb(Domain);
            });
            machine = vtd;
            Assert.True(vtd.Vtd.Go(Iova, pasid: GuestPasid).Ok);
            machine = null;
            if (met < when) break;
            count++;
            Assert.Empty(vtd.Iommu.Iotlb);
            Assert.Empty(vtd.Iommu.WalkCache);
        }

        Assert.NotEqual(0, count);
    }

    [Fact]
    public void Fetching_ahead_sets_no_flag_in_either_stage()
    {
        using var vtd = new RawNested();
        vtd.SetPasid(Nested | Nest4 | KeepsFlags);
        var prefix = new PasidPrefix(new(GuestPasid));
        Assert.False(vtd.Iommu.Prefetch(Device, new(Iova), prefix));
        Assert.Equal(Nest3 | Rw, vtd.Vtd.Read(Nest4));
        vtd.SetPasid(Nested | Nest4);
        vtd.Vtd.InvalidatePasids();
        Assert.False(vtd.Iommu.Prefetch(Device, new(Iova), prefix));
        Assert.Equal(Guest3 | Pwu, vtd.ReadGuest(Guest4));
        vtd.SetFlags();
        Assert.True(vtd.Iommu.Prefetch(Device, new(Iova), prefix));
        Assert.Single(vtd.Iommu.Iotlb);
        Assert.False(vtd.Vtd.HasRecord);
    }
}

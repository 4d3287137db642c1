using IommuSim;
using Platform;
using static Conformance.Simulator.RawAts;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>What devices with TLBs leave behind in the unit by what they ask for, and what the unit tells of them.</summary>
public sealed class AtsEffectTests
{
    private const ulong Page = 0x1000, Absent = 0x5000, Fpd = 1 << 1;
    private const uint Iqercd = 0xB0, Ppr = 1, Pro = 2;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_caches_are_filled_as_before_after_a_device_has_been_served(bool isPageRequest)
    {
        using var ats = new RawAts();
        if (isPageRequest) ats.Stalls(Absent);
        else ats.InvalidateDevice(Page);
        for (int i = 0; i < 2; i++) ats.Vtd.Goes(Page, FrameA);
        VtdStatistics seen = ats.Iommu.Statistics;
        Assert.Equal((1, 0), (seen.IotlbHits, seen.DiscardedFills));
    }

    [Fact]
    public void A_page_request_takes_the_pointers_on_the_way_to_its_page_and_no_others()
    {
        using var ats = new RawAts();
        const ulong apart = 0x20_0000, table = 0x29000;
        ats.Vtd.Write(Second2 + 8, table | Rw);
        ats.Vtd.Write(First2 + 8, table | Pwu);
        ats.Vtd.Write(table, FrameB | Pwu);
        foreach (uint? pasid in (uint?[])[null, 2])
        {
            ats.Vtd.Goes(apart, FrameB, pasid: pasid);
            ats.Vtd.Goes(Page, FrameA, pasid: pasid);
            ats.Stalls(Absent, pasid);
            Assert.Equal([(2, apart)], ats.Iommu.WalkCache.Where(entry => entry.Pasid?.Value == pasid).Select(static entry => (entry.Level, entry.Range.First.Value)));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ITESID_names_the_first_of_the_devices_that_have_not_answered(bool hasPasid)
    {
        using var ats = new RawAts();
        var first = new AtsDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x30)) { IsResponding = false };
        ats.Device.IsResponding = false;
        foreach (ulong source in (ulong[])[first.Source.Value, RawScalable.Device.Value])
            ats.Vtd.Submit(hasPasid ? 0x8 | source << 16 | 2UL << 32 : 0x3 | source << 32, Page);
        Assert.False(ats.Vtd.Wait());
        Assert.Equal(0x30UL << 32, ats.Iommu.Read64(Iqercd));
    }

    [Fact]
    public void An_invalidation_of_a_TLB_that_there_is_not_needs_no_answer()
    {
        using var ats = new RawAts();
        ats.InvalidateDevice(Page, source: 0x99);
        Assert.True(ats.Vtd.Wait());
        Assert.Equal(0u, ats.Iommu.Read32(Fsts));
    }

    [Fact]
    public void A_wait_that_is_aborted_is_not_said_to_be_consumed()
    {
        using var ats = new RawAts(All with { Commands = CommandMode.Manual });
        ats.Device.IsResponding = false;
        ats.InvalidateDevice(Page);
        ats.Vtd.Wait();
        Assert.Equal(2, ats.Iommu.ProcessCommands());
        Assert.Equal((1 << 6, 1L), ((int)ats.Iommu.Read32(Fsts), ats.Iommu.Statistics.InvalidationTimeouts));
        ats.Iommu.Write32(Fsts, 1 << 6);
        Assert.True(ats.Iommu.ProcessNextCommand());
    }

    [Fact]
    public void An_access_that_begins_after_the_invalidation_of_the_devices_TLB_is_not_waited_for()
    {
        RawAts? ats = null;
        bool? completed = null;
        using (ats = new RawAts(hook: OnAccess))
        {
            ats.Reads(Page, 0xAA);
            ats.InvalidateDevice(Absent);
            completed = null;
            ats.Reads(Page, 0xAA);
            Assert.Equal((true, 1), (completed, ats.Iommu.Statistics.DeviceTlbHits));
        }

        void OnAccess(SimStep step, ulong detail)
        {
            if (step == SimStep.MemoryAccess) completed = ats!.Vtd.Wait();
        }
    }

    [Fact]
    public void The_statistics_count_what_only_the_scalable_mode_and_its_devices_have()
    {
        using var ats = new RawAts();
        for (int i = 0; i < 4; i++) ats.Vtd.Goes(Page, FrameA);
        ats.Vtd.InvalidatePasids();
        ats.Vtd.InvalidatePasids(FirstDomain);
        ats.Vtd.InvalidatePasids(FirstDomain, 2);
        ats.Vtd.InvalidatePasidIotlb(FirstDomain, 2);
        ats.Vtd.InvalidatePasidIotlb(FirstDomain, 2, Page);
        ats.InvalidateDevice(Page);
        ats.InvalidateDevice(2u, Page);
        ats.Respond(0);
        VtdStatistics seen = ats.Iommu.Statistics;
        Assert.Equal((3, 3, 2), (seen.PasidCacheHits, seen.PasidCacheInvalidations, seen.PasidIotlbInvalidations));
        Assert.Equal((2, 1, 0), (seen.DeviceTlbInvalidations, seen.PageGroupResponses, seen.PageRequests));
    }

    [Fact]
    public void The_steps_of_a_device_with_a_TLB_come_in_order()
    {
        var seen = new List<(SimStep, ulong)>();
        using var ats = new RawAts(hook: (step, detail) => seen.Add((step, detail)));
        ats.Reads(Page, 0xAA, pasid: 2);
        ats.InvalidateDevice(2u, Page);
        seen.Clear();
        ats.Reads(Page, 0xAA, pasid: 2);
        Assert.Equal(
            [
                (SimStep.DeviceTlbLookup, Page),
                (SimStep.ContextLookup, 0x20),
                (SimStep.PasidLookup, 2),
                (SimStep.IotlbLookup, Page),
                (SimStep.DeviceTlbFill, Page),
                (SimStep.ContextLookup, 0x20),
                (SimStep.MemoryAccess, FrameA),
            ],
            seen);
        seen.Clear();
        ats.Reads(Page, 0xAA, pasid: 2);
        Assert.Equal([SimStep.DeviceTlbLookup, SimStep.ContextLookup, SimStep.MemoryAccess], seen.Select(static step => step.Item1));
        seen.Clear();
        ats.Stalls(Absent, pasid: 2);
        Assert.Equal(
            [
                (SimStep.DeviceTlbLookup, Absent),
                (SimStep.ContextLookup, 0x20),
                (SimStep.PasidLookup, 2),
                (SimStep.IotlbLookup, Absent),
                (SimStep.WalkCacheLookup, Absent),
                (SimStep.WalkRead, First1 + 5 * 8),
                (SimStep.PageRequest, Absent),
                (SimStep.PasidLookup, 2),
            ],
            seen);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void A_page_request_whose_PASID_is_gone_is_a_fault_that_FPD_of_either_entry_silences(bool ofContext, bool ofPasid)
    {
        RawAts? ats = null;
        using (ats = new RawAts(hook: OnRequest))
        {
            ats.SetContext(Dte | Pre | (ofContext ? Fpd : 0));
            DmaTransfer transfer = ats.Read(Absent, pasid: 2);
            Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
            Assert.Equal(!ofContext && !ofPasid, ats.Vtd.HasRecord);
            Assert.Equal(1, ats.Iommu.Statistics.Faults);
        }

        void OnRequest(SimStep step, ulong detail)
        {
            if (step != SimStep.PageRequest) return;
            ats!.Vtd.SetPasid(2, ofPasid ? Fpd : 0, 0, 0);
            ats.Vtd.InvalidatePasids();
        }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void FPD_of_either_entry_silences_the_faults_behind_it(bool ofContext, bool ofPasid)
    {
        using var vtd = new RawScalable();
        vtd.SetContext(PasidDirectory | 1 | 1 << 3 | (ofContext ? Fpd : 0), 1);
        vtd.SetPasid(2, ofPasid ? Fpd : 0, 0, 0);
        Assert.Equal(VtdFaultReason.PasidEntryNotPresent, vtd.Go(Page, pasid: 2).Reason);
        Assert.Equal(!ofContext && !ofPasid, vtd.HasRecord);
    }

    /// <summary>Before the context entry none has been met that could silence it.</summary>
    [Fact]
    public void A_fault_of_the_root_table_is_recorded_whatever_the_entries_behind_it_say()
    {
        RawAts? ats = null;
        using (ats = new RawAts(hook: OnRequest))
        {
            ats.SetContext(Dte | Pre | Fpd);
            Assert.Equal(AccessOutcome.Failed, ats.Read(Absent, pasid: 2).Outcome);
            Assert.Equal(0x30UL, ats.Iommu.Read64(Frcd + 8) >> 32 & 0xFF);
            ats.Vtd.Faults(0x30, pasid: 2);
        }

        void OnRequest(SimStep step, ulong detail)
        {
            if (step == SimStep.PageRequest) ats!.Vtd.SetRoot(Root | 2 << 10);
        }
    }

    [Fact]
    public void A_PASID_entry_that_cannot_be_fetched_is_a_fault_that_FPD_does_not_silence()
    {
        using var vtd = new RawScalable();
        vtd.SetContext(PasidDirectory | 1 | 1 << 3 | Fpd, 1);
        vtd.Write(PasidDirectory, MemoryBytes | 1);
        vtd.Faults(0x58, Page, pasid: 2);
        vtd.SetContext(MemoryBytes | 1 | 1 << 3 | Fpd, 1);
        vtd.InvalidateContexts();
        vtd.Faults(0x50, Page, pasid: 2);
    }

    [Fact]
    public void A_reason_is_asked_of_a_transfer_that_there_is() =>
        Assert.Equal("transfer", Assert.Throws<ArgumentNullException>(static () => ((DmaTransfer)null!).Reason).ParamName);

    [Fact]
    public void The_message_of_a_page_request_is_sent_when_it_is_in_the_queue()
    {
        using var ats = new RawAts();
        ulong? tail = null;
        ats.Iommu.Write32(Pectl, 0);
        ats.Iommu.Interrupt += _ => tail = ats.Tail;
        ats.Stalls(Absent);
        Assert.Equal(32UL, tail);
    }

    [Fact]
    public void Devices_are_told_to_ask_again_by_the_write_that_clears_PRO_and_by_no_other()
    {
        using var ats = new RawAts();
        ats.Iommu.Write64(Pqh, 32);
        ats.Stalls(Absent);
        Assert.Equal(Pro, ats.Status);
        long asked = ats.Iommu.Statistics.TranslationRequests;
        ats.Iommu.Write32(Prs, Ppr);
        ats.Iommu.Write64(Pqh, 0);
        ats.Iommu.Write32(Pectl, 0);
        Assert.Equal(asked, ats.Iommu.Statistics.TranslationRequests);
        ats.Iommu.Write32(Prs, Pro);
        Assert.Equal(asked + 1, ats.Iommu.Statistics.TranslationRequests);
    }

    [Fact]
    public void Devices_are_told_to_ask_again_in_the_order_of_their_requester_ids()
    {
        using var ats = new RawAts();
        ulong[] sources = [0x28, 0x10];
        foreach (ulong source in sources) ats.Vtd.Set(Context + source * 32, PasidDirectory | Present | PasidEnable | Dte | Pre, 1, 0, 0);
        AtsDevice<Ram, Hook>[] devices = [.. sources.Select(source => new AtsDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new((uint)source)))];
        ats.Iommu.Write64(Pqh, 32);
        foreach (AtsDevice<Ram, Hook> device in (AtsDevice<Ram, Hook>[])[.. devices, ats.Device])
            Assert.Equal(AccessOutcome.Stalled, device.Read(new(Absent), 1).Outcome);
        ats.Iommu.Write64(Pqh, 0);
        ats.Iommu.Write32(Prs, Pro);
        Assert.Equal([0x10UL, 0x20UL, 0x28UL], Enumerable.Range(0, 3).Select(i => ats.Request((ulong)i).Low >> 16 & 0xFFFF));
    }

    [Fact]
    public void The_record_of_a_write_by_a_translation_of_the_devices_says_so()
    {
        using var ats = new RawAts();
        Assert.Equal(AccessOutcome.Completed, ats.Write(Page).Outcome);
        ats.SetContext(0);
        Assert.Equal(AccessOutcome.Failed, ats.Write(Page).Outcome);
        Assert.Equal(1UL << 63 | 2UL << 60 | 0x44UL << 32 | 0x20, ats.Iommu.Read64(Frcd + 8));
    }

    [Fact]
    public void A_device_that_is_let_through_untranslated_is_told_its_own_addresses()
    {
        using var ats = new RawAts();
        ats.Vtd.SetPasid(1, PassThrough, SecondDomain | Snoop, 0);
        ats.Reads(FrameA, 0xAA);
        Assert.Equal(new DeviceTlbEntry(IovaRange.FromLength(new(FrameA), 4096), new(FrameA), true, true, null), Assert.Single(ats.Device.Tlb));
    }
}

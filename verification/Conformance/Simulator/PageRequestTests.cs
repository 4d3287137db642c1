using IommuSim;
using static Conformance.Simulator.RawAts;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Recoverable Fault Reporting: the page request queue, and what the devices are answered.</summary>
public sealed class PageRequestTests
{
    private const ulong Absent = 0x5000;
    private const ulong Success = 0, InvalidRequest = 1, ResponseFailure = 15;
    private const uint Ppr = 1, Pro = 2;

    [Fact]
    public void The_registers_hold_what_their_fields_are()
    {
        using var ats = new RawAts();
        foreach ((uint offset, ulong held) in new[] { (Pqh, 0x7_FFE0UL), (Pqt, 0x7_FFE0UL), (Pqa, ~0xFF8UL), (0xE8u, ~3UL) })
        {
            ats.Iommu.Write64(offset, ulong.MaxValue);
            Assert.Equal(held, ats.Iommu.Read64(offset));
            ats.Iommu.Write64(offset, 0);
            Assert.Equal(0UL, ats.Iommu.Read64(offset));
        }

        Assert.Equal(0x8000_0000u, ats.Iommu.Read32(Pectl));
        ats.Iommu.Write32(Pectl, 0);
        ats.Iommu.Write32(0xE4, 0x1234_5678);
        Assert.Equal(0x1234_5678_0000_0000UL, ats.Iommu.Read64(Pectl));
        Assert.Equal(0u, ats.Status);
        using var without = new RawScalable(VtdOptions.Scalable with { DeviceTlbs = true });
        for (uint offset = 0xC0; offset < 0xF0; offset += 8)
        {
            without.Iommu.Write64(offset, ulong.MaxValue);
            Assert.Equal(0UL, without.Iommu.Read64(offset));
        }
    }

    [Fact]
    public void A_page_request_is_written_down_word_for_word()
    {
        using var ats = new RawAts();
        ats.Vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre | 1 << 1 | 1 << 5);
        ats.Read(Absent + 0x123);
        ats.Write(Absent);
        ats.Read(Absent, pasid: 2, privileged: true);
        ats.Read(Absent, pasid: 2, execute: true);
        ats.Write(Absent, pasid: 2);
        // Type, PP, RID, PASID, EXE, PMR; RD, WR, LPIG, PRGI, ADDR.
        Assert.Equal((0x1UL | 0x20 << 16, Absent | 1 | 1 << 2), ats.Request(0));
        Assert.Equal((0x1UL | 0x20 << 16, Absent | 2 | 1 << 2 | 1 << 3), ats.Request(1));
        Assert.Equal((0x1UL | 1 << 8 | 0x20 << 16 | 2UL << 32 | 1UL << 53, Absent | 1 | 1 << 2 | 2 << 3), ats.Request(2));
        Assert.Equal((0x1UL | 1 << 8 | 0x20 << 16 | 2UL << 32 | 1UL << 52, Absent | 1 | 1 << 2 | 3 << 3), ats.Request(3));
        Assert.Equal((0x1UL | 1 << 8 | 0x20 << 16 | 2UL << 32, Absent | 2 | 1 << 2 | 4 << 3), ats.Request(4));
        Assert.Equal((0UL, 5 * 32UL), (ats.Head, ats.Tail));
        Assert.False(ats.Vtd.HasRecord);
    }

    [Fact]
    public void A_response_of_success_makes_the_device_try_again()
    {
        using var ats = new RawAts();
        DmaTransfer transfer = ats.Stalls(Absent);
        Assert.Equal((VtdFaultReason.SecondStageNotPermitted, new(Absent)), (transfer.Reason, transfer.FaultAddress));
        // Nothing has changed: it asks again.
        ats.Respond(Success);
        Assert.Equal((AccessOutcome.Stalled, 2 * 32UL), (transfer.Outcome, ats.Tail));
        ats.Vtd.SetSecond(5, FrameB | Rw);
        ats.Respond(Success);
        Assert.Equal((AccessOutcome.Completed, 0xBB), (transfer.Outcome, transfer.Data[0]));
        ats.Respond(Success);
        Assert.Equal((1, 2 * 32UL), (ats.Device.UnexpectedResponses, ats.Tail));
    }

    [Theory]
    [InlineData(InvalidRequest, false)]
    [InlineData(ResponseFailure, true)]
    [InlineData(7, true)]       // reserved
    public void Other_responses_end_the_access(ulong code, bool stops)
    {
        using var ats = new RawAts();
        DmaTransfer transfer = ats.Stalls(Absent, pasid: 2);
        ats.Respond(code, pasid: 2);
        Assert.Equal((AccessOutcome.Failed, VtdFaultReason.FirstStageEntryNotPresent), (transfer.Outcome, transfer.Reason));
        Assert.Equal(stops, ats.Device.HasStoppedAsking);
        Assert.Equal(stops ? AccessOutcome.Failed : AccessOutcome.Stalled, ats.Read(Absent).Outcome);
        Assert.False(ats.Vtd.HasRecord);
    }

    [Fact]
    public void A_response_to_another_group_PASID_or_device_is_none()
    {
        using var ats = new RawAts();
        DmaTransfer first = ats.Stalls(Absent, pasid: 2);
        DmaTransfer second = ats.Stalls(Absent);
        ats.Respond(InvalidRequest, group: 2, pasid: 2);
        ats.Respond(InvalidRequest, group: 0, pasid: 3);
        ats.Respond(InvalidRequest, group: 0);
        ats.Respond(InvalidRequest, group: 1, pasid: 2);
        Assert.Equal(4, ats.Device.UnexpectedResponses);
        ats.Respond(InvalidRequest, group: 1, source: 0x21);
        Assert.Equal(4, ats.Device.UnexpectedResponses);
        Assert.Equal((AccessOutcome.Stalled, AccessOutcome.Stalled), (first.Outcome, second.Outcome));
        ats.Respond(InvalidRequest, group: 1);
        Assert.Equal((AccessOutcome.Stalled, AccessOutcome.Failed), (first.Outcome, second.Outcome));
    }

    [Fact]
    public void A_full_queue_takes_no_request_until_the_overflow_is_cleared()
    {
        using var ats = new RawAts(device: new() { OutstandingGroups = 512 });
        // 2^(PQS + 7) entries, one of which stays empty.
        DmaTransfer[] transfers = [.. Enumerable.Range(0, 130).Select(_ => ats.Stalls(Absent))];
        Assert.Equal((127 * 32UL, Ppr | Pro), (ats.Tail, ats.Status));
        Assert.Equal((130, 3), (ats.Iommu.Statistics.PageRequests, ats.Iommu.Statistics.PageRequestsLost));
        // Room alone does not help.
        ats.Iommu.Write64(Pqh, 127 * 32);
        Assert.Equal(127 * 32UL, ats.Tail);
        ats.Iommu.Write32(Prs, Pro);
        Assert.Equal((2 * 32UL, Ppr), (ats.Tail, ats.Status));
        ats.Vtd.SetSecond(5, FrameB | Rw);
        for (uint group = 0; group < 130; group++) ats.Respond(Success, group);
        Assert.All(transfers, static transfer => Assert.Equal(AccessOutcome.Completed, transfer.Outcome));
    }

    [Theory]
    [InlineData(0, 128)]
    [InlineData(2, 512)]
    public void The_queue_is_as_large_as_PQS_says(ulong size, int entries)
    {
        using var ats = new RawAts(device: new() { OutstandingGroups = 512 });
        ats.Iommu.Write64(Pqa, PageRequests | size);
        ats.Iommu.Write64(Pqh, 32);
        ats.Iommu.Write64(Pqt, 32);
        for (int i = 0; i < entries - 1; i++) ats.Stalls(Absent);
        Assert.Equal((0UL, Ppr), (ats.Tail, ats.Status));
        ats.Stalls(Absent);
        Assert.Equal((0UL, Ppr | Pro), (ats.Tail, ats.Status));
    }

    [Fact]
    public void The_event_is_pending_while_software_has_not_served_what_raised_it()
    {
        const uint mask = 1u << 31, pending = 1u << 30;
        using var ats = new RawAts();
        ats.Stalls(Absent);
        Assert.Equal(mask | pending, ats.Iommu.Read32(Pectl));
        ats.Iommu.Write32(Prs, Pro);
        Assert.Equal(Ppr, ats.Status);
        ats.Iommu.Write32(Prs, Ppr);
        Assert.Equal((0u, mask), (ats.Status, ats.Iommu.Read32(Pectl)));
        ats.Stalls(Absent);
        ats.Iommu.Write32(Pectl, 0);
        Assert.Equal(0u, ats.Iommu.Read32(Pectl));
    }

    [Fact]
    public void A_group_is_answered_as_a_whole_and_each_of_its_requests_pends()
    {
        using var ats = new RawAts(device: new() { PagesInGroup = 4 });
        ats.Vtd.SetSecond(6, FrameA | Rw);
        DmaTransfer transfer = ats.Device.Write(new(Absent + 0x800), new byte[0x3000]);
        Assert.Equal([Absent | 2, 0x7000 | 2, 0x8000 | 2 | 1 << 2], Enumerable.Range(0, 3).Select(i => ats.Request((ulong)i).High));
        foreach (ulong page in new ulong[] { 5, 7, 8 }) ats.Vtd.SetSecond(page, FrameB | Rw);
        ats.Respond(Success);
        Assert.Equal(AccessOutcome.Completed, transfer.Outcome);

        // Of a group that does not fit the beginning is queued: that pends, and the device comes back.
        ats.Iommu.Write64(Pqh, 32);
        ats.Iommu.Write64(Pqt, 127 * 32);
        ats.Iommu.Write32(Prs, Ppr);
        ats.Iommu.Write64(Pqh, 32);
        transfer = ats.Device.Write(new(0x10_5000), new byte[0x2000]);
        Assert.Equal((0UL, Ppr | Pro), (ats.Tail, ats.Status));
        ats.Iommu.Write64(Pqh, 0);
        ats.Iommu.Write32(Prs, Pro);
        Assert.Equal((64UL, Ppr), (ats.Tail, ats.Status));
        ats.Respond(InvalidRequest);
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
    }

    [Fact]
    public void A_device_whose_page_requests_are_disabled_fails_where_it_would_wait_and_asks_when_they_are_enabled()
    {
        using var ats = new RawAts();
        const ulong absent = 0x7000;
        DmaTransfer waiting = ats.Stalls(absent);
        ats.Device.PageRequestsEnabled = false;
        Assert.Equal(AccessOutcome.Failed, ats.Read(absent).Outcome);
        Assert.Equal((1L, 0L), (ats.Iommu.Statistics.PageRequests, ats.Iommu.Statistics.Faults));
        Assert.Equal(AccessOutcome.Stalled, waiting.Outcome);
        ats.Device.PageRequestsEnabled = true;
        ats.Stalls(absent);
        Assert.Equal(2, ats.Iommu.Statistics.PageRequests);
    }

    [Fact]
    public void A_context_entry_that_does_not_let_devices_ask_is_a_fault()
    {
        using var ats = new RawAts();
        ats.SetContext(Dte);
        Assert.Equal(AccessOutcome.Failed, ats.Read(Absent, pasid: 2).Outcome);
        // T 01b: a page request.
        Assert.Equal(1UL << 63 | 2UL << 40 | 0x47UL << 32 | 1UL << 31 | 1UL << 28 | 0x20, ats.Iommu.Read64(Frcd + 8));
        Assert.Equal(Absent, ats.Iommu.Read64(Frcd));
        Assert.Equal((0UL, false), (ats.Tail, ats.Device.HasStoppedAsking));

        using var legacy = new RawVtd(All);
        legacy.SetContext(RawVtd.Device, RawVtd.Table4 | 1 | 1 << 2, 2 | RawVtd.DomainId << 8);
        var device = new AtsDevice<Platform.Ram, Hook>(legacy.Iommu, legacy.Memory, RawVtd.Device);
        Assert.Equal(AccessOutcome.Failed, device.Read(new(Absent), 1).Outcome);
        Assert.Equal(0x32UL, legacy.Iommu.Read64(RawVtd.Frcd + 8) >> 32 & 0xFF);
        Assert.False(device.HasStoppedAsking);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_wait_with_PD_lets_page_requests_on_their_way_arrive(bool drains)
    {
        RawAts? ats = null;
        bool? completed = null;
        using (ats = new RawAts(hook: OnRequest))
        {
            ats.Stalls(Absent);
            Assert.Equal(!drains, completed);
            Assert.Equal(1UL, ats.Vtd.Read(Status) & 0xFFFF_FFFF);
            Assert.Equal(32UL, ats.Tail);
        }

        void OnRequest(SimStep step, ulong detail)
        {
            if (step != SimStep.PageRequest) return;
            ats!.Vtd.Submit(0x5 | 1 << 5 | (drains ? 1UL << 7 : 0) | 1UL << 32, Status);
            completed = (ats.Vtd.Read(Status) & 0xFFFF_FFFF) == 1;
        }
    }

    [Fact]
    public void Accesses_beyond_what_may_be_outstanding_wait_their_turn()
    {
        using var ats = new RawAts(device: new() { OutstandingGroups = 1 });
        DmaTransfer first = ats.Stalls(Absent), second = ats.Stalls(0x6000), third = ats.Stalls(0x7000), fourth = ats.Stalls(0x8000);
        Assert.Equal(32UL, ats.Tail);
        ats.Vtd.SetSecond(6, FrameB | Rw);
        ats.Respond(InvalidRequest);
        // The second needs no group any more, and so the third has it.
        Assert.Equal((AccessOutcome.Failed, AccessOutcome.Completed, AccessOutcome.Stalled), (first.Outcome, second.Outcome, third.Outcome));
        Assert.Equal((64UL, 0x7000UL | 1 | 1 << 2), (ats.Tail, ats.Request(1).High));
        Assert.Equal(AccessOutcome.Stalled, fourth.Outcome);
        ats.Respond(InvalidRequest);
        Assert.Equal((AccessOutcome.Failed, 96UL, 0x8000UL | 1 | 1 << 2), (third.Outcome, ats.Tail, ats.Request(2).High));
    }

    [Fact]
    public void A_group_has_no_more_pages_than_the_device_puts_into_one()
    {
        using var ats = new RawAts(device: new() { PagesInGroup = 2 });
        DmaTransfer transfer = ats.Device.Read(new(Absent), 3 * 4096);
        Assert.Equal([Absent | 1, 0x6000 | 1 | 1 << 2], Enumerable.Range(0, 2).Select(i => ats.Request((ulong)i).High));
        Assert.Equal((AccessOutcome.Stalled, 2 * 32UL), (transfer.Outcome, ats.Tail));
    }

    /// <summary>A request that was lost gives its place to the next, though nobody answers it.</summary>
    [Fact]
    public void An_access_that_waits_its_turn_behind_a_request_that_was_lost_has_it_when_there_is_room()
    {
        RawAts? ats = null;
        DmaTransfer? second = null;
        using (ats = new RawAts(hook: OnRequest, device: new() { OutstandingGroups = 1 }))
        {
            // Full: the entry before the head stays empty.
            ats.Iommu.Write64(Pqh, 32);
            DmaTransfer first = ats.Stalls(Absent);
            Assert.Equal((AccessOutcome.Stalled, 0UL, Pro), (second!.Outcome, ats.Tail, ats.Status));
            ats.Vtd.SetSecond(5, FrameB | Rw);
            ats.Iommu.Write64(Pqh, 0);
            ats.Iommu.Write32(Prs, Pro);
            Assert.Equal((AccessOutcome.Completed, AccessOutcome.Stalled), (first.Outcome, second.Outcome));
            Assert.Equal((32UL, 0x6000UL | 1 | 1 << 2), (ats.Tail, ats.Request().High));
        }

        void OnRequest(SimStep step, ulong detail)
        {
            if (step == SimStep.PageRequest) second ??= ats!.Device.Read(new(0x6000), 1);
        }
    }

    [Fact]
    public void What_was_lost_is_asked_for_once_more_and_not_each_time_that_there_is_room()
    {
        using var ats = new RawAts();
        ats.Iommu.Write64(Pqh, 32);
        ats.Stalls(Absent);
        MakeRoom(0);
        Assert.Equal((32UL, Absent | 1 | 1 << 2), (ats.Tail, ats.Request().High));
        // The same befalls another one.
        ats.Iommu.Write64(Pqh, 64);
        ats.Stalls(0x6000);
        MakeRoom(32);
        Assert.Equal((64UL, 0x6000UL | 1 | 1 << 2 | 1 << 3), (ats.Tail, ats.Request(1).High));

        void MakeRoom(ulong head)
        {
            Assert.NotEqual(0u, ats.Status & Pro);
            ats.Iommu.Write64(Pqh, head);
            ats.Iommu.Write32(Prs, Pro);
        }
    }

    /// <summary>Software that serves the event at once clears the overflow before the device knows what became of its request.</summary>
    [Fact]
    public void Room_that_is_made_before_the_device_knows_that_its_request_was_lost_is_not_missed()
    {
        using var ats = new RawAts();
        int served = 0;
        ats.Iommu.Interrupt += _ =>
        {
            if ((ats.Status & Pro) == 0) return;
            served++;
            ats.Iommu.Write64(Pqh, 0);
            ats.Iommu.Write32(Prs, Pro);
        };
        ats.Iommu.Write32(Pectl, 0);
        ats.Iommu.Write64(Pqh, 32);
        DmaTransfer transfer = ats.Stalls(Absent);
        Assert.Equal((1, 32UL, Ppr), (served, ats.Tail, ats.Status));
        ats.Vtd.SetSecond(5, FrameB | Rw);
        ats.Respond(Success);
        Assert.Equal((AccessOutcome.Completed, 0), (transfer.Outcome, ats.Device.UnexpectedResponses));
    }

    [Fact]
    public void A_page_request_takes_the_old_translation_of_its_page_with_it()
    {
        using var ats = new RawAts();
        ats.Vtd.SetSecond(5, FrameA | 1);
        ats.Vtd.SetSecond(6, FrameA | 1);
        ats.Vtd.Goes(Absent, FrameA);
        ats.Vtd.Goes(0x6000, FrameA);
        DmaTransfer transfer = ats.Write(Absent);
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.Equal(0x6000UL, Assert.Single(ats.Iommu.Iotlb).Range.First.Value);
        ats.Vtd.SetSecond(5, FrameB | Rw);
        ats.Respond(Success);
        Assert.Equal(AccessOutcome.Completed, transfer.Outcome);
    }
}

using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Support For Device-TLBs: translation requests, translated requests, and what makes a device forget.</summary>
public sealed class DeviceTlbTests
{
    private const ulong Page1 = 0x1000, Everything = 0x7FFF_FFFF_FFFF_F000;

    [Fact]
    public void ECAP_says_what_devices_may_do()
    {
        const uint ecap = 0x10;
        using var none = new RawScalable();
        using var tlbs = new RawScalable(VtdOptions.Scalable with { DeviceTlbs = true });
        using var requests = new RawScalable(VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true });
        using var requestsAlone = new RawScalable(VtdOptions.Scalable with { PageRequests = true });
        using var legacy = new RawVtd(VtdOptions.Default with { DeviceTlbs = true, PageRequests = true });
        Assert.Equal(1UL << 2 | 1UL << 33, none.Iommu.Read64(ecap) ^ tlbs.Iommu.Read64(ecap));
        Assert.Equal(1UL << 29 | 1UL << 42, tlbs.Iommu.Read64(ecap) ^ requests.Iommu.Read64(ecap));
        Assert.Equal(none.Iommu.Read64(ecap), requestsAlone.Iommu.Read64(ecap));
        Assert.Equal(1UL << 2 | 1UL << 33 | 0xF42, legacy.Iommu.Read64(ecap));
    }

    [Fact]
    public void A_device_keeps_what_it_was_told_until_its_own_TLB_is_invalidated()
    {
        using var ats = new RawAts();
        ats.Reads(Page1, 0xAA);
        ats.Vtd.SetSecond(1, FrameB | Rw);
        ats.Vtd.InvalidateAll();
        Assert.True(ats.Vtd.Wait());
        ats.Vtd.Goes(Page1, FrameB);
        ats.Reads(Page1, 0xAA);
        Assert.Equal(1, ats.Iommu.Statistics.DeviceTlbHits);
        ats.InvalidateDevice(Page1);
        ats.Reads(Page1, 0xBB);
        Assert.Equal(2, ats.Iommu.Statistics.TranslationRequests);
        Assert.Equal([new DeviceTlbEntry(IovaRange.FromLength(new(Page1), 4096), new(FrameB), true, true, null)], ats.Device.Tlb);
        Assert.Equal(ats.Device.Tlb, ats.Device.PeekTlb());
    }

    [Theory]
    [InlineData(null)]
    [InlineData(2u)]
    public void A_device_that_refetches_asks_again_for_the_pages_that_an_invalidation_took(uint? pasid)
    {
        using var ats = new RawAts(device: new() { Refetches = true });
        ats.Reads(Page1, 0xAA, pasid);
        Set(FrameB);
        // The unit itself has not forgotten: what the device asks for too early is out of date.
        Invalidate(Page1, size: false);
        Assert.Equal(FrameA, Assert.Single(ats.Device.Tlb).Address.Value);
        ats.Vtd.InvalidateAll();
        Invalidate(Page1, size: false);
        Assert.Equal(FrameB, Assert.Single(ats.Device.Tlb).Address.Value);
        Assert.Equal(3, ats.Iommu.Statistics.TranslationRequests);
        // What is absent now is not recorded, and not kept.
        Set(null);
        ats.Vtd.InvalidateAll();
        Invalidate(Page1, size: false);
        Assert.Empty(ats.Device.Tlb);
        Assert.Equal(0, ats.Iommu.Statistics.Faults);
        Set(FrameA);
        ats.Vtd.InvalidateAll();
        ats.Reads(Page1, 0xAA, pasid);
        Invalidate(Everything, size: true);
        Assert.Empty(ats.Device.Tlb);
        // To ask is no access that is under way for ever.
        Assert.True(ats.Vtd.Wait());

        void Set(ulong? frame)
        {
            if (pasid is null) ats.Vtd.SetSecond(1, frame is { } second ? second | Rw : 0);
            else ats.Vtd.SetFirst(1, frame is { } first ? first | Pwu : 0);
        }

        void Invalidate(ulong address, bool size)
        {
            if (pasid is { } named) ats.InvalidateDevice(named, address, size);
            else ats.InvalidateDevice(address, size);
        }
    }

    [Fact]
    public void In_legacy_mode_translation_type_01b_lets_a_device_ask()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { DeviceTlbs = true });
        vtd.SetPage(1, FrameA | RawVtd.ReadWrite);
        var device = new AtsDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        Assert.Equal(AccessOutcome.Failed, device.Read(new(Page1), 1).Outcome);
        Assert.Equal(1UL << 63 | 1UL << 62 | 1UL << 60 | 0xDUL << 32 | 0x20, vtd.Iommu.Read64(RawVtd.Frcd + 8));
        vtd.SetContext(RawVtd.Device, RawVtd.Table4 | 1 | 1 << 2, 2 | RawVtd.DomainId << 8);
        vtd.InvalidateContexts();
        Assert.Equal([0xAA], device.Read(new(Page1), 1).Data.ToArray());
        vtd.AssertReads(Page1, FrameA);
        vtd.SetPage(1, FrameB | RawVtd.ReadWrite);
        vtd.InvalidateAll();
        Assert.Equal([0xAA], device.Read(new(Page1), 1).Data.ToArray());
        vtd.Submit(0x3 | (ulong)RawVtd.Device.Value << 32, Page1);
        Assert.Equal([0xBB], device.Read(new(Page1), 1).Data.ToArray());
    }

    [Fact]
    public void Without_device_TLBs_what_enables_them_is_reserved()
    {
        using var vtd = new RawScalable();
        vtd.SetContext(PasidDirectory | 1 | 1 << 3 | 1 << 2, 1);
        vtd.Faults(0x42);
        vtd.SetContext(PasidDirectory | 1 | 1 << 3 | 1 << 4, 1);
        vtd.Faults(0x42);
        using var tlbs = new RawScalable(VtdOptions.Scalable with { DeviceTlbs = true });
        tlbs.SetContext(PasidDirectory | 1 | 1 << 3 | 1 << 4, 1);
        tlbs.Faults(0x42);
        using var legacy = new RawVtd();
        legacy.SetContext(RawVtd.Device, RawVtd.Table4 | 1 | 1 << 2, 2 | RawVtd.DomainId << 8);
        Assert.Equal(VtdFaultReason.ContextEntryInvalid, legacy.Fault(Page1));
    }

    [Fact]
    public void With_DTE_clear_neither_translations_nor_accesses_by_them_are_let_through()
    {
        using var ats = new RawAts();
        ats.Reads(Page1, 0xAA);
        ats.SetContext(0);
        Assert.Equal(AccessOutcome.Failed, ats.Read(Page1).Outcome);
        // AT 10b: a translated request, and the address is the one that it was translated to.
        Assert.Equal(1UL << 63 | 1UL << 62 | 2UL << 60 | 0x44UL << 32 | 0x20, ats.Iommu.Read64(Frcd + 8));
        Assert.Equal(FrameA, ats.Iommu.Read64(Frcd));
        ats.Vtd.ClearFaults();
        Assert.Equal(VtdFaultReason.DeviceTlbNotEnabled, ats.Read(0x2000, pasid: 2).Reason);
        Assert.Equal(1UL << 63 | 1UL << 62 | 1UL << 60 | 2UL << 40 | 0x44UL << 32 | 1UL << 31 | 0x20, ats.Iommu.Read64(Frcd + 8));
        Assert.Equal(0x2000UL, ats.Iommu.Read64(Frcd));
    }

    [Fact]
    public void What_a_page_does_not_permit_is_no_fault_of_a_translation_request()
    {
        using var ats = new RawAts(device: new() { PageRequests = false });
        ats.Vtd.SetSecond(1, FrameA | 1);
        ats.Vtd.SetFirst(1, FrameA | Pu);
        ats.Vtd.SetFirst(2, FrameA | Pw);
        ats.Vtd.SetFirst(3, FrameA | Pwu | 1UL << 63);
        ats.Vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre | 1 << 1 | 1 << 5);
        Assert.Equal(VtdFaultReason.ScalableWrite, ats.Write(Page1).Reason);
        Assert.Equal(VtdFaultReason.SecondStageNotPermitted, ats.Read(0x5000).Reason);
        Assert.Equal(VtdFaultReason.ScalableWrite, ats.Write(Page1, pasid: 2).Reason);
        Assert.Equal(VtdFaultReason.UserPrivilege, ats.Read(0x2000, pasid: 2).Reason);
        Assert.Equal(VtdFaultReason.ExecuteDisabled, ats.Read(0x3000, pasid: 2, execute: true).Reason);
        Assert.Equal(VtdFaultReason.FirstStageEntryNotPresent, ats.Read(0x5000, pasid: 2).Reason);
        Assert.False(ats.Vtd.HasRecord);
        Assert.Empty(ats.Device.Tlb);
        // What is wrong with the tables is one.
        ats.Vtd.SetSecond(1, FrameA | Rw | 1UL << 11);
        Assert.Equal(VtdFaultReason.SecondStageEntryReserved, ats.Read(Page1).Reason);
        Assert.True(ats.Vtd.HasRecord);
    }

    /// <summary>The address of a device-TLB invalidation, S, and which of the 64 pages from 0x100000 on go.</summary>
    public static TheoryData<ulong, bool, int, int> Selections => new()
    {
        { 0x10_3000, false, 3, 3 },
        { 0x10_0000, false, 0, 0 },
        { 0x10_2000, true, 2, 3 },                      // bit 12 is clear: two pages
        { 0x10_5000, true, 4, 7 },                      // bit 13 is the lowest that is clear: four
        { 0x10_4000, true, 4, 5 },
        { 0x10_3000, true, 0, 7 },
        { 0x12_7000, true, 32, 47 },
        { 0x13_F000, true, 0, 63 },
        { 0x7FFF_F000, true, 0, 63 },                   // below 4 GiB
        { 0x7FFF_FFFF_FFFF_F000, true, 0, 63 },         // all addresses
        { 0xFFFF_FFFF_FFFF_F000, true, 0, 63 },
        { 0x8000_7FFF_0000_0000, true, -1, -1 },
        { 0x1_0010_3000, false, -1, -1 },
    };

    [Theory]
    [MemberData(nameof(Selections))]
    public void A_device_TLB_invalidation_names_pages(ulong address, bool size, int first, int last)
    {
        foreach (uint? pasid in new uint?[] { null, 2 })
        {
            using var ats = new RawAts(device: new() { TlbEntries = 64 });
            const ulong start = 0x10_0000;
            for (ulong i = 0; i < 64; i++)
            {
                ats.Vtd.SetSecond(start / 4096 + i, FrameA | Rw);
                ats.Vtd.SetFirst(start / 4096 + i, FrameA | Pwu);
                ats.Reads(start + i * 4096, 0xAA, pasid);
            }

            if (pasid is { } value) ats.InvalidateDevice(value, address, size);
            else ats.InvalidateDevice(address, size);
            int[] gone = [.. Enumerable.Range(0, 64).Except(ats.Device.Tlb.Select(static entry => (int)((entry.Range.First.Value - start) / 4096)))];
            Assert.Equal(first < 0 ? [] : [.. Enumerable.Range(first, last - first + 1)], gone);
        }
    }

    [Fact]
    public void An_invalidation_is_for_one_device_and_for_one_PASID_unless_G_says_all()
    {
        using var ats = new RawAts();
        ats.Vtd.SetPasid(3, FirstStage, FirstDomain | Snoop, First4 | Sre);
        ats.Reads(Page1, 0xAA);
        ats.Reads(Page1, 0xAA, pasid: 2);
        ats.Reads(Page1, 0xAA, pasid: 3);
        ats.InvalidateDevice(Everything, size: true, source: 0x21);
        ats.InvalidateDevice(4u, Everything, size: true);
        // The PASID of requests without one (RID_PASID) is no PASID of the device's.
        ats.InvalidateDevice(1u, Everything, size: true);
        Assert.Equal([null, 2u, 3u], ats.Device.Tlb.Select(static entry => entry.Pasid?.Value));
        ats.InvalidateDevice(2u, Everything, size: true);
        Assert.Equal([null, 3u], ats.Device.Tlb.Select(static entry => entry.Pasid?.Value));
        ats.Reads(Page1, 0xAA, pasid: 2);
        ats.InvalidateDevice(Everything, size: true);
        Assert.Equal([3u, 2u], ats.Device.Tlb.Select(static entry => entry.Pasid!.Value.Value));
        ats.Reads(Page1, 0xAA);
        ats.InvalidateDevice(9u, Everything, size: true, global: true);
        Assert.Equal([null], ats.Device.Tlb.Select(static entry => entry.Pasid?.Value));
        Assert.False(ats.Vtd.HasQueueError);
    }

    [Theory]
    [InlineData(0x3, 0, true)]
    [InlineData(0x3 | 0x1FUL << 16 | 0xFFFFUL << 32, 0xFFFF_FFFF_FFFF_F001, true)]
    [InlineData(0x3 | 1 << 4, 0, false)]
    [InlineData(0x3 | 1 << 9, 0, false)]            // bits 6:4 of the type
    [InlineData(0x3 | 1 << 12, 0, false)]           // PFSID: ECAP.DIT is clear
    [InlineData(0x3 | 1 << 15, 0, false)]
    [InlineData(0x3 | 1 << 21, 0, false)]
    [InlineData(0x3 | 1UL << 31, 0, false)]
    [InlineData(0x3 | 1UL << 48, 0, false)]
    [InlineData(0x3 | 1UL << 63, 0, false)]
    [InlineData(0x3, 2, false)]
    [InlineData(0x3, 0x800, false)]
    [InlineData(0x8, 0, true)]
    [InlineData(0x8 | 0x1F0 | 0xFFFFUL << 16 | 0xFFFFFUL << 32, 0xFFFF_FFFF_FFFF_F801, true)]
    [InlineData(0x8 | 1 << 9, 0, false)]
    [InlineData(0x8 | 1 << 12, 0, false)]
    [InlineData(0x8 | 1UL << 52, 0, false)]
    [InlineData(0x8, 2, false)]
    [InlineData(0x8, 0x400, false)]
    [InlineData(0x9, 0, true)]
    [InlineData(0x9 | 1 << 4 | 0xF000 | 0xFFFFUL << 16 | 0xFFFFFUL << 32, 0xFFC, true)]
    [InlineData(0x9 | 1 << 5, 0, false)]
    [InlineData(0x9 | 1 << 11, 0, false)]
    [InlineData(0x9 | 1UL << 52, 0, false)]
    [InlineData(0x9, 1, false)]
    [InlineData(0x9, 2, false)]
    [InlineData(0x9, 0x1000, false)]
    [InlineData(0x5 | 1 << 5 | 1 << 7, Status, true)]
    [InlineData(0x5 | 1 << 5 | 1 << 8, Status, false)]
    public void Reserved_bits_of_a_descriptor_stop_the_queue(ulong low, ulong high, bool isValid)
    {
        using var ats = new RawAts();
        ats.Vtd.Submit(low, high);
        Assert.Equal(!isValid, ats.Vtd.HasQueueError);
        using var without = new RawScalable();
        without.Submit(low, high);
        Assert.True(without.HasQueueError);
    }

    [Fact]
    public void A_wait_lets_the_accesses_end_that_use_what_the_device_has_forgotten()
    {
        foreach (bool isOfDevice in new[] { true, false })
        {
            RawAts? ats = null;
            bool? completed = null;
            using (ats = new RawAts(hook: OnAccess))
            {
                ats.Reads(Page1, 0xAA);
                Assert.Equal(!isOfDevice, completed);
                Assert.True(ats.Vtd.IsWaitDone);
            }

            void OnAccess(SimStep step, ulong detail)
            {
                if (step != SimStep.MemoryAccess || completed is not null) return;
                completed = false;
                // An access that the device translated itself is none of those that the unit drains for its own caches.
                if (isOfDevice) ats!.InvalidateDevice(Page1);
                else ats!.Vtd.InvalidateIotlb();
                completed = ats.Vtd.Wait();
            }
        }
    }

    [Fact]
    public void A_translation_that_an_invalidation_overtakes_is_not_kept()
    {
        RawAts? ats = null;
        bool isOvertaken = false;
        using (ats = new RawAts(hook: OnFill))
        {
            ats.Reads(Page1, 0xBB);
            Assert.True(isOvertaken);
            Assert.Equal((2, 1), (ats.Iommu.Statistics.TranslationRequests, ats.Iommu.Statistics.DiscardedFills));
            ats.Reads(Page1, 0xBB);
        }

        void OnFill(SimStep step, ulong detail)
        {
            if (step != SimStep.DeviceTlbFill || isOvertaken) return;
            isOvertaken = true;
            ats!.Vtd.SetSecond(1, FrameB | Rw);
            ats.Vtd.InvalidateIotlb();
            ats.InvalidateDevice(Page1);
        }
    }

    [Fact]
    public void A_translation_for_reading_dirties_nothing_and_a_write_asks_again()
    {
        using var ats = new RawAts();
        ats.Vtd.SetPasid(1, SecondStage | Second4 | 1 << 9, SecondDomain | Snoop, 0);
        ats.Reads(Page1, 0xAA);
        Assert.False(ats.Device.Tlb[0].Write);
        Assert.Equal(FrameA | Rw | 1 << 8, ats.Vtd.Read(Second1 + 8));
        Assert.Equal(AccessOutcome.Completed, ats.Write(Page1).Outcome);
        Assert.Equal(FrameA | Rw | 3 << 8, ats.Vtd.Read(Second1 + 8));
        Assert.True(Assert.Single(ats.Device.Tlb).Write);
    }

    /// <summary>PCI Express, Translation Completion, Exe: it is granted only to who asked for it. Of a write the request says nothing.</summary>
    [Fact]
    public void What_was_not_asked_for_to_be_executed_is_asked_for_again_by_a_read_that_executes()
    {
        using var ats = new RawAts();
        ats.Vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre | 1 << 1 | 1 << 5);
        Assert.Equal(AccessOutcome.Completed, ats.Write(Page1, pasid: 2).Outcome);
        Assert.Equal(AccessOutcome.Completed, ats.Device.Write(new(Page1), [0x56], new PasidPrefix(FirstPasid, Execute: true)).Outcome);
        Assert.Equal((1L, 1L), Counts());
        Assert.Equal([0x56], ats.Read(Page1, pasid: 2, execute: true).Data.ToArray());
        Assert.Equal((2L, 1L), Counts());
        Assert.Equal([0x56], ats.Read(Page1, pasid: 2, execute: true).Data.ToArray());
        ats.Reads(Page1, 0x56, pasid: 2);
        Assert.Equal((2L, 3L), Counts());

        (long, long) Counts() => (ats.Iommu.Statistics.TranslationRequests, ats.Iommu.Statistics.DeviceTlbHits);
    }

    [Fact]
    public void A_large_page_is_one_entry_and_the_least_recently_used_goes()
    {
        using var ats = new RawAts(device: new() { TlbEntries = 2 });
        ats.Vtd.Write(Second2 + 8, 0x40_0000 | Rw | 1 << 7);
        ats.Vtd.SetSecond(2, FrameB | Rw);
        ats.Vtd.Memory.Write(new(0x40_5000), [0x42]);
        ats.Reads(0x20_5000, 0x42);
        Assert.Equal(new DeviceTlbEntry(IovaRange.FromLength(new(0x20_0000), 2 << 20), new(0x40_0000), true, true, null), ats.Device.Tlb[0]);
        ats.Reads(Page1, 0xAA);
        ats.Reads(0x20_5000, 0x42);
        ats.Reads(0x2000, 0xBB);
        Assert.Equal([0x20_0000UL, 0x2000UL], ats.Device.Tlb.Select(static entry => entry.Range.First.Value));
        using var none = new RawAts(device: new() { TlbEntries = 0 });
        none.Reads(Page1, 0xAA);
        Assert.Empty(none.Device.Tlb);
    }

    [Fact]
    public void Interrupt_addresses_are_not_translated_and_nothing_is_while_translation_is_off()
    {
        using var ats = new RawAts();
        Assert.Equal(AccessOutcome.Completed, ats.Write(0xFEE0_0000).Outcome);
        Assert.Equal(VtdFaultReason.ScalableRead, ats.Read(0xFEE0_0000).Reason);
        Assert.Equal(0, ats.Iommu.Statistics.TranslationRequests);
        ats.Vtd.ClearFaults();
        ats.Iommu.Write32(Gcmd, 0x0400_0000);
        Assert.Equal((AccessOutcome.Failed, VtdFaultReason.None), (ats.Read(Page1).Outcome, ats.Read(Page1).Reason));
        Assert.False(ats.Vtd.HasRecord);
    }

    [Fact]
    public void A_transfer_goes_page_by_page_and_ends_where_no_memory_is()
    {
        using var ats = new RawAts();
        ats.Vtd.SetSecond(2, FrameB | Rw);
        ats.Vtd.SetSecond(3, MemoryBytes | Rw);
        byte[] bytes = [.. Enumerable.Range(0, 0x2010).Select(static i => (byte)(i % 251))];
        DmaTransfer write = ats.Device.Write(new(0x1FF0), bytes);
        Assert.Equal((AccessOutcome.Failed, 0x1010, VtdFaultReason.None), (write.Outcome, write.BytesDone, write.Reason));
        Assert.Equal(new(0x3000), write.FaultAddress);
        DmaTransfer read = ats.Device.Read(new(0x1FF0), 0x1010);
        Assert.Equal(AccessOutcome.Completed, read.Outcome);
        Assert.Equal(bytes[..0x1010], read.Data.ToArray());
    }

    [Fact]
    public void A_device_that_cannot_be_is_refused()
    {
        using var ats = new RawAts();
        Assert.Throws<ArgumentException>(() => new AtsDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, RawScalable.Device));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AtsDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x1_0000)));
        foreach (AtsDeviceOptions options in new AtsDeviceOptions[]
        {
            new() { TlbEntries = -1 }, new() { OutstandingGroups = 0 }, new() { OutstandingGroups = 513 }, new() { PagesInGroup = 0 },
        })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => new AtsDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(1), options));
        }

        Assert.Throws<ArgumentNullException>(() => new AtsDevice<Ram, Hook>(null!, ats.Vtd.Memory, new(1)));

        Assert.Throws<ArgumentOutOfRangeException>(() => ats.Read(0, pasid: 1 << 20));
    }
}

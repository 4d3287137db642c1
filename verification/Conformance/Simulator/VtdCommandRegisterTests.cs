using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Registers that software writes in the midst of something, or once more with the value that they have.</summary>
public sealed class VtdCommandRegisterTests : InterruptedVtd
{
    private const ulong Command = 1UL << 63;
    private const uint Iqe = 1 << 4, Iqercd = 0xB0;
    private static readonly VtdOptions Manual = VtdOptions.Default with { Commands = CommandMode.Manual };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TES_and_RTPS_wait_for_no_access_that_began_after_they_were_set(bool writesAgain)
    {
        using RawVtd vtd = Interrupted();
        uint? seen = null;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            if (writesAgain) vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
            seen = vtd.Iommu.Read32(Gsts);
        };
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.Equal(0xC400_0000u, seen);
    }

    [Fact]
    public void A_fault_of_an_access_that_was_under_way_when_translation_was_switched_off_goes_to_the_first_record()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { FaultRecordCount = 3 });
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x2000));
        vtd.ClearFaults();
        At = SimStep.FaultRecord;
        Then = () => vtd.Iommu.Write32(Gcmd, GcmdQie);
        Assert.False(vtd.Read(0x3000).Ok);
        vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
        Assert.False(vtd.Read(0x4000).Ok);
        Assert.Equal((0x3000UL, 0x4000UL), (vtd.Iommu.Read64(Frcd), vtd.Iommu.Read64(Frcd + 16)));
    }

    [Fact]
    public void What_the_registers_refuse_is_no_invalidation_and_is_not_said_to_be_done()
    {
        using RawVtd vtd = Interrupted();
        VtdStatistics before = vtd.Iommu.Statistics;
        vtd.Iommu.Write64(Ccmd, Command | 1UL << 61 | 3UL << 59);
        vtd.Iommu.Write64(Iotlb, Command | 1UL << 60 | 3UL << 57);
        Assert.Equal((1UL << 61, 1UL << 60), (vtd.Iommu.Read64(Ccmd), vtd.Iommu.Read64(Iotlb)));
        Assert.Equal(before, vtd.Iommu.Statistics);
    }

    [Fact]
    public void What_was_cached_in_legacy_mode_is_not_gone_by_in_scalable_mode()
    {
        using var vtd = new RawScalable();
        vtd.SetRoot(Root);
        vtd.Set(RawScalable.Context + 0x20 * 16, RawScalable.Second4 | 1, 2 | RawScalable.SecondDomain << 8);
        vtd.Goes(0x1000, FrameA);
        vtd.SetSecond(1, FrameB | ReadWrite);
        vtd.SetRoot(Root | 1 << 10);
        vtd.Goes(0x1000, FrameB);
    }

    [Fact]
    public void A_root_table_pointer_with_reserved_bits_blocks_what_is_cached_too()
    {
        using RawVtd vtd = Interrupted();
        vtd.AssertReads(0x1000, FrameA);
        vtd.Iommu.Write64(Rtaddr, Root | 1);
        vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe | GcmdSrtp);
        Assert.Equal(VtdFaultReason.RootTableAddressMisprogrammed, vtd.Fault(0x1000));
    }

    [Fact]
    public void A_request_with_a_PASID_is_blocked_in_legacy_mode_though_its_page_is_cached()
    {
        using RawVtd vtd = Interrupted();
        vtd.AssertReads(0x1000, FrameA);
        TranslationResult result = vtd.Iommu.Translate(Device, new(0x1000), DeviceAccess.Read, new PasidPrefix(new(1)));
        Assert.Equal((false, VtdFaultReason.PasidInLegacyMode), (result.Ok, result.Reason));
    }

    [Fact]
    public void A_tail_that_became_bad_while_the_queue_stood_is_an_error_when_it_would_go_on()
    {
        using RawVtd vtd = Interrupted();
        vtd.Submit(0xF, 0);
        Assert.Equal(3UL, vtd.Iommu.Read64(Iqercd));
        vtd.Iommu.Write64(Iqt, 0x1000);
        Assert.Equal(3UL, vtd.Iommu.Read64(Iqercd));
        vtd.Iommu.Write32(Fsts, Iqe);
        Assert.Equal((Iqe, 1UL), (vtd.Iommu.Read32(Fsts), vtd.Iommu.Read64(Iqercd)));
    }

    [Fact]
    public void A_tail_outside_the_queue_is_an_error_when_the_queue_is_switched_on()
    {
        using var vtd = new RawVtd(enable: false);
        vtd.Iommu.Write64(Iqa, Queue);
        vtd.Iommu.Write64(Iqt, 0x1000);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        vtd.Iommu.Write32(Gcmd, GcmdQie);
        Assert.Equal((Iqe, 1UL), (vtd.Iommu.Read32(Fsts), vtd.Iommu.Read64(Iqercd)));
    }

    [Fact]
    public void A_write_of_GCMD_that_leaves_QIE_as_it_is_leaves_the_head_where_it_is()
    {
        using RawVtd vtd = Interrupted(Manual);
        vtd.InvalidateAll();
        Assert.True(vtd.Iommu.ProcessNextCommand());
        vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        Assert.False(vtd.Iommu.ProcessNextCommand());
    }

    [Fact]
    public void The_end_of_an_access_rings_for_no_queue_that_nothing_has_stood_still_in()
    {
        using RawVtd vtd = Interrupted(Manual);
        int rings = 0;
        vtd.Iommu.Doorbell += () => rings++;
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(0, rings);
    }

    [Theory]
    [InlineData(SimStep.CommandFetch, 0x12UL)]
    [InlineData(SimStep.CommandExecute, 0x12UL)]
    [InlineData(SimStep.CommandExecute, 0x25UL)]
    [InlineData(SimStep.StatusWrite, 0x25UL)]
    public void A_command_that_the_queue_was_switched_off_in_is_not_said_to_be_consumed(SimStep at, ulong descriptor)
    {
        using RawVtd vtd = Interrupted(Manual);
        vtd.Submit(descriptor, Status);
        At = at;
        Then = () => vtd.Iommu.Write32(Gcmd, GcmdTe);
        Assert.False(vtd.Iommu.ProcessNextCommand());
        Assert.Null(Then);
    }

    /// <summary>The access has its translation from the IOTLB, by the shortest way that there is.</summary>
    [Theory]
    [InlineData(0xC0, true)]
    [InlineData(0x00, false)]
    public void An_access_that_the_IOTLB_lets_through_is_waited_for_by_the_drain_flags_when_it_is_translated(ulong drain, bool isHeld)
    {
        using RawVtd vtd = Interrupted();
        vtd.AssertReads(0x1000, FrameA);
        bool? completedInside = null;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000, drain: drain);
            completedInside = vtd.Wait();
        };
        Assert.True(vtd.Master.Read(new(0x1000), new byte[1]).Ok);
        Assert.Equal(!isHeld, completedInside);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void A_translation_from_the_IOTLB_lets_the_wait_go_on_that_stood_still_for_it()
    {
        using RawVtd vtd = Interrupted();
        vtd.AssertReads(0x1000, FrameA);
        bool completedInside = true;
        At = SimStep.IotlbLookup;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x2000);
            completedInside = vtd.Wait();
        };
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbHits);
        Assert.False(completedInside);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void A_translation_that_begins_after_the_invalidation_is_not_waited_for()
    {
        using RawVtd vtd = Interrupted(Manual);
        vtd.InvalidatePages(DomainId, 0x1000);
        vtd.Wait();
        Assert.True(vtd.Iommu.ProcessNextCommand());
        bool? processed = null;
        At = SimStep.WalkRead;
        Then = () => processed = vtd.Iommu.ProcessNextCommand();
        vtd.AssertReads(0x1000, FrameA);
        Assert.True(processed);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(13)]
    [InlineData(0xFF)]
    public void A_wait_lets_the_accesses_drain_of_whichever_device(uint source)
    {
        using RawVtd vtd = Interrupted();
        vtd.SetContext(new(source), Table4 | 1, 2 | DomainId << 8);
        var device = new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, new(source));
        bool completedInside = true;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000);
            completedInside = vtd.Wait();
        };
        Assert.True(device.Read(new(0x1000), new byte[1]).Ok);
        Assert.False(completedInside);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void An_access_that_began_before_anything_was_set_is_drained_too()
    {
        RawVtd? vtd = null;
        bool completedInside = true;
        using (vtd = new RawVtd(hook: OnAccess, enable: false))
        {
            vtd.Iommu.Write64(Iqa, Queue);
            vtd.Iommu.Write32(Gcmd, GcmdQie);
            Assert.True(vtd.Master.Read(new(FrameA), new byte[1]).Ok);
            Assert.False(completedInside);
            Assert.True(vtd.IsWaitDone);
        }

        void OnAccess(SimStep step, ulong detail)
        {
            if (step != SimStep.MemoryAccess) return;
            vtd!.InvalidateAll();
            completedInside = vtd.Wait();
        }
    }

    [Fact]
    public void FRI_is_0_when_nothing_is_pending_whichever_record_was()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { FaultRecordCount = 3 });
        for (uint record = 0; record < 3; record++)
        {
            Assert.False(vtd.Read(0x2000).Ok);
            Assert.Equal(2u | record << 8, vtd.Iommu.Read32(Fsts));
            vtd.Iommu.Write64(Frcd + record * 16 + 8, 1UL << 63);
            Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        }
    }

    [Fact]
    public void A_look_without_the_lock_shows_what_the_IOTLB_holds()
    {
        using RawVtd vtd = Interrupted();
        Assert.Empty(vtd.Iommu.PeekIotlb());
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(Assert.Single(vtd.Iommu.Iotlb), Assert.Single(vtd.Iommu.PeekIotlb()));
    }
}

using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Draining of Requests to Memory: what falls between the steps of an access.</summary>
public sealed class VtdDrainTests : InterruptedVtd
{
    [Theory]
    [InlineData(SimStep.ContextFetch)]
    [InlineData(SimStep.IotlbLookup)]
    [InlineData(SimStep.WalkRead)]
    [InlineData(SimStep.IotlbFill)]
    [InlineData(SimStep.MemoryAccess)]
    public void A_wait_completes_when_the_access_that_began_before_the_invalidation_ends(SimStep at)
    {
        using RawVtd vtd = Interrupted();
        bool completedInside = true;
        At = at;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
            completedInside = vtd.Wait();
        };
        Assert.True(vtd.Master.Read(new(0x1000), new byte[1]).Ok);
        Assert.False(completedInside);
        Assert.True(vtd.IsWaitDone);
        Assert.Equal(vtd.Tail, vtd.Iommu.Read64(Iqh));
        Assert.Equal(1, vtd.Iommu.Statistics.WaitsHeld);
    }

    [Theory]
    [InlineData(DeviceAccess.Read, 0xC0, true)]
    [InlineData(DeviceAccess.Read, 0x80, true)]     // DR
    [InlineData(DeviceAccess.Read, 0x40, false)]    // DW
    [InlineData(DeviceAccess.Read, 0x00, false)]
    [InlineData(DeviceAccess.Write, 0xC0, true)]
    [InlineData(DeviceAccess.Write, 0x80, false)]
    [InlineData(DeviceAccess.Write, 0x40, true)]
    [InlineData(DeviceAccess.Write, 0x00, false)]
    public void A_translated_access_is_drained_only_if_its_drain_flag_is_set(DeviceAccess access, ulong drain, bool isHeld)
    {
        using RawVtd vtd = Interrupted();
        bool completedInside = false;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000, drain: drain);
            completedInside = vtd.Wait();
        };
        if (access == DeviceAccess.Read) vtd.Master.Read(new(0x1000), new byte[1]);
        else vtd.Master.Write(new(0x1000), [1]);
        Assert.Equal(!isHeld, completedInside);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void A_walk_is_waited_for_whatever_the_drain_flags()
    {
        using RawVtd vtd = Interrupted();
        bool completedInside = true;
        At = SimStep.WalkRead;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000, drain: 0);
            completedInside = vtd.Wait();
        };
        vtd.Read(0x1000);
        Assert.False(completedInside);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void A_wait_without_an_invalidation_waits_for_nobody()
    {
        using RawVtd vtd = Interrupted();
        bool completedInside = false;
        At = SimStep.MemoryAccess;
        Then = () => completedInside = vtd.Wait();
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.True(completedInside);
    }

    [Fact]
    public void An_access_that_begins_after_the_invalidation_is_not_waited_for()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { Commands = CommandMode.Manual });
        vtd.InvalidatePages(DomainId, 0x1000);
        vtd.Wait();
        Assert.True(vtd.Iommu.ProcessNextCommand());
        bool processed = false;
        At = SimStep.MemoryAccess;
        Then = () => processed = vtd.Iommu.ProcessNextCommand();
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.True(processed);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void In_manual_mode_a_held_wait_answers_not_now_and_the_end_of_the_access_rings()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { Commands = CommandMode.Manual });
        int rings = 0;
        int consumed = 0;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            vtd.InvalidatePages(DomainId, 0x1000);
            vtd.Wait();
            consumed = vtd.Iommu.ProcessCommands();
            vtd.Iommu.Doorbell += () => rings++;
        };
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.Equal(1, consumed);
        Assert.Equal(1, rings);
        Assert.False(vtd.IsWaitDone);
        Assert.Equal(1, vtd.Iommu.ProcessCommands());
        Assert.True(vtd.IsWaitDone);
        vtd.Read(0x1000);
        Assert.Equal(1, rings);
    }

    [Fact]
    public void Only_the_last_access_that_a_wait_stands_still_for_rings()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { Commands = CommandMode.Manual });
        int rings = 0;
        int ringsOfInner = -1;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            Then = () =>
            {
                vtd.InvalidatePages(DomainId, 0x1000);
                vtd.Wait();
                vtd.Iommu.ProcessCommands();
                vtd.Iommu.Doorbell += () => rings++;
            };
            vtd.Master.Write(new(0x1000), [1]);
            ringsOfInner = rings;
        };
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.Equal(0, ringsOfInner);
        Assert.Equal(1, rings);
    }

    [Fact]
    public void A_translation_read_before_an_invalidation_is_used_once_and_not_cached()
    {
        using RawVtd vtd = Interrupted();
        At = SimStep.IotlbFill;
        Then = () =>
        {
            vtd.SetPage(1, FrameB | ReadWrite);
            vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        };
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x1000, FrameB);
        Assert.Equal(1, vtd.Iommu.Statistics.DiscardedFills);
    }

    [Fact]
    public void A_pointer_read_before_an_invalidation_is_not_cached()
    {
        using RawVtd vtd = Interrupted();
        vtd.Write(0x28000 + 2 * 8, FrameB | ReadWrite);
        At = SimStep.WalkCacheFill;
        Then = () =>
        {
            vtd.Write(Table4, 0x29000 | ReadWrite);
            vtd.Write(0x29000, 0x2A000 | ReadWrite);
            vtd.Write(0x2A000, 0x28000 | ReadWrite);
            vtd.InvalidateDomain(DomainId);
        };
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x2000, FrameB);
    }

    [Fact]
    public void A_context_entry_read_before_an_invalidation_is_not_cached()
    {
        using RawVtd vtd = Interrupted();
        At = SimStep.ContextFill;
        Then = () =>
        {
            vtd.SetContext(Device, 0, 0);
            vtd.InvalidateContexts();
        };
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, vtd.Fault(0x1000));
    }

    [Fact]
    public void A_cached_fault_read_before_an_invalidation_is_not_cached()
    {
        using RawVtd vtd = Interrupted(VtdOptions.Default with { CachingMode = true });
        vtd.SetPage(1, 0);
        At = SimStep.IotlbFill;
        Then = () =>
        {
            vtd.SetPage(1, FrameA | ReadWrite);
            vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
        };
        Assert.False(vtd.Read(0x1000).Ok);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void TES_and_RTPS_report_a_new_setting_when_accesses_under_the_old_one_are_over()
    {
        using RawVtd vtd = Interrupted();
        uint inside = 0;
        At = SimStep.MemoryAccess;
        Then = () =>
        {
            vtd.Iommu.Write32(Gcmd, GcmdQie | GcmdSrtp);
            inside = vtd.Iommu.Read32(Gsts);
        };
        vtd.Master.Read(new(0x1000), new byte[1]);
        Assert.Equal(0x8400_0000u, inside);
        Assert.Equal(0x4400_0000u, vtd.Iommu.Read32(Gsts));
    }

    [Fact]
    public void The_new_setting_of_TE_counts_from_the_next_access_on()
    {
        using RawVtd vtd = Interrupted();
        At = SimStep.WalkRead;
        Then = () =>
        {
            vtd.Iommu.Write32(Gcmd, GcmdQie);
            vtd.AssertReads(0x1000, 0x1000);
        };
        vtd.AssertReads(0x1000, FrameA);
    }
}

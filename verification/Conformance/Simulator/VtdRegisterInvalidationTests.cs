using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Register-Based Invalidation Interface: CCMD_REG, IVA_REG and IOTLB_REG, while the queue is off.</summary>
public sealed class VtdRegisterInvalidationTests
{
    private const ulong Command = 1UL << 63;

    private static RawVtd WithoutQueue(Action<SimStep, ulong>? hook = null)
    {
        var vtd = new RawVtd(null, hook);
        vtd.Iommu.Write32(Gcmd, GcmdTe);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        return vtd;
    }

    [Theory]
    [InlineData(1UL << 60, 0, 1, true)]
    [InlineData(2UL << 60 | 7UL << 32, 0, 2, true)]
    [InlineData(2UL << 60 | 8UL << 32, 0, 2, false)]
    [InlineData(3UL << 60 | 7UL << 32, 0x1000, 3, true)]
    [InlineData(3UL << 60 | 7UL << 32, 0x2000, 3, false)]
    [InlineData(3UL << 60 | 7UL << 32, 0x0001, 3, true)]
    [InlineData(3UL << 60 | 7UL << 32, 18, 3, true)]
    [InlineData(3UL << 60 | 7UL << 32, 19, 0, false)]
    [InlineData(0, 0, 0, false)]
    public void IOTLB_REG_invalidates_and_says_with_which_granularity(ulong command, ulong address, ulong done, bool drops)
    {
        using RawVtd vtd = WithoutQueue();
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.Iommu.Write64(Iva, address);
        vtd.Iommu.Write64(Iotlb, Command | command);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iotlb) >> 63);
        Assert.Equal(done, vtd.Iommu.Read64(Iotlb) >> 57 & 3);
        vtd.AssertReads(0x1000, drops ? FrameB : FrameA);
    }

    [Theory]
    [InlineData(1UL << 61, 1, true)]
    [InlineData(2UL << 61 | 7, 2, true)]
    [InlineData(2UL << 61 | 8, 2, false)]
    [InlineData(3UL << 61 | 7 | 0x20 << 16, 3, true)]
    [InlineData(3UL << 61 | 7 | 0x21 << 16, 3, false)]
    [InlineData(3UL << 61 | 7 | 0x27 << 16 | 3UL << 32, 3, true)]
    [InlineData(0, 0, false)]
    public void CCMD_REG_invalidates_and_says_with_which_granularity(ulong command, ulong done, bool drops)
    {
        using RawVtd vtd = WithoutQueue();
        vtd.SetContext(Device, 0, 0);
        vtd.Iommu.Write64(Ccmd, Command | command);
        Assert.Equal(0UL, vtd.Iommu.Read64(Ccmd) >> 63);
        Assert.Equal(done, vtd.Iommu.Read64(Ccmd) >> 59 & 3);
        Assert.Equal(!drops, vtd.Read(0x1000).Ok);
    }

    [Fact]
    public void While_the_queue_is_on_the_registers_do_nothing_and_say_so()
    {
        using RawVtd vtd = WithoutQueue();
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.SetContext(Device, 0, 0);
        vtd.Iommu.Write64(Ccmd, Command | 1UL << 61);
        vtd.Iommu.Write64(Iotlb, Command | 1UL << 60);
        Assert.Equal(0UL, vtd.Iommu.Read64(Ccmd) >> 59 & 0x13);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iotlb) >> 57 & 0x43);
        vtd.AssertReads(0x1000, FrameA);
    }

    [Fact]
    public void Without_the_command_bit_nothing_is_done()
    {
        using RawVtd vtd = WithoutQueue();
        VtdStatistics before = vtd.Iommu.Statistics;
        vtd.Iommu.Write64(Ccmd, 1UL << 61);
        vtd.Iommu.Write64(Iotlb, 1UL << 60);
        vtd.Iommu.Write32(Ccmd, 0xFFFF_FFFF);
        vtd.Iommu.Write32(Iotlb, 0xFFFF_FFFF);
        Assert.Equal(before, vtd.Iommu.Statistics);
        Assert.Equal(0x2000_0000_FFFF_FFFFUL, vtd.Iommu.Read64(Ccmd));
        Assert.Equal(0x1000_0000_FFFF_FFFFUL, vtd.Iommu.Read64(Iotlb));
    }

    [Fact]
    public void The_command_goes_with_the_high_half_of_the_register()
    {
        using RawVtd vtd = WithoutQueue();
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.Iommu.Write32(Iotlb, 0);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Iommu.Write32(Iotlb + 4, 0x9000_0000);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void IVT_stays_set_until_the_accesses_that_it_drains_are_over()
    {
        RawVtd? machine = null;
        ulong? inside = null;
        using RawVtd vtd = WithoutQueue((step, _) =>
        {
            if (step != SimStep.MemoryAccess || inside is not null) return;
            machine!.Iommu.Write64(Iotlb, Command | 1UL << 60 | 3UL << 48);
            inside = machine.Iommu.Read64(Iotlb) >> 63;
        });
        machine = vtd;
        vtd.Master.Write(new(0x1000), [1]);
        Assert.Equal(1UL, inside);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iotlb) >> 63);
    }

    [Fact]
    public void What_was_done_is_said_of_the_last_command_only()
    {
        using RawVtd vtd = WithoutQueue();
        vtd.Iommu.Write64(Ccmd, Command | 2UL << 61 | 7);
        Assert.Equal(2UL << 61 | 2UL << 59 | 7, vtd.Iommu.Read64(Ccmd));
        vtd.Iommu.Write64(Ccmd, Command | 1UL << 61 | 2UL << 59);
        Assert.Equal(1UL << 61 | 1UL << 59, vtd.Iommu.Read64(Ccmd));
        vtd.Iommu.Write64(Iotlb, Command | 2UL << 60 | 7UL << 32);
        Assert.Equal(2UL << 60 | 2UL << 57 | 7UL << 32, vtd.Iommu.Read64(Iotlb));
        vtd.Iommu.Write64(Iotlb, Command | 1UL << 60 | 2UL << 57);
        Assert.Equal(1UL << 60 | 1UL << 57, vtd.Iommu.Read64(Iotlb));
        vtd.Iommu.Write64(Iotlb, Command | 3UL << 57);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iotlb));
    }

    [Theory]
    [InlineData(1, 0UL, DeviceAccess.Read)]
    [InlineData(0, 1UL << 49, DeviceAccess.Write)]
    [InlineData(0, 1UL << 48, DeviceAccess.Read)]
    [InlineData(1, 1UL << 49, DeviceAccess.Read)]
    [InlineData(1, 1UL << 48, DeviceAccess.Write)]
    public void IOTLB_REG_drains_the_kinds_of_access_that_its_flags_name(ulong isHeld, ulong drain, DeviceAccess access)
    {
        RawVtd? machine = null;
        ulong? inside = null;
        // Without a flag only translations are waited for.
        SimStep at = drain == 0 ? SimStep.WalkRead : SimStep.MemoryAccess;
        using RawVtd vtd = WithoutQueue((step, _) =>
        {
            if (machine is null || step != at || inside is not null) return;
            machine.Iommu.Write64(Iotlb, Command | 1UL << 60 | drain);
            inside = machine.Iommu.Read64(Iotlb) >> 63;
        });
        vtd.SetPage(2, FrameA | ReadWrite);
        machine = vtd;
        if (access == DeviceAccess.Write) vtd.Master.Write(new(0x2000), [1]);
        else vtd.Master.Read(new(0x2000), new byte[1]);
        Assert.Equal(isHeld, inside);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iotlb) >> 63);
    }

    [Fact]
    public void ICC_stays_set_until_the_translations_are_over_that_may_use_what_is_to_go_and_what_is_written_until_then_is_lost()
    {
        RawVtd? machine = null;
        ulong? inside = null;
        VtdStatistics before = default, after = default;
        using RawVtd vtd = WithoutQueue((step, _) =>
        {
            if (machine is null || step != SimStep.WalkRead || inside is not null) return;
            machine.Iommu.Write64(Ccmd, Command | 1UL << 61);
            machine.Iommu.Write64(Iotlb, Command | 1UL << 60);
            inside = (machine.Iommu.Read64(Ccmd) & machine.Iommu.Read64(Iotlb)) >> 63;
            before = machine.Iommu.Statistics;
            machine.Iommu.Write64(Ccmd, Command | 2UL << 61 | 7);
            machine.Iommu.Write64(Iotlb, Command | 2UL << 60 | 7UL << 32);
            after = machine.Iommu.Statistics;
        });
        vtd.SetPage(2, FrameA | ReadWrite);
        machine = vtd;
        vtd.Master.Read(new(0x2000), new byte[1]);
        Assert.Equal(1UL, inside);
        Assert.Equal(before.ContextInvalidations, after.ContextInvalidations);
        Assert.Equal(before.IotlbDomainInvalidations, after.IotlbDomainInvalidations);
        Assert.Equal(1UL << 61 | 1UL << 59, vtd.Iommu.Read64(Ccmd));
        Assert.Equal(1UL << 60 | 1UL << 57, vtd.Iommu.Read64(Iotlb));
    }

    [Fact]
    public void A_unit_without_a_queue_has_none_of_its_registers_and_invalidates_by_the_others()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { QueuedInvalidation = false }, enable: false);
        Assert.Equal(0xF40UL, vtd.Iommu.Read64(0x10));
        for (uint offset = 0x80; offset <= 0xB8; offset += 8)
        {
            vtd.Iommu.Write64(offset, ulong.MaxValue);
            Assert.Equal(0UL, vtd.Iommu.Read64(offset));
        }

        vtd.Iommu.Write64(Rtaddr, Root);
        vtd.Iommu.Write32(Gcmd, GcmdSrtp);
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(Gsts));
        Assert.False(vtd.Iommu.ProcessNextCommand());
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Iommu.Write64(Iotlb, Command | 1UL << 60);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void What_needs_the_queue_is_not_there_without_it()
    {
        foreach (VtdOptions options in (VtdOptions[])[VtdOptions.Scalable, VtdOptions.Default with { DeviceTlbs = true }, VtdOptions.Default with { AbortDma = true }])
        {
            ArgumentException refused = Assert.Throws<ArgumentException>(() => new RawVtd(options with { QueuedInvalidation = false }, enable: false));
            Assert.Equal("QueuedInvalidation", refused.ParamName);
        }
    }
}

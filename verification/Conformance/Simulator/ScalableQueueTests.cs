using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Registers of the scalable mode, and the invalidation queue of 256-bit descriptors.</summary>
public sealed class ScalableQueueTests
{
    private const ulong Iova = 0x1000;
    private const uint Cap = 0x08, Ecap = 0x10;

    [Fact]
    public void The_capability_registers_say_what_the_unit_can_do()
    {
        using var legacy = new RawScalable(VtdOptions.Default);
        using var scalable = new RawScalable();
        const ulong caps = 1UL << 56 | 1UL << 60;
        const ulong ecaps = 1UL << 31 | 1UL << 34 | 19UL << 35 | 1UL << 40 | 1UL << 43 | 1UL << 45 | 1UL << 46 | 1UL << 47 | 1UL << 48 | 1UL << 49 | 1UL << 53;
        Assert.Equal(caps, legacy.Iommu.Read64(Cap) ^ scalable.Iommu.Read64(Cap));
        Assert.Equal(ecaps, legacy.Iommu.Read64(Ecap) ^ scalable.Iommu.Read64(Ecap));
        Assert.Equal(0UL, legacy.Iommu.Read64(Cap) & caps);
        Assert.Equal(0UL, legacy.Iommu.Read64(Ecap) & ecaps);
    }

    /// <summary>An option the other way round, and the bits of CAP and ECAP that then change.</summary>
    public static TheoryData<string, ulong, ulong> OptionBits => new()
    {
        { "FirstStageFiveLevels", 1UL << 60, 0 },
        { "FirstStagePages1G", 1UL << 56, 0 },
        { "FirstStage", 1UL << 60 | 1UL << 56, 1UL << 47 | 1UL << 34 },
        { "SecondStage", 0, 1UL << 46 | 1UL << 45 },
        { "RequestsWithPasid", 0, 1UL << 40 },
        { "PasidBits", 0, 19UL << 35 },
        { "RidPasid", 0, 1UL << 49 },
        { "RidPrivilege", 0, 1UL << 53 },
        { "SupervisorRequests", 0, 1UL << 53 | 1UL << 31 },
        { "ExecuteRequests", 0, 1UL << 30 },
        { "ScalableWalkSnoop", 0, 1UL << 48 | 1UL << 45 | 1UL << 34 },
        { "SecondStageAccessedDirty", 0, 1UL << 45 },
        { "ExtendedAccessed", 0, 1UL << 34 },
        { "SnoopControl", 0, 1UL << 7 },
    };

    [Theory]
    [MemberData(nameof(OptionBits))]
    public void Each_option_has_its_bits_of_the_capability_registers(string name, ulong cap, ulong ecap)
    {
        VtdOptions all = VtdOptions.Scalable;
        VtdOptions other = name switch
        {
            "FirstStageFiveLevels" => all with { FirstStageFiveLevels = false },
            "FirstStagePages1G" => all with { FirstStagePages1G = false },
            "FirstStage" => all with { FirstStage = false },
            "SecondStage" => all with { SecondStage = false },
            "RequestsWithPasid" => all with { RequestsWithPasid = false },
            "PasidBits" => all with { PasidBits = 1 },
            "RidPasid" => all with { RidPasid = false },
            "RidPrivilege" => all with { RidPrivilege = false },
            "SupervisorRequests" => all with { SupervisorRequests = false },
            "ExecuteRequests" => all with { ExecuteRequests = true },
            "ScalableWalkSnoop" => all with { ScalableWalkSnoop = false },
            "SecondStageAccessedDirty" => all with { SecondStageAccessedDirty = false },
            "ExtendedAccessed" => all with { ExtendedAccessed = false },
            _ => all with { SnoopControl = true },
        };
        using var usual = new RawScalable();
        using var unusual = new RawScalable(other);
        Assert.Equal(cap, usual.Iommu.Read64(Cap) ^ unusual.Iommu.Read64(Cap));
        Assert.Equal(ecap, usual.Iommu.Read64(Ecap) ^ unusual.Iommu.Read64(Ecap));
    }

    [Fact]
    public void Options_outside_their_range_are_refused()
    {
        foreach (VtdOptions options in new[]
        {
            VtdOptions.Scalable with { PasidBits = 0 }, VtdOptions.Scalable with { PasidBits = 21 }, VtdOptions.Scalable with { PasidCacheEntries = -1 },
        })
        {
            Assert.Throws<ArgumentException>(() => new RawScalable(options));
        }
    }

    [Fact]
    public void Register_based_invalidation_is_ignored_in_scalable_mode()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA);
        // Queued invalidation off, the translation on.
        vtd.Iommu.Write32(Gcmd, 0x8000_0000);
        vtd.Iommu.Write64(Ccmd, 1UL << 63 | 1UL << 61);
        vtd.Iommu.Write64(RawScalable.Iotlb, 1UL << 63 | 1UL << 60);
        Assert.Equal(0UL, vtd.Iommu.Read64(Ccmd) >> 59 & 0x13);
        Assert.Equal(0UL, vtd.Iommu.Read64(RawScalable.Iotlb) >> 57 & 0x43);
        Assert.NotEmpty(vtd.Iommu.Iotlb);
    }

    [Theory]
    [InlineData(0x1 | 1 << 4, 0, 0, 0, true)]
    [InlineData(0x1 | 1 << 4, 0, 1, 0, false)]              // the padding of a short descriptor
    [InlineData(0x1 | 1 << 4, 0, 0, 1UL << 63, false)]
    [InlineData(0x1, 0, 0, 0, false)]
    [InlineData(0x2 | 1 << 4, 0, 0, 0, true)]
    [InlineData(0x2 | 1 << 4, 0, 1UL << 63, 0, false)]
    [InlineData(0x2 | 3 << 4, 19, 0, 0, false)]             // beyond CAP.MAMV
    [InlineData(0x5 | 1 << 5, Status, 0, 0, true)]
    [InlineData(0x5 | 1 << 5, Status, 0, 1, false)]
    [InlineData(0x6 | 2 << 4, 0, 0, 0, true)]
    [InlineData(0x6 | 3 << 4, 0, 0, 0, true)]
    [InlineData(0x6, 0, 0, 0, false)]                       // G
    [InlineData(0x6 | 1 << 4, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 0xFFFFUL << 16 | 0xFFFFFUL << 32, 0xFFFF_FFFF_FFFF_F07F, 0, 0, true)]
    [InlineData(0x6 | 2 << 4 | 1 << 6, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1 << 8, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1 << 9, 0, 0, 0, false)]     // bits 6:4 of the type
    [InlineData(0x6 | 2 << 4 | 1 << 11, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1 << 12, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1 << 15, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1UL << 52, 0, 0, 0, false)]
    [InlineData(0x6 | 2 << 4 | 1UL << 63, 0, 0, 0, false)]
    [InlineData(0x6 | 3 << 4, 1 << 7, 0, 0, false)]
    [InlineData(0x6 | 3 << 4, 1 << 11, 0, 0, false)]
    [InlineData(0x6 | 3 << 4, 0, 1, 0, false)]
    [InlineData(0x6 | 3 << 4, 0, 0, 1UL << 63, false)]
    [InlineData(0x7, 0, 0, 0, true)]
    [InlineData(0x7 | 1 << 4, 0, 0, 0, true)]
    [InlineData(0x7 | 2 << 4, 0, 0, 0, false)]              // G
    [InlineData(0x7 | 3 << 4 | 0xFFFFUL << 16 | 0xFFFFFUL << 32, 0, 0, 0, true)]
    [InlineData(0x7 | 3 << 4 | 1 << 6, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4 | 1 << 8, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4 | 1 << 9, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4 | 1 << 15, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4 | 1UL << 52, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4 | 1UL << 63, 0, 0, 0, false)]
    [InlineData(0x7 | 3 << 4, 1, 0, 0, false)]
    [InlineData(0x7 | 3 << 4, 1UL << 63, 0, 0, false)]
    [InlineData(0x7 | 3 << 4, 0, 1, 0, false)]
    [InlineData(0x7 | 3 << 4, 0, 0, 1UL << 63, false)]
    [InlineData(0x3, 0, 0, 0, false)]                       // device TLBs, interrupt entries, page groups: not offered
    [InlineData(0x4, 0, 0, 0, false)]
    [InlineData(0x8, 0, 0, 0, false)]
    [InlineData(0x9, 0, 0, 0, false)]
    [InlineData(0xA, 0, 0, 0, false)]
    public void A_descriptor_is_taken_or_stops_the_queue(ulong first, ulong second, ulong third, ulong fourth, bool isValid)
    {
        using var vtd = new RawScalable();
        vtd.Submit(first, second, third, fourth);
        Assert.Equal(!isValid, vtd.HasQueueError);
        Assert.Equal(isValid ? 32UL : 0, vtd.Iommu.Read64(Iqh));
        if (isValid) return;
        // A good one in its place, and it goes on.
        vtd.Set(Queue, 0x7 | 3 << 4, 0, 0, 0);
        vtd.Iommu.Write32(Fsts, 0x10);
        Assert.Equal(32UL, vtd.Iommu.Read64(Iqh));
        Assert.True(vtd.Wait());
    }

    [Fact]
    public void A_wide_queue_goes_round_and_its_tail_lies_between_descriptors()
    {
        using var vtd = new RawScalable();
        for (int i = 0; i < 200; i++) Assert.True(vtd.Wait());
        Assert.Equal(200UL * 32 % 4096, vtd.Iommu.Read64(Iqh));
        vtd.Iommu.Write64(Iqt, vtd.Tail + 16);
        Assert.True(vtd.HasQueueError);
        Assert.Equal(200UL * 32 % 4096, vtd.Iommu.Read64(Iqh));
    }

    [Theory]
    [InlineData(true, 1, 0x11, true)]
    [InlineData(true, 0, 0x11, true)]       // legacy mode takes both widths
    [InlineData(false, 0, 0x11, true)]
    [InlineData(false, 1, 0x11, false)]     // scalable mode only wide ones
    [InlineData(true, 0, 0x37, false)]      // and legacy mode none with PASID
    [InlineData(true, 0, 0x26, false)]
    [InlineData(true, 1, 0x26, true)]
    [InlineData(true, 2, 0x11, false)]      // a reserved mode nothing
    [InlineData(true, 3, 0x11, false)]
    public void The_mode_and_the_width_of_the_queue_say_which_descriptors_are_valid(bool isWide, ulong mode, ulong descriptor, bool isValid)
    {
        using var vtd = new RawScalable();
        vtd.SetRoot(Root | mode << 10);
        vtd.Iommu.Write32(Gcmd, 0);
        vtd.Iommu.Write64(Iqa, Queue | (isWide ? 1UL << 11 : 0));
        vtd.Iommu.Write64(Iqt, 0);
        vtd.Iommu.Write32(Gcmd, 0x0400_0000);
        vtd.Set(Queue, descriptor, 0, 0, 0);
        vtd.Iommu.Write64(Iqt, isWide ? 32u : 16u);
        Assert.Equal(!isValid, vtd.HasQueueError);
    }

    [Fact]
    public void A_unit_without_scalable_mode_takes_no_wide_descriptor()
    {
        using var vtd = new RawScalable(VtdOptions.Default);
        vtd.SetRoot(Root);
        vtd.Submit(0x11);
        Assert.True(vtd.HasQueueError);
    }

    /// <summary>A PASID-based invalidation has no drain flags: accesses of both kinds are always drained.</summary>
    [Theory]
    [InlineData(DeviceAccess.Read, 0x26, 2, true)]
    [InlineData(DeviceAccess.Write, 0x26, 2, true)]
    [InlineData(DeviceAccess.Read, 0x36, 2, true)]
    [InlineData(DeviceAccess.Write, 0x36, 2, true)]
    [InlineData(DeviceAccess.Read, 0x37, 0, false)]
    [InlineData(DeviceAccess.Write, 0x37, 0, false)]
    public void A_wait_after_a_PASID_based_invalidation_lets_accesses_end(DeviceAccess access, ulong descriptor, ulong pasid, bool drains)
    {
        bool waited = true;
        RawScalable? machine = null;
        using var vtd = new RawScalable(hook: (step, _) =>
        {
            if (step != SimStep.MemoryAccess) return;
            machine!.Submit(descriptor | FirstDomain << 16 | pasid << 32);
            waited = machine.Wait();
        });
        machine = vtd;
        var device = new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, Device);
        DmaResult result = access == DeviceAccess.Read
            ? device.Read(new(Iova), new byte[8], new PasidPrefix(FirstPasid))
            : device.Write(new(Iova), new byte[8], new PasidPrefix(FirstPasid));
        Assert.True(result.Ok);
        Assert.Equal(!drains, waited);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void Devices_read_and_write_in_the_address_space_of_the_PASID()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(1, FrameB | Pwu);
        vtd.SetFirst(2, FrameA | Pu);
        var device = new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, Device);
        var prefix = new PasidPrefix(FirstPasid);
        Assert.Equal(new DmaResult(true, 4, default, default), device.Write(new(0x1FFC), [1, 2, 3, 4], prefix));
        Assert.Equal(0x04030201u, vtd.Memory.Read32(new(FrameB + 0xFFC)));
        Assert.Equal(new DmaResult(false, 4, VtdFaultReason.ScalableWrite.ToCode(), new Iova(0x2000)), device.Write(new(0x1FFC), [1, 2, 3, 4, 5], prefix));
        vtd.Memory.Write32(new(FrameA), 0x0A0B0C0D);
        byte[] seen = new byte[8];
        Assert.True(device.Read(new(0x1FFC), seen, prefix).Ok);
        Assert.Equal([1, 2, 3, 4, 0x0D, 0x0C, 0x0B, 0x0A], seen);
        Assert.True(device.Write(new(0x2000), [9], new PasidPrefix(FirstPasid, Privileged: true)).Ok);
    }
}

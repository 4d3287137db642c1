using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The driver does what the capability registers allow, and writes what the specification's figures show.</summary>
public sealed class VtdCapabilityLaws
{
    private const ulong Page = VtdSystem.Page;
    private const uint Cap = 0x08;

    [Theory]
    [InlineData(0, 15)]
    [InlineData(1, 63)]
    [InlineData(3, 1023)]
    public void There_are_as_many_domains_as_ND_says_less_the_one_that_tags_absent_entries(int nd, int count)
    {
        VtdDriver<Ram> driver = Start(cap => cap & ~7UL | (uint)nd, out _, out _, out RamBlock ram);
        using (ram)
        {
            for (int i = 0; i < count; i++) Assert.Equal(VcmmError.None, driver.TryCreateDomain(out _));
            Assert.Equal(VcmmError.NoSpace, driver.TryCreateDomain(out _));
        }
    }

    [Theory]
    [InlineData(38, 38)]
    [InlineData(47, 47)]
    [InlineData(62, 47)]
    public void The_last_address_is_within_the_guest_width_and_the_levels(int mgaw, int lastBit)
    {
        VtdDriver<Ram> driver = Start(cap => cap & ~(0x3FUL << 16) | (ulong)mgaw << 16, out _, out _, out RamBlock ram);
        using (ram) Assert.Equal(new Iova((1UL << (lastBit + 1)) - 1), driver.LastAddress);
    }

    [Theory]
    [InlineData(0, 0x00UL)]
    [InlineData(1, 0x40UL)]
    [InlineData(2, 0x80UL)]
    [InlineData(3, 0xC0UL)]
    public void Every_IOTLB_invalidation_drains_what_the_hardware_can_drain(int draining, ulong flags)
    {
        VtdDriver<Ram> driver = Start(cap => cap & ~(3UL << 54) | (ulong)draining << 54, out List<(ulong Low, ulong High)> told, out _, out RamBlock ram);
        using (ram)
        {
            Assert.Equal([0x11UL, 0x12UL | flags], told.Select(descriptor => descriptor.Low));
            told.Clear();
            Assert.Equal(VcmmError.None, driver.Invalidate(new(0xABCD), IovaRange.FromLength(new(0x5000), Page), leavesOnly: false));
            Assert.Equal([(0xABCD_0032UL | flags, 0x5000UL)], told);
        }
    }

    [Theory]
    [InlineData(0x5000UL, 1UL, true, new[] { 0x5040UL })]
    [InlineData(0x5000UL, 1UL, false, new[] { 0x5000UL })]
    [InlineData(0x5000UL, 2UL, false, new[] { 0x5000UL, 0x6000UL })]
    [InlineData(0x6000UL, 2UL, true, new[] { 0x6041UL })]
    [InlineData(0x7000UL, 2UL, true, new[] { 0x7040UL, 0x8040UL })]
    [InlineData(0x3000UL, 10UL, false, new[] { 0x3000UL, 0x4002UL, 0x8002UL, 0xC000UL })]
    [InlineData(0x3000UL, 11UL, false, new[] { 0x3000UL, 0x4002UL, 0x8002UL, 0xC001UL })]
    [InlineData(0x1000UL, 10UL, true, new[] { 0x0043UL, 0x8042UL })]
    [InlineData(0x8000_0000UL, 1UL << 18, true, new[] { 0x8000_0052UL })]
    [InlineData(0x8000_0000UL, (1UL << 18) + 1, true, new[] { 0x8000_0052UL, 0xC000_0040UL })]
    [InlineData(0x8000_0000UL, 1UL << 20, true, new[] { 0x8000_0052UL, 0xC000_0052UL, 0x1_0000_0052UL, 0x1_4000_0052UL })]
    [InlineData(0x8000_0000UL, (1UL << 20) + 1, true, new ulong[0])]
    [InlineData(0UL, 1UL << 52, true, new ulong[0])]
    public void A_range_is_told_as_at_most_four_aligned_powers_of_two_or_as_its_domain(
        ulong first, ulong pageCount, bool leavesOnly, ulong[] high)
    {
        VtdDriver<Ram> driver = Start(static cap => cap, out List<(ulong Low, ulong High)> told, out _, out RamBlock ram);
        using (ram)
        {
            told.Clear();
            Assert.Equal(VcmmError.None, driver.Invalidate(new(0xABCD), new(new(first), new(unchecked(first + pageCount * Page - 1))), leavesOnly));
            Assert.Equal(high.Length == 0 ? [(0xABCD_00E2UL, 0UL)] : high.Select(pages => (0xABCD_00F2UL, pages)), told);
        }
    }

    [Theory]
    [InlineData(false, new[] { 0x4000_0000u, 0x0400_0000u, 0x8400_0000u })]
    [InlineData(true, new[] { 0x4400_0000u, 0x0000_0000u, 0x0400_0000u, 0x8400_0000u })]
    public void A_start_gives_each_command_once_and_stops_a_queue_that_runs_already(bool isQueueOn, uint[] expected)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        if (isQueueOn) simulator.Write32(0x18, 0x0400_0000);
        var commands = new List<uint>();
        var registers = new HookedRegisters(simulator)
        {
            BeforeWrite32 = (offset, value) =>
            {
                if (offset == 0x18) commands.Add(value);
            },
        };
        VtdDriver<Ram>.Start(ram.Port, registers, new FrameAllocator(ram.Range), new() { WaitPolicy = new CountedPolicy() });
        Assert.Equal(expected, commands);
    }

    [Fact]
    public void Without_page_selective_invalidation_the_domain_is_told()
    {
        VtdDriver<Ram> driver = Start(static cap => cap & ~(1UL << 39), out List<(ulong Low, ulong High)> told, out _, out RamBlock ram);
        using (ram)
        {
            told.Clear();
            Assert.Equal(VcmmError.None, driver.Invalidate(new(0xABCD), IovaRange.FromLength(new(0x5000), Page), leavesOnly: true));
            Assert.Equal([(0xABCD_00E2UL, 0UL)], told);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_attach_and_a_detach_are_told_context_first(bool isCachingMode)
    {
        VtdDriver<Ram> driver = Start(
            cap => isCachingMode ? cap | 1UL << 7 : cap, out List<(ulong Low, ulong High)> told, out FrameAllocator frames, out RamBlock ram);
        using (ram)
        {
            told.Clear();
            Assert.Equal(isCachingMode, driver.CachesAbsent);
            Assert.Equal(VcmmError.None, driver.TryCreateTable(frames, out Vcmm.Tables.IPageTable? table));
            Assert.Equal(VcmmError.None, driver.Attach(new(0x1234), new(0xABCD), table!));
            // An absent entry is cached under domain id 0.
            Assert.Equal(isCachingMode ? [(0x1234_0000_0031UL, 0UL), (0xABCD_00E2UL, 0UL)] : [], told);
            told.Clear();
            Assert.Equal(VcmmError.None, driver.Detach(new(0x1234), new(0xABCD)));
            Assert.Equal([(0x1234_ABCD_0031UL, 0UL), (0xABCD_00E2UL, 0UL)], told);
        }
    }

    [Theory]
    [InlineData(0x0000_0000u, 0x8400_0000u)]    // both stop
    [InlineData(0x8000_0000u, 0x8400_0000u)]    // translation does not
    [InlineData(0x0400_0000u, 0x8400_0000u)]    // the queue does not
    public void A_stop_gives_the_frames_back_only_when_the_hardware_has_stopped(uint stuck, uint running)
    {
        using var system = new VtdSystem();
        ulong free = system.Frames.FreeBytes;
        Assert.Equal(running, system.Simulator.Read32(0x1C) & running);
        system.Registers.AfterRead32 = (offset, value) => offset == 0x1C ? value | stuck : value;
        if (stuck != 0)
        {
            Assert.Equal(VcmmError.HardwareFailure, Assert.Throws<VcmmException>(system.Driver.Stop).Error);
            Assert.Equal(free, system.Frames.FreeBytes);
            system.Registers.AfterRead32 = static (_, value) => value;
        }

        system.Driver.Stop();
        Assert.Equal(system.Frames.TotalBytes, system.Frames.FreeBytes);
        Assert.Equal(0u, system.Simulator.Read32(0x1C) & running);
    }

    [Theory]
    [InlineData(0x4000_0000u)]    // GSTS.RTPS
    [InlineData(0x0400_0000u)]    // GSTS.QIES
    [InlineData(0x8000_0000u)]    // GSTS.TES
    public void A_start_that_one_status_bit_does_not_confirm_is_refused(uint missing)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default))
        {
            AfterRead32 = (offset, value) => offset == 0x1C ? value & ~missing : value,
        };
        var options = new VtdDriverOptions { WaitPolicy = new CountedPolicy() };
        Assert.Equal(VcmmError.HardwareFailure, VtdDriver<Ram>.TryStart(ram.Port, registers, frames, options, out VtdDriver<Ram>? driver));
        Assert.Null(driver);
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        VcmmException thrown = Assert.Throws<VcmmException>(() => VtdDriver<Ram>.Start(ram.Port, registers, frames, options));
        Assert.Equal(VcmmError.HardwareFailure, thrown.Error);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_frame_shortage_at_an_attach_attaches_nothing(bool isCachingMode)
    {
        using var system = new VtdSystem(VtdOptions.Default with { CachingMode = isCachingMode });
        Assert.Equal(VcmmError.None, system.Driver.TryCreateTable(system.Frames, out Vcmm.Tables.IPageTable? table));
        while (system.Frames.TryAllocate(Page, out _) == VcmmError.None)
        {
        }

        Assert.Equal(VcmmError.NoMemory, system.Driver.TryCreateTable(system.Frames, out Vcmm.Tables.IPageTable? none));
        Assert.Null(none);
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.NoMemory, system.Driver.Attach(new(0x20), new(1), table!));
        Assert.Equal(before, system.Simulator.Statistics);
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        Assert.Equal(VtdFaultReason.RootEntryNotPresent, device.Read(new(0), new byte[1]).Reason);
    }

    /// <summary>A driver on a unit that says this of itself, and everything but the waits that it puts into the queue.</summary>
    private static VtdDriver<Ram> Start(
        Func<ulong, ulong> capability, out List<(ulong Low, ulong High)> told, out FrameAllocator frames, out RamBlock ram)
    {
        ram = new(PhysRange.FromLength(new(0x10_0000), 64 * Page));
        Ram memory = ram.Port;
        frames = new(ram.Range);
        var simulator = new VtdIommu<Ram, NoSteps>(memory, VtdOptions.Default);
        var descriptors = new List<(ulong Low, ulong High)>();
        ulong seen = 0;
        var registers = new HookedRegisters(simulator)
        {
            AfterRead64 = (offset, value) => offset == Cap ? capability(value) : value,
            BeforeWrite64 = (offset, tail) =>
            {
                if (offset != HookedRegisters.QueueTail) return true;
                ulong queue = simulator.Read64(0x90) & ~0xFFFUL;
                for (; seen != tail; seen = (seen + 16) % 4096)
                {
                    ulong low = memory.Read64(new(queue + seen));
                    if ((low & 0xF) != 5) descriptors.Add((low, memory.Read64(new(queue + seen + 8))));
                }

                return true;
            },
        };
        told = descriptors;
        return VtdDriver<Ram>.Start(memory, registers, frames, new() { WaitPolicy = new CountedPolicy() });
    }
}

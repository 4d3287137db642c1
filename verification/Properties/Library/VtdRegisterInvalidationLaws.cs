using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>A VT-d that has no invalidation queue, or whose queue is not to be used, is told to forget by registers.</summary>
public sealed class VtdRegisterInvalidationLaws
{
    private const ulong Page = VtdSystem.Page;
    private const uint Ccmd = 0x28, Iva = 0xF0, Iotlb = 0xF8;
    private const ulong Command = 1UL << 63, Drains = 3UL << 48;

    // CIRG and IIRG.
    private const ulong OfDevice = 3UL << 61, OfDomain = 2UL << 60, OfPages = 3UL << 60;
    private static readonly VtdOptions WithoutQueue = VtdOptions.Default with { QueuedInvalidation = false };
    private static readonly DomainId Domain = new(5);

    [Fact]
    public void A_device_reaches_what_is_backed_and_nothing_after_the_unback_and_no_register_of_a_queue_is_used()
    {
        using var system = new VtdSystem(WithoutQueue);
        system.Registers.BeforeWrite64 = static (offset, _) => offset is not (>= 0x80 and <= 0xB8);
        (Vcm vcm, Association association, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        Reservation reservation = vcm.Map(system.Manager.Allocate(2 * Page));
        Assert.True(device.Read(reservation.Range.First, new byte[8]).Ok);
        Assert.NotEmpty(system.Simulator.Iotlb);
        reservation.Unback();
        Assert.Empty(system.Simulator.Iotlb);
        Assert.False(device.Read(reservation.Range.First, new byte[8]).Ok);
        association.Deactivate();
        Assert.False(device.Read(reservation.Range.First, new byte[8]).Ok);
        Assert.Equal(0u, system.Simulator.Read32(0x1C) & 0x0400_0000);
        Assert.Equal(0, system.Simulator.Statistics.Waits);
    }

    [Fact]
    public void It_takes_one_frame_and_gives_it_back()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, new VtdIommu<Ram, NoSteps>(ram.Port, WithoutQueue), frames);
        Assert.Equal(frames.TotalBytes - Page, frames.FreeBytes);
        driver.Stop();
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }

    [Theory]
    [InlineData(true, true, Drains)]
    [InlineData(true, false, 1UL << 48)]     // CAP.DWD alone
    [InlineData(false, true, 1UL << 49)]     // CAP.DRD alone
    [InlineData(false, false, 0UL)]
    public void Each_command_is_what_the_registers_fields_say_and_drains_what_the_hardware_can_drain(bool drainsWrites, bool drainsReads, ulong drains)
    {
        using var machine = new Machine(cap => cap & ~(3UL << 54) | (drainsWrites ? 1UL << 54 : 0) | (drainsReads ? 1UL << 55 : 0) | 1UL << 7);
        VtdDriver<Ram> driver = machine.Start();
        Assert.Equal([(Ccmd, Command | 1UL << 61), (Iotlb, Command | 1UL << 60 | drains)], machine.TakeTold());

        driver.TryCreateTable(driver.Formats[0], machine.Frames, out Vcmm.Tables.IPageTable? table);
        Assert.Equal(VcmmError.None, driver.Attach(new(0x1234), null, Domain, table!));
        // What was absent was cached under domain 0.
        Assert.Equal([(Ccmd, Command | OfDevice | 0x1234UL << 16), (Iotlb, Command | OfDomain | drains | 5UL << 32)], machine.TakeTold());

        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(0x4000), 4 * Page), leavesOnly: true));
        Assert.Equal([(Iva, 0x4000UL | 1 << 6 | 2), (Iotlb, Command | OfPages | drains | 5UL << 32)], machine.TakeTold());

        // Two blocks; and the caches of what leads to them.
        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(0x4000), 5 * Page), leavesOnly: false));
        Assert.Equal(
            [(Iva, 0x4000UL | 2), (Iotlb, Command | OfPages | drains | 5UL << 32), (Iva, 0x8000UL), (Iotlb, Command | OfPages | drains | 5UL << 32)],
            machine.TakeTold());

        Assert.Equal(VcmmError.None, driver.Detach(new(0x1234), null, Domain));
        Assert.Equal([(Ccmd, Command | OfDevice | 0x1234UL << 16 | 5), (Iotlb, Command | OfDomain | drains | 5UL << 32)], machine.TakeTold());
    }

    [Fact]
    public void Hardware_without_page_granularity_is_told_the_domain_and_no_address()
    {
        using var machine = new Machine(static cap => cap & ~(1UL << 39));
        VtdDriver<Ram> driver = machine.Start();
        machine.TakeTold();
        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal([(Iotlb, Command | OfDomain | Drains | 5UL << 32)], machine.TakeTold());
    }

    [Fact]
    public void The_registers_are_where_the_hardware_says()
    {
        using var machine = new Machine(static cap => cap) { Offset = 0x500 };
        VtdDriver<Ram> driver = machine.Start();
        machine.TakeTold();
        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(Page), Page), leavesOnly: false));
        Assert.Equal([(0x500u, Page), (0x508u, Command | OfPages | Drains | 5UL << 32)], machine.TakeTold());
    }

    [Theory]
    [InlineData(Ccmd)]
    [InlineData(Iotlb)]
    public void A_command_is_waited_for_before_anything_else_is_written(uint slow)
    {
        using var machine = new Machine(static cap => cap | 1UL << 7);
        VtdDriver<Ram> driver = machine.Start();
        driver.TryCreateTable(driver.Formats[0], machine.Frames, out Vcmm.Tables.IPageTable? table);
        machine.TakeTold();
        int polls = 0;
        machine.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset == slow) machine.BusyReads = 5;
            else Assert.Equal(0, machine.BusyReads);
            return true;
        };
        machine.Registers.AfterRead64 = (offset, value) =>
        {
            if (offset != slow || machine.BusyReads == 0) return value;
            machine.BusyReads--;
            return value | Command;
        };
        machine.Policy.OnPoll = () => polls++;
        Assert.Equal(VcmmError.None, driver.Attach(new(0x10), null, Domain, table!));
        Assert.Equal(5, polls);
        Assert.Equal(0, machine.BusyReads);
        Assert.Equal(2, machine.TakeTold().Count);
    }

    [Theory]
    [InlineData(Ccmd, 59, 3, 1, true)]
    [InlineData(Ccmd, 59, 3, 2, true)]
    [InlineData(Ccmd, 59, 3, 0, false)]
    [InlineData(Iotlb, 57, 2, 1, true)]
    [InlineData(Iotlb, 57, 2, 3, false)]
    [InlineData(Iotlb, 57, 2, 0, false)]
    public void Hardware_may_do_more_than_it_was_asked_for_and_where_it_did_less_the_call_has_failed(uint register, int field, ulong asked, ulong done, bool isEnough)
    {
        using var system = new VtdSystem(WithoutQueue);
        (_, Association association, _) = system.CreateRegion();
        bool hasAnswered = false;
        system.Registers.AfterRead64 = (offset, value) =>
        {
            // Only what was asked for, and not what is done after a failure.
            if (offset != register || (value >> field & 3) != asked || (value >> field + 2 + (register == Ccmd ? 0 : 1) & 3) != asked) return value;
            hasAnswered = true;
            return value & ~(3UL << field) | done << field;
        };
        VcmmError error = association.TryDeactivate();
        Assert.True(hasAnswered);
        Assert.Equal(isEnough ? VcmmError.None : VcmmError.HardwareFailure, error);
        Assert.Equal(!isEnough, association.IsActive);
        system.Registers.AfterRead64 = static (_, value) => value;
        if (!isEnough) Assert.Equal(VcmmError.None, association.TryDeactivate());
    }

    [Theory]
    [InlineData(Ccmd)]
    [InlineData(Iotlb)]
    public void A_time_out_fails_frees_nothing_and_leaves_the_hardware_usable(uint dead)
    {
        using var system = new VtdSystem(WithoutQueue);
        (Vcm vcm, Association association, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        PhysicalAllocation memory = system.Manager.Allocate(Page);
        Reservation reservation = vcm.Map(memory);
        Assert.True(device.Read(reservation.Range.First, new byte[8]).Ok);
        bool isDead = false;
        int written = 0;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            written += offset is Ccmd or Iotlb ? 1 : 0;
            if (offset != dead) return true;
            isDead = true;
            return false;
        };
        system.Registers.AfterRead64 = (offset, value) => offset == dead && isDead ? value | Command : value;

        if (dead == Iotlb) Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.True(association.IsActive);
        Assert.True(reservation.IsBacked);
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        Assert.True(device.Read(reservation.Range.First, new byte[8]).Ok);

        // A register that is busy is not written to; nor is another, before what is stuck is done.
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.Equal(1, written);

        isDead = false;
        system.Registers.BeforeWrite64 = static (_, _) => true;
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.None, reservation.TryUnback());
        // First everything: nobody knows how far the hardware came.
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(before.ContextInvalidations + 1, system.Simulator.Statistics.ContextInvalidations);
        Assert.Equal(before.IotlbPageInvalidations + 1, system.Simulator.Statistics.IotlbPageInvalidations);
        Assert.False(device.Read(reservation.Range.First, new byte[8]).Ok);
        Assert.Equal(VcmmError.None, memory.TryFree());
        Assert.Equal(VcmmError.None, association.TryDeactivate());
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
    }

    [Fact]
    public void After_a_command_that_failed_once_everything_is_forgotten_before_the_call_returns()
    {
        using var system = new VtdSystem(WithoutQueue);
        int lost = 0, busy = 0;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset != Iotlb || lost++ != 0) return true;
            busy = system.Policy.Limit;
            return false;
        };
        system.Registers.AfterRead64 = (offset, value) => offset == Iotlb && busy != 0 && busy-- != 0 ? value | Command : value;
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.HardwareFailure, Invalidate());
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(VcmmError.None, Invalidate());
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);

        VcmmError Invalidate() => system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true);
    }

    [Fact]
    public void After_a_port_that_throws_everything_is_forgotten_before_the_next_command()
    {
        using var system = new VtdSystem(WithoutQueue);
        system.Registers.BeforeWrite64 = static (offset, _) => offset == Iotlb ? throw new IOException("gone") : true;
        Assert.Throws<IOException>(() => Invalidate());
        system.Registers.BeforeWrite64 = static (_, _) => true;
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.None, Invalidate());
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);

        VcmmError Invalidate() => system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true);
    }

    [Fact]
    public void Scalable_mode_needs_the_queue()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable);
        Assert.Equal(VcmmError.Invalid, VtdDriver<Ram>.TryStart(ram.Port, simulator, frames, new() { Scalable = true, QueuedInvalidation = false }, out _));
        var withoutQueue = new HookedRegisters(simulator) { AfterRead64 = static (offset, value) => offset == 0x10 ? value & ~2UL : value };
        Assert.Equal(VcmmError.NoDevice, VtdDriver<Ram>.TryStart(ram.Port, withoutQueue, frames, new() { Scalable = true }, out _));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(ram.Port, simulator, frames, new() { Scalable = true }, out _));
    }

    [Fact]
    public void A_device_with_a_TLB_needs_the_queue()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { DeviceTlbs = true });
        var frames = new FrameAllocator(ram.Range);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, simulator, frames, new() { QueuedInvalidation = false });
        Assert.Equal(VcmmError.NoDevice, driver.TryEnableAts(new(0x20), new()));
        driver.Stop();
        driver = VtdDriver<Ram>.Start(ram.Port, simulator, frames);
        Assert.Equal(VcmmError.None, driver.TryEnableAts(new(0x20), new()));
    }

    [Fact]
    public void A_queue_that_somebody_left_on_is_switched_off_where_it_is_not_to_be_used()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        VtdDriver<Ram>.Start(ram.Port, simulator, new FrameAllocator(PhysRange.FromLength(new(0), 8 * Page)));
        Assert.NotEqual(0u, simulator.Read32(0x1C) & 0x0400_0000);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(
            ram.Port, simulator, new FrameAllocator(PhysRange.FromLength(new(8 * Page), 8 * Page)), new() { QueuedInvalidation = false });
        Assert.Equal(0u, simulator.Read32(0x1C) & 0x0400_0000);
        VtdStatistics before = simulator.Statistics;
        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(before.IotlbPageInvalidations + 1, simulator.Statistics.IotlbPageInvalidations);
        Assert.Equal(before.Waits, simulator.Statistics.Waits);
    }

    /// <summary>Hardware with other capabilities, whose invalidation registers may lie elsewhere; what they are told is noted.</summary>
    private sealed class Machine : IMmio, IDisposable
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
        private readonly VtdIommu<Ram, NoSteps> _simulator;
        private readonly Func<ulong, ulong> _capability;
        private readonly List<(uint Offset, ulong Value)> _told = [];

        public Machine(Func<ulong, ulong> capability)
        {
            _simulator = new(_ram.Port, WithoutQueue);
            _capability = capability;
            Frames = new(_ram.Range);
            Registers = new(this);
        }

        public uint Offset { get; init; } = Iva;

        public FrameAllocator Frames { get; }

        public HookedRegisters Registers { get; }

        public CountedPolicy Policy { get; } = new();

        public int BusyReads { get; set; }

        public VtdDriver<Ram> Start() => VtdDriver<Ram>.Start(_ram.Port, Registers, Frames, new() { WaitPolicy = Policy });

        public List<(uint Offset, ulong Value)> TakeTold()
        {
            List<(uint, ulong)> told = [.. _told];
            _told.Clear();
            return told;
        }

        public uint Read32(uint offset) => _simulator.Read32(offset);

        public ulong Read64(uint offset) => offset switch
        {
            0x08 => _capability(_simulator.Read64(offset)),
            0x10 => _simulator.Read64(offset) & ~(0x3FFUL << 8) | (ulong)(Offset / 16) << 8,
            _ => _simulator.Read64(Moved(offset)),
        };

        public void Write32(uint offset, uint value) => _simulator.Write32(offset, value);

        public void Write64(uint offset, ulong value)
        {
            if (offset == Ccmd || offset == Offset || offset == Offset + 8) _told.Add((offset, value));
            _simulator.Write64(Moved(offset), value);
        }

        public void Dispose() => _ram.Dispose();

        private uint Moved(uint offset) => offset == Offset ? Iva : offset == Offset + 8 ? Iotlb : offset;
    }
}

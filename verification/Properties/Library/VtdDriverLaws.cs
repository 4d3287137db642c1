using CsCheck;
using Harness.Generating;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The VT-d driver on the simulator: what the hardware is told, what happens when it does not answer, what is left behind.</summary>
[Collection(QuickFirst.Last + nameof(VtdDriverLaws))]
public sealed class VtdDriverLaws
{
    private const ulong Page = VtdSystem.Page;
    private const ulong Large = VtdSystem.Large;

    [Fact]
    public void A_device_reaches_what_is_backed_and_nothing_after_the_unback()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        PhysicalAllocation memory = system.Manager.Allocate(2 * Page, ChunkSizes.Size4K, scattered: true);
        Reservation reservation = vcm.Reserve(2 * Page);
        reservation.Back(memory);
        system.Memory.Write64(memory.Segments[1].First, 0x1122_3344_5566_7788);
        var bytes = new byte[8];
        Assert.True(device.Read(new(Page), bytes).Ok);
        Assert.Equal(0x1122_3344_5566_7788u, BitConverter.ToUInt64(bytes));
        Assert.True(device.Write(new(0), bytes).Ok);
        Assert.Equal(0x1122_3344_5566_7788u, system.Memory.Read64(memory.Segments[0].First));
        reservation.Unback();
        Assert.Equal(VtdFaultReason.Read, device.Read(new(Page), bytes).Reason);
        Assert.Empty(system.Simulator.Iotlb);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Assert.Equal(new DeviceFault(new(0x20), null, new(Page), Access.Read, 0x06) { Cause = FaultCause.NotPermitted }, fault);
        Assert.False(system.Driver.TryTakeFault(out _));
    }

    [Fact]
    public void Tear_down_returns_every_frame()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        var frames = new FrameAllocator(ram.Range);
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, simulator, frames);
        var manager = new VcmManager(frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1 << 20));
        Association[] associations = [.. new uint[] { 0x0, 0xFF, 0x100, 0xFFFF }.Select(id => vcm.Associate(manager.AddDevice(driver, new(id))))];
        foreach (Association association in associations) association.Activate();
        foreach (Association association in associations) association.Deactivate();
        foreach (Association association in associations) association.Deassociate();
        vcm.Free();
        driver.Stop();
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        Assert.Equal(0u, simulator.Read32(0x1C) & 0x8400_0000);
    }

    [Fact]
    public void A_start_without_memory_leaves_nothing_taken()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FailingFrames(new FrameAllocator(ram.Range));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        for (int n = 0; n < 3; n++)
        {
            frames.AllocationsBeforeFailure = n;
            Assert.Equal(VcmmError.NoMemory, VtdDriver<Ram>.TryStart(ram.Port, simulator, frames, new(), out _));
            Assert.Equal(frames.TotalBytes, frames.FreeBytes);
        }

        frames.AllocationsBeforeFailure = -1;
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(ram.Port, simulator, frames, new(), out _));
    }

    [Theory]
    [InlineData(0x08u, 3UL << 9, 0UL)]     // CAP without a usable SAGAW
    [InlineData(0x08u, 0UL, 1UL << 4)]     // CAP with RWBF
    public void Hardware_that_the_driver_cannot_drive_is_refused(uint register, ulong cleared, ulong set)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default))
        {
            AfterRead64 = (offset, value) => offset == register ? value & ~cleared | set : value,
        };
        Assert.Equal(VcmmError.NoDevice, VtdDriver<Ram>.TryStart(ram.Port, registers, frames, new(), out _));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }

    [Fact]
    public void Hardware_that_does_not_answer_is_refused_at_the_start()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        var registers = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { Commands = CommandMode.Manual });
        var options = new VtdDriverOptions { WaitPolicy = new CountedPolicy() };
        Assert.Equal(VcmmError.HardwareFailure, VtdDriver<Ram>.TryStart(ram.Port, registers, frames, options, out _));
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }

    [Theory]
    [InlineData(true, true, true, 4, 0b1110u, 48)]
    [InlineData(true, false, true, 4, 0b0110u, 48)]
    [InlineData(false, true, false, 3, 0b1010u, 39)]
    [InlineData(false, false, false, 3, 0b0010u, 39)]
    public void The_format_follows_the_capabilities(bool large, bool huge, bool fourLevels, int levels, uint leafLevels, int addressBits)
    {
        using var system = new VtdSystem(VtdOptions.Default with { Pages2M = large, Pages1G = huge, FourLevelTables = fourLevels });
        Assert.Equal(levels, system.Driver.Formats[0].LevelCount);
        Assert.Equal(leafLevels, system.Driver.Formats[0].LeafLevels);
        Assert.Equal(new Iova((1UL << addressBits) - 1), system.Driver.LastAddress);
        Assert.Equal(0x10u, system.Driver.HardwareVersion);
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        vcm.Reserve(Large, alignment: Large).Back(system.Manager.Allocate(Large));
        Assert.True(device.Read(new(Large - 8), new byte[8]).Ok);
        Assert.Equal(large ? Large : Page, Assert.Single(system.Simulator.Iotlb).Range.ByteCount);
    }

    [Fact]
    public void An_invalidation_forgets_its_range_and_no_more_than_its_cover() =>
        Gen.Select(Gen.Int[0, 31], Gen.Int[1, 16]).ForAll(
            60,
            (first, count) =>
            {
                using var system = new VtdSystem(VtdOptions.Default with { WalkCacheEntriesPerLevel = 0 });
                (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
                PhysicalAllocation one = system.Manager.Allocate(Page);
                PhysicalAllocation middle = system.Manager.Allocate((ulong)count * Page, ChunkSizes.Size4K);
                Reservation unbacked = vcm.ReserveAt(new((ulong)first * Page), (ulong)count * Page);
                unbacked.Back(middle);
                for (int page = 0; page < 64; page++)
                {
                    if (page < first || page >= first + count) vcm.ReserveAt(new((ulong)page * Page), Page).Back(one);
                    Assert.True(device.Read(new((ulong)page * Page), new byte[1]).Ok);
                }

                unbacked.Unback();
                ulong[] left = [.. system.Simulator.Iotlb.Select(entry => entry.Range.First.Value / Page)];
                Assert.DoesNotContain(left, page => page >= (ulong)first && page < (ulong)(first + count));
                Assert.True((64 - left.Length) * 7 < count * 11, $"{64 - left.Length} pages were forgotten for {count}");
            });

    [Fact]
    public void A_range_beyond_the_largest_mask_is_invalidated_with_its_domain()
    {
        using var system = new VtdSystem(VtdOptions.Default with { MaximumAddressMask = 2 });
        (Vcm vcm, _, _) = system.CreateRegion();
        PhysicalAllocation four = system.Manager.Allocate(4 * Page);
        PhysicalAllocation seventeen = system.Manager.Allocate(17 * Page);
        Reservation fits = vcm.Reserve(4 * Page);
        Reservation exceeds = vcm.ReserveAt(new(8 * Page), 17 * Page);
        fits.Back(four);
        exceeds.Back(seventeen);
        VtdStatistics before = system.Simulator.Statistics;
        fits.Unback();
        Assert.Equal(before.IotlbPageInvalidations + 1, system.Simulator.Statistics.IotlbPageInvalidations);
        exceeds.Unback();
        Assert.Equal(before.IotlbPageInvalidations + 1, system.Simulator.Statistics.IotlbPageInvalidations);
        Assert.Equal(before.IotlbDomainInvalidations + 1, system.Simulator.Statistics.IotlbDomainInvalidations);
        Assert.Equal(before.Waits + 2, system.Simulator.Statistics.Waits);
    }

    [Fact]
    public void The_queue_wraps_without_losing_a_command()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        PhysicalAllocation memory = system.Manager.Allocate(Page);
        Reservation reservation = vcm.Reserve(Page);
        for (int i = 0; i < 700; i++)
        {
            reservation.Back(memory);
            Assert.True(device.Read(new(0), new byte[1]).Ok);
            reservation.Unback();
            Assert.False(device.Read(new(0), new byte[1]).Ok);
        }

        Assert.Equal(0, system.Simulator.Statistics.QueueErrors);
    }

    [Fact]
    public void A_command_that_is_never_completed_fails_changes_nothing_and_leaves_the_hardware_usable()
    {
        using var system = new VtdSystem();
        (Vcm vcm, Association association, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        PhysicalAllocation memory = system.Manager.Allocate(Page);
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(memory);
        Assert.True(device.Read(new(0), new byte[1]).Ok);
        int swallowed = 0;
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail || swallowed++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.True(reservation.IsBacked);
        Assert.True(device.Read(new(0), new byte[1]).Ok);

        swallowed = 0;
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.True(device.Read(new(0), new byte[1]).Ok);
        association.Deactivate();
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, device.Read(new(0), new byte[1]).Reason);
        association.Activate();
        reservation.Unback();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void Hardware_that_stays_dead_fails_every_command_until_it_answers_again()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(system.Manager.Allocate(Page));
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        system.Registers.BeforeWrite64 = static (_, _) => true;
        reservation.Unback();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void A_queue_error_fails_the_command_and_the_queue_starts_anew()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(system.Manager.Allocate(Page));
        Assert.True(device.Read(new(0), new byte[1]).Ok);
        int polls = 0;
        system.Policy.OnPoll = () => polls++;
        bool spoilt = false;
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset != HookedRegisters.QueueTail || tail == 0 || spoilt) return true;
            // The command before the wait turns into a descriptor of no type.
            PhysAddr queue = new(system.Simulator.Read64(0x90) & ~0xFFFUL);
            system.Memory.Write64(queue + (tail - 32), 0xF);
            return spoilt = true;
        };
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.Equal(1, system.Simulator.Statistics.QueueErrors);
        // An error is seen at once, not after the time for an answer has passed: only the emptying of the queue is waited for.
        Assert.InRange(polls, 1, system.Policy.Limit);
        Assert.Equal(0u, system.Simulator.Read32(0x34) & 0x70);
        reservation.Unback();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void Slow_hardware_is_waited_for()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(system.Manager.Allocate(Page));
        Assert.True(device.Read(new(0), new byte[1]).Ok);
        ulong heldTail = 0;
        int polls = 0;
        system.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset != HookedRegisters.QueueTail) return true;
            heldTail = value;
            return false;
        };
        system.Policy.OnPoll = () =>
        {
            if (++polls == system.Policy.Limit - 1) system.Simulator.Write64(HookedRegisters.QueueTail, heldTail);
        };
        reservation.Unback();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void Where_absent_entries_are_cached_a_new_mapping_is_seen_at_once()
    {
        using var system = new VtdSystem(VtdOptions.Default with { CachingMode = true });
        Vcm vcm = system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Association association = vcm.Associate(system.Manager.AddDevice(system.Driver, new(0x20)));
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        Assert.Equal(VtdFaultReason.RootEntryNotPresent, device.Read(new(0), new byte[1]).Reason);
        association.Activate();
        Reservation reservation = vcm.Reserve(Page);
        Assert.Equal(VtdFaultReason.Read, device.Read(new(0), new byte[1]).Reason);
        reservation.Back(system.Manager.Allocate(Page));
        Assert.True(device.Read(new(0), new byte[1]).Ok);
        association.Deactivate();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
        association.Activate();
        Assert.True(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void An_activation_in_caching_mode_that_fails_is_undone_or_stands()
    {
        using var system = new VtdSystem(VtdOptions.Default with { CachingMode = true });
        Vcm vcm = system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Association association = vcm.Associate(system.Manager.AddDevice(system.Driver, new(0x20)));
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        vcm.Reserve(Page).Back(system.Manager.Allocate(Page));
        int tails = 0;
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail || tails++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, association.TryActivate());
        Assert.Equal(VtdFaultReason.ContextEntryNotPresent, device.Read(new(0), new byte[1]).Reason);

        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail;
        Assert.Equal(VcmmError.None, association.TryActivate());
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        system.Registers.BeforeWrite64 = static (_, _) => true;
        association.Deactivate();
        Assert.False(device.Read(new(0), new byte[1]).Ok);
    }

    [Fact]
    public void Domain_ids_are_never_zero_never_shared_and_used_again_after_release()
    {
        using var system = new VtdSystem();
        var ids = new HashSet<DomainId>();
        for (int i = 0; i < 0xFFFF; i++)
        {
            Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId domain));
            Assert.True(domain.Value is > 0 and <= 0xFFFF && ids.Add(domain));
        }

        Assert.Equal(VcmmError.NoSpace, system.Driver.TryCreateDomain(out _));
        system.Driver.ReleaseDomain(new(77));
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId again));
        Assert.Equal(new DomainId(77), again);
    }

    [Fact]
    public void Misuse_of_the_port_is_loud()
    {
        using var system = new VtdSystem();
        (Vcm vcm, _, _) = system.CreateRegion();
        Assert.True(vcm.TryGetTable(system.Driver.Formats[0], out Vcmm.Tables.IPageTable? table));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Attach(new(0x20), new(9), table!));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Detach(new(0x21), new(9)));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Detach(new(0x1234), new(9)));
        Assert.False(system.Driver.CanIdentify(new(0x10000)));
        Assert.True(system.Driver.CanIdentify(new(0xFFFF)));
    }

    [Fact]
    public void Interrupt_addresses_are_not_handed_out()
    {
        using var system = new VtdSystem();
        (Vcm vcm, Association association, _) = system.CreateRegion();
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserveAt(new(0xFEE0_0000), Page, Access.Read, out _));
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserveAt(new(0xFEEF_F000), Page, Access.Read, out _));
        Assert.Equal(VcmmError.None, vcm.TryReserveAt(new(0xFEDF_F000), Page, Access.Read, out _));
        Assert.Equal(VcmmError.None, vcm.TryReserveAt(new(0xFEF0_0000), Page, Access.Read, out _));
        association.Deactivate();
        association.Deassociate();
        Assert.Equal(VcmmError.None, vcm.TryReserveAt(new(0xFEE0_0000), Page, Access.Read, out _));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_context_entry_names_the_levels_of_its_own_table(int index)
    {
        using var system = new VtdSystem();
        Vcmm.Tables.TableFormat format = system.Driver.Formats[index];
        Assert.Equal(index == 0 ? 4 : 3, format.LevelCount);
        Assert.Equal(VcmmError.None, system.Driver.TryCreateTable(format, system.Frames, out Vcmm.Tables.IPageTable? table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(0x20), new(9), table!));
        PhysAddr contexts = new(system.Memory.Read64(new(system.Simulator.Read64(0x20) & ~0xFFFUL)) & ~0xFFFUL);
        Assert.Equal(table!.Root.Value | 1, system.Memory.Read64(contexts + 0x20 * 16));
        Assert.Equal(9UL << 8 | (ulong)(format.LevelCount - 2), system.Memory.Read64(contexts + 0x20 * 16 + 8));
    }
}

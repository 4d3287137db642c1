using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;
using Xunit.Abstractions;

namespace Properties.Library;

/// <summary>I4 and I8 for devices that keep translations themselves.</summary>
public sealed class DeviceTlbLaws(ITestOutputHelper output)
{
    private const ulong Page = PageRequestSystem.Page;
    private static readonly AtsDeviceOptions Keeps = new() { TlbEntries = 1024, PageRequests = false };

    [Theory]
    [InlineData(null, 0)]
    [InlineData(5u, 0)]
    [InlineData(5u, 3)]
    public void After_an_unback_the_device_does_not_reach_the_frame(uint? pasid, int format)
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device, pasid, format);
        Reservation reservation = region.Reserve(Page);
        PhysicalAllocation memory = system.AllocateMarked(1);
        reservation.Back(memory);
        Iova at = reservation.Range.First;
        Assert.Equal(AccessOutcome.Completed, hardware.Write(at, [2], PageRequestSystem.Prefix(pasid)).Outcome);
        Assert.NotEmpty(hardware.Tlb);
        reservation.Unback();
        DmaTransfer transfer = hardware.Write(at, [3], PageRequestSystem.Prefix(pasid));
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal((AccessOutcome.Failed, 2u), (transfer.Outcome, system.Memory.Read32(memory.AddressAt(0)) & 0xFF));
    }

    [Fact]
    public void A_device_that_asks_again_while_it_is_made_to_forget_keeps_nothing()
    {
        int between = 0;
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: Keeps);
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(16 * Page);
        reservation.Back(system.Manager.Allocate(16 * Page, ChunkSizes.Size4K));
        Iova at = reservation.Range.First;
        system.OnStep = (step, _) =>
        {
            if (step == SimStep.CommandExecute && hardware.Read(at + Page, 1).Outcome == AccessOutcome.Completed) between++;
        };
        // Five blocks' worth, so that there are several commands for the unit, and several for the device.
        Assert.Equal(AccessOutcome.Completed, hardware.Read(at, 16 * (int)Page).Outcome);
        reservation.Unback(Page, 13 * Page);
        system.OnStep = static (_, _) => { };
        Assert.NotEqual(0, between);
        for (ulong page = 0; page < 16; page++)
        {
            AccessOutcome expected = page is 0 or > 13 ? AccessOutcome.Completed : AccessOutcome.Failed;
            Assert.Equal(expected, hardware.Read(at + page * Page, 1).Outcome);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Devices_reach_exactly_what_is_backed_and_permitted(int seed)
    {
        output.WriteLine($"seed {seed}");
        const int pages = 64;
        var random = new Random(seed);
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: Keeps);
        (Device other, AtsDevice<Ram, StepHook> otherHardware) = system.AddDevice(0x9F, Keeps);
        (Vcm region, _) = system.Activate(device);
        region.Associate(device, new() { Pasid = new Pasid(9), Format = system.Driver.Formats[3] }).Activate();
        region.Associate(other, new() { Pasid = new Pasid(9) }).Activate();
        Reservation reservation = region.Reserve(pages * Page);
        PhysicalAllocation memory = system.Manager.Allocate(pages * Page, ChunkSizes.Size4K, scattered: true);
        for (ulong page = 0; page < pages; page++) system.Memory.Write(memory.AddressAt(page * Page), [(byte)page]);
        var isBacked = new bool[pages];
        bool mayWrite = true;
        int changes = 0;
        for (int step = 0; step < 150; step++)
        {
            int first = random.Next(pages);
            int count = random.Next(1, pages - first + 1);
            if (random.Next(8) == 0)
            {
                mayWrite = !mayWrite;
                reservation.SetAttributes(mayWrite ? Access.ReadWrite : Access.Read);
            }
            else if (isBacked.AsSpan(first, count).Contains(true) || random.Next(2) == 0)
            {
                bool isWhole = !isBacked.AsSpan(first, count).Contains(false);
                if (isWhole) reservation.Unback((ulong)first * Page, (ulong)count * Page);
                else if (isBacked[first]) reservation.Unback((ulong)first * Page, Page);
                isBacked.AsSpan(first, isWhole ? count : 1).Clear();
            }
            else
            {
                reservation.Back((ulong)first * Page, memory, (ulong)first * Page, (ulong)count * Page);
                isBacked.AsSpan(first, count).Fill(true);
            }

            for (int page = 0; page < pages; page++)
            {
                Iova at = reservation.Range.First + (ulong)page * Page;
                foreach ((AtsDevice<Ram, StepHook> master, uint? pasid) in new (AtsDevice<Ram, StepHook>, uint?)[] { (hardware, null), (hardware, 9), (otherHardware, 9) })
                {
                    DmaTransfer read = master.Read(at, 1, PageRequestSystem.Prefix(pasid));
                    Assert.Equal(isBacked[page], read.Outcome == AccessOutcome.Completed);
                    if (isBacked[page]) Assert.Equal(page, read.Data[0]);
                    bool writes = master.Write(at, [(byte)page], PageRequestSystem.Prefix(pasid)).Outcome == AccessOutcome.Completed;
                    Assert.Equal(isBacked[page] && mayWrite, writes);
                    changes += writes ? 1 : 0;
                }
            }
        }

        Assert.NotEqual(0, changes);
        Assert.NotEqual(0, system.Simulator.Statistics.DeviceTlbHits);
        Assert.Equal(0, system.Simulator.Statistics.QueueErrors);
    }

    [Fact]
    public void A_queue_that_is_started_anew_makes_devices_forget_too()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: Keeps);
        (Vcm region, _) = system.Activate(device, pasid: 2);
        (Vcm plain, _) = system.Activate(device);
        Reservation first = region.Reserve(Page), second = plain.Reserve(Page);
        first.Back(system.AllocateMarked(1));
        second.Back(system.AllocateMarked(2));
        hardware.Read(first.Range.First, 1, PageRequestSystem.Prefix(2));
        hardware.Read(second.Range.First, 1);
        Assert.Equal(2, hardware.Tlb.Count);
        bool fails = true;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            bool swallowed = fails && offset == HookedRegisters.QueueTail;
            fails &= !swallowed;
            return !swallowed;
        };
        Assert.Equal(VcmmError.HardwareFailure, first.TryUnback());
        Assert.Empty(hardware.Tlb);
        Assert.Equal([1], hardware.Read(first.Range.First, 1, PageRequestSystem.Prefix(2)).Data.ToArray());
    }

    /// <summary>The wait completes when the error is cleared, though the device has not answered: that is no success.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(5u)]
    public void A_page_that_a_device_does_not_give_up_stays_what_it_was(uint? pasid)
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: Keeps);
        (Vcm region, _) = system.Activate(device, pasid);
        Reservation reservation = region.Reserve(Page);
        PhysicalAllocation memory = system.AllocateMarked(1);
        reservation.Back(memory);
        Iova at = reservation.Range.First;
        Assert.Equal([1], hardware.Read(at, 1, PageRequestSystem.Prefix(pasid)).Data.ToArray());
        hardware.IsResponding = false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.NotEqual(0, system.Simulator.Statistics.InvalidationTimeouts);
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        Assert.Equal([1], hardware.Read(at, 1, PageRequestSystem.Prefix(pasid)).Data.ToArray());
        hardware.IsResponding = true;
        Assert.Equal(VcmmError.None, reservation.TryUnback());
        Assert.Empty(hardware.Tlb);
        Assert.Equal(AccessOutcome.Failed, hardware.Read(at, 1, PageRequestSystem.Prefix(pasid)).Outcome);
        Assert.Equal(VcmmError.None, memory.TryFree());
    }

    [Fact]
    public void In_legacy_mode_devices_are_let_in_and_made_to_forget()
    {
        using var system = new VtdSystem(VtdOptions.Default with { DeviceTlbs = true });
        system.Driver.EnableAts(new(0x20), new());
        (Vcm region, Association association, BusMaster<Ram, NoSteps> _) = system.CreateRegion();
        var hardware = new AtsDevice<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20), Keeps);
        Reservation reservation = region.Reserve(Page);
        reservation.Back(system.Manager.Allocate(Page));
        Assert.Equal(AccessOutcome.Completed, hardware.Read(reservation.Range.First, 1).Outcome);
        reservation.Unback();
        Assert.Equal(AccessOutcome.Failed, hardware.Read(reservation.Range.First, 1).Outcome);
        reservation.Back(system.Manager.Allocate(Page));
        Assert.Equal(AccessOutcome.Completed, hardware.Read(reservation.Range.First, 1).Outcome);
        association.Deactivate();
        Assert.Empty(hardware.Tlb);
        Assert.Equal(AccessOutcome.Failed, hardware.Read(reservation.Range.First, 1).Outcome);
    }

    /// <summary>First page, pages, PASID, and the words of the device's commands.</summary>
    public static TheoryData<ulong, ulong, uint, ulong[]> Commands => new()
    {
        { 0x10, 1, 0, [0x20_0005_0003, 0x1_0000] },
        { 0x10, 2, 0, [0x20_0005_0003, 0x1_0000 | 1] },
        { 0x10, 4, 0, [0x20_0005_0003, 0x1_1000 | 1] },
        { 0x10, 16, 0, [0x20_0005_0003, 0x1_7000 | 1] },
        { 0x11, 3, 0, [0x20_0005_0003, 0x1_1000, 0x20_0005_0003, 0x1_2000 | 1] },
        { 0x10, 1, 6, [0x6_0020_0058, 0x1_0000] },
        { 0x10, 8, 6, [0x6_0020_0058, 0x1_3000 | 1 << 11] },
        { 0, 1UL << 36, 0, [0x20_0005_0003, 0x7FFF_FFFF_F000 | 1] },
        { 1, (1UL << 31) - 1, 6, [0x6_0020_0058, 0x3FF_FFFF_F000 | 1 << 11] },
    };

    [Theory]
    [MemberData(nameof(Commands))]
    public void The_devices_are_told_after_the_unit_and_in_the_same_wait(ulong firstPage, ulong pageCount, uint pasid, ulong[] words)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { DeviceTlbs = true, MaximumAddressMask = 40 });
        Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(0x20), new() { InvalidateQueueDepth = 5 }));
        Pasid? space = pasid == 0 ? null : new Pasid(pasid);
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId domain));
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(0x20), space, domain, system.CreateTable()));
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(0x21), space, domain, system.CreateTable()));
        system.Told.Clear();
        int waits = system.Waits;
        var range = IovaRange.FromLength(new(firstPage * Page), pageCount * Page);
        Assert.Equal(VcmmError.None, system.Driver.Invalidate([new(domain, range, LeavesOnly: true)]));
        Assert.Equal(waits + 1, system.Waits);
        ulong[] told = [.. system.Told.SkipWhile(static command => (command.Low & 0xF) == 2).SelectMany(static command => new[] { command.Low, command.High })];
        Assert.Equal(words, told);
        Assert.Equal(2UL, system.Told[0].Low & 0xF);
        Assert.False(system.Simulator.Read32(0x34) != 0);
    }

    [Fact]
    public void Who_is_told_is_who_may_hold_something()
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { DeviceTlbs = true });
        for (uint id = 0x20; id < 0x23; id++) Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(id), new()));
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId domain));
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId other));
        Vcmm.Tables.IPageTable table = system.CreateTable();
        for (uint id = 0x20; id < 0x24; id++) Assert.Equal(VcmmError.None, system.Driver.Attach(new(id), null, domain, table));
        Assert.Equal([0x20, 0x21, 0x22], Told(domain));
        // Nobody was ever in the next one.
        Assert.Empty(Told(other));
        Assert.Equal(VcmmError.None, system.Driver.Detach(new(0x21), null, domain));
        Assert.Equal([0x20, 0x22], Told(domain));
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(0x21), null, other, table));
        Assert.Equal([0x21], Told(other));
        Assert.Equal(VcmmError.None, system.Driver.Detach(new(0x20), null, domain));
        Assert.Equal(VcmmError.None, system.Driver.Detach(new(0x22), null, domain));
        Assert.Empty(Told(domain));

        uint[] Told(DomainId of)
        {
            system.Told.Clear();
            Assert.Equal(VcmmError.None, system.Driver.Invalidate([new(of, IovaRange.FromLength(new(Page), Page), LeavesOnly: true)]));
            return [.. system.Told.Where(static command => (command.Low & 0xF) == 3).Select(static command => (uint)(command.Low >> 32) & 0xFFFF)];
        }
    }

    /// <summary>One that was detached may be gone, and would not answer.</summary>
    [Fact]
    public void A_new_start_of_the_queue_tells_the_devices_that_are_attached_and_no_other()
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { DeviceTlbs = true });
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId domain));
        Vcmm.Tables.IPageTable table = system.CreateTable();
        for (uint id = 0x20; id < 0x23; id++)
        {
            Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(id), new()));
            Assert.Equal(VcmmError.None, system.Driver.Attach(new(id), null, domain, table));
        }

        Assert.Equal(VcmmError.None, system.Driver.Detach(new(0x21), null, domain));
        int bells = 0;
        system.OnDoorbell = () => bells++ != 0;
        system.Told.Clear();
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(new(77), IovaRange.FromLength(new(Page), Page), leavesOnly: true));
        Assert.Equal([0x20u, 0x22u], system.Told.Where(static command => (command.Low & 0xF) == 3).Select(static command => (uint)(command.Low >> 32) & 0xFFFF));
    }

    [Fact]
    public void A_fault_that_does_not_wait_is_not_ended()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device);
        hardware.Read(region.Reserve(Page).Range.First, 1);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Assert.Throws<InvalidOperationException>(() => system.Driver.EndFault(fault with { IsStalled = false }, retry: true));
        Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: false));
        Assert.Throws<ArgumentNullException>("capability", () => system.Driver.TryEnableAts(new(0x30), null!));
    }

    [Fact]
    public void Context_entries_let_devices_do_what_they_were_said_to_do()
    {
        using var system = new PageRequestSystem();
        system.Driver.EnableAts(new(0x21), new());
        system.Driver.EnableAts(new(0x22), new() { PageRequests = true });
        for (uint id = 0x20; id < 0x23; id++)
        {
            system.Activate(system.Manager.AddDevice(system.Driver, new(id)));
            ulong root = system.Memory.Read64(new(system.Simulator.Read64(0x20) & ~0xFFFUL));
            ulong context = system.Memory.Read64(new((root & ~0xFFFUL) + id * 32));
            // DTE, PRE.
            Assert.Equal(id switch { 0x20 => 0UL, 0x21 => 1 << 2, _ => 1 << 2 | 1 << 4 }, context & (1 << 2 | 1 << 4));
        }

        Assert.Equal(VcmmError.Busy, system.Driver.TryEnableAts(new(0x20), new()));
        Assert.Equal(VcmmError.Busy, system.Driver.TryEnableAts(new(0x22), new()));
        Assert.Equal(VcmmError.Invalid, system.Driver.TryEnableAts(new(0x1_0000), new()));
        Assert.Equal(VcmmError.Invalid, system.Driver.TryEnableAts(new(0x30), new() { InvalidateQueueDepth = 0 }));
        Assert.Equal(VcmmError.Invalid, system.Driver.TryEnableAts(new(0x30), new() { InvalidateQueueDepth = 33 }));
        Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(0x32), new() { InvalidateQueueDepth = 1 }));
        Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(0x33), new() { InvalidateQueueDepth = 32 }));
        using var without = new PageRequestSystem(queueBytes: 0);
        Assert.Equal(VcmmError.NoDevice, without.Driver.TryEnableAts(new(0x30), new() { PageRequests = true }));
        Assert.Equal(VcmmError.None, without.Driver.TryEnableAts(new(0x30), new()));
        using var none = new VtdSystem();
        Assert.Equal(VcmmError.NoDevice, none.Driver.TryEnableAts(new(0x30), new()));
        Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(new(0x31), new()));
        system.Activate(system.Manager.AddDevice(system.Driver, new(0x31)));
    }

    [Fact]
    public void A_driver_takes_the_queue_that_it_was_told_to_and_gives_it_back()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(1 << 20), 4 << 20));
        var frames = new FrameAllocator(ram.Range);
        foreach (uint bytes in new uint[] { 0, 4096, 1 << 16, 1 << 19 })
        {
            var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, PageRequestSystem.Hardware);
            ulong before = frames.FreeBytes;
            VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, simulator, frames, new() { Scalable = true, PageRequestQueueBytes = bytes });
            Assert.Equal(3 * Page + bytes, before - frames.FreeBytes);
            if (bytes != 0) Assert.Equal(ulong.Log2(bytes / Page), simulator.Read64(0xD0) & 0xFFF);
            driver.Stop();
            Assert.Equal((before, 0UL), (frames.FreeBytes, simulator.Read64(0xD0)));
        }

        var usual = new VtdIommu<Ram, NoSteps>(ram.Port, PageRequestSystem.Hardware);
        var unable = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable with { DeviceTlbs = true });
        foreach ((VtdIommu<Ram, NoSteps> simulator, uint bytes, bool scalable, VcmmError expected) in new[]
        {
            (usual, 2048u, true, VcmmError.Invalid), (usual, 12288u, true, VcmmError.Invalid), (usual, 1u << 20, true, VcmmError.Invalid),
            (usual, 4096u, false, VcmmError.Invalid), (unable, 4096u, true, VcmmError.NoDevice),
        })
        {
            Assert.Equal(expected, VtdDriver<Ram>.TryStart(ram.Port, simulator, frames, new() { Scalable = scalable, PageRequestQueueBytes = bytes }, out _));
        }

        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }
}

using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>
/// What a handler of fault events does, and what it leaves alone: it misses no fault, starts a queue that has stopped anew, and costs nothing
/// where there is nothing to do.
/// </summary>
/// <remarks><b>Source.</b> VT-d specification, "Fault Status Register".</remarks>
public sealed class VtdFaultHandlerLaws
{
    private const ulong Page = VtdSystem.Page;
    private const uint Gcmd = 0x18, Gsts = 0x1C, Fsts = 0x34;
    private const uint QueueOn = 1u << 26, QueueError = 1u << 4;
    private static readonly PhysAddr Target = new(0xFEE0_1000);

    [Fact]
    public void Where_the_status_says_nothing_no_record_is_read()
    {
        using var system = new VtdSystem();
        system.Registers.AfterRead64 = static (offset, _) => throw new InvalidOperationException($"0x{offset:x} was read");
        Assert.Equal(default, system.Driver.HandleFaultEvent([]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nothing_is_written_where_no_fault_waits(bool hasQueue)
    {
        using var system = new VtdSystem(VtdOptions.Default with { QueuedInvalidation = hasQueue });
        ForbidWrites(system.Registers);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal(default, system.Driver.HandleFaultEvent([]));
    }

    [Fact]
    public void A_queue_that_another_has_started_anew_meanwhile_is_not_started_again()
    {
        using var system = new VtdSystem();
        int looks = 0;
        system.Registers.AfterRead32 = (offset, value) => offset == Fsts && looks++ == 0 ? value | QueueError : value;
        ForbidWrites(system.Registers);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.InRange(looks, 2, 10);
    }

    [Fact]
    public void A_fault_that_comes_while_the_handler_starts_the_queue_anew_is_taken_by_it()
    {
        using var system = new VtdSystem();
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        Spoil(system.Simulator, system.Memory);
        bool isDone = false;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset == HookedRegisters.QueueTail && !isDone) device.Read(new(3 * Page), new byte[1]);
            isDone |= offset == HookedRegisters.QueueTail;
            return true;
        };
        var faults = new List<DeviceFault>();
        Assert.Equal(new FaultEventOutcome(1, false, true), system.Driver.HandleFaultEvent(faults));
        Assert.Equal(new Iova(3 * Page), Assert.Single(faults).Address);
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
    }

    [Fact]
    public void A_queue_that_cannot_be_started_now_is_tried_once()
    {
        using var system = new VtdSystem();
        Spoil(system.Simulator, system.Memory);
        int tries = 0;
        system.Registers.AfterRead32 = static (offset, value) => offset == Gsts ? value | QueueOn : value;
        system.Registers.BeforeWrite32 = (offset, _) => tries += offset == Gcmd ? 1 : 0;
        Assert.Equal(new FaultEventOutcome(0, false, true), system.Driver.HandleFaultEvent([]));
        Assert.Equal(1, tries);
        system.Registers.AfterRead32 = static (_, value) => value;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(new(5), IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
    }

    /// <summary>The error stands when the queue is off, and while it does no fault interrupts.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_error_that_somebody_left_of_a_queue_is_cleared_where_none_is_used_and_no_fault_is_missed(bool isHandler)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * Page));
        var frames = new FrameAllocator(ram.Range);
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { FaultRecordCount = 4 });
        VtdDriver<Ram>.Start(ram.Port, simulator, frames);
        Spoil(simulator, ram.Port);
        var registers = new HookedRegisters(simulator);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, registers, frames, new() { QueuedInvalidation = false, WaitPolicy = new CountedPolicy() });
        Assert.Equal(QueueError, simulator.Read32(Fsts));

        var messages = new List<InterruptMessage>();
        simulator.Interrupt += messages.Add;
        driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        Assert.Single(messages);
        var device = new BusMaster<Ram, NoSteps>(simulator, ram.Port, new(0x20));
        registers.BeforeWrite32 = (offset, _) =>
        {
            if (offset != Fsts) return;
            registers.BeforeWrite32 = static (_, _) => { };
            device.Read(new(7 * Page), new byte[1]);
        };
        var faults = new List<DeviceFault>();
        if (isHandler)
        {
            Assert.Equal(new FaultEventOutcome(1, false, true), driver.HandleFaultEvent(faults));
        }
        else
        {
            Assert.True(driver.TryTakeFault(out DeviceFault fault));
            faults.Add(fault);
        }

        Assert.Equal(new Iova(7 * Page), Assert.Single(faults).Address);
        Assert.Equal(0u, simulator.Read32(Fsts));
        Assert.Single(messages);
        device.Read(new(8 * Page), new byte[1]);
        Assert.Equal(2, messages.Count);
    }

    [Fact]
    public void A_stop_masks_the_events_that_are_enabled_and_leaves_the_others_alone()
    {
        using var system = new PageRequestSystem();
        foreach (VtdEvent source in Enum.GetValues<VtdEvent>()) system.Driver.EnableEvent(source, Target, 0x41);
        system.Driver.DisableEvent(VtdEvent.Fault);
        var written = new List<uint>();
        system.Registers.BeforeWrite32 = (offset, _) =>
        {
            if (offset is 0x38 or 0xA0 or 0xE0) written.Add(offset);
        };
        system.Driver.Stop();
        Assert.Equal([0xA0u, 0xE0u], written);
    }

    [Fact]
    public void An_event_that_is_not_there_is_disabled_without_a_write()
    {
        using var system = new VtdSystem(VtdOptions.Default with { QueuedInvalidation = false });
        ForbidWrites(system.Registers);
        system.Driver.DisableEvent(VtdEvent.InvalidationCompletion);
        system.Driver.DisableEvent(VtdEvent.PageRequest);
        system.Driver.DisableEvent((VtdEvent)3);
    }

    private static void ForbidWrites(HookedRegisters registers)
    {
        registers.BeforeWrite32 = static (offset, value) => Assert.Fail($"0x{value:x} was written to 0x{offset:x}");
        registers.BeforeWrite64 = static (offset, value) => throw new InvalidOperationException($"0x{value:x} was written to 0x{offset:x}");
    }

    /// <summary>Nobody waits for what stops the queue: a descriptor of no type there is, and the tail behind it.</summary>
    private static void Spoil(VtdIommu<Ram, NoSteps> simulator, Ram memory)
    {
        ulong tail = simulator.Read64(HookedRegisters.QueueTail);
        memory.Write64(new((simulator.Read64(0x90) & ~0xFFFUL) + tail), 0xF);
        simulator.Write64(HookedRegisters.QueueTail, tail + 16);
        Assert.Equal(QueueError, simulator.Read32(Fsts));
    }
}

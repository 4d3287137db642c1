using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The interrupts of a VT-d itself: where they go, when, and that none is missed once one has been handled.</summary>
public sealed class VtdEventLaws
{
    private const ulong Page = VtdSystem.Page;
    private const uint Fsts = 0x34, Ics = 0x9C, Gone = uint.MaxValue;
    private const uint Mask = 1u << 31;
    private static readonly PhysAddr Target = new(0xFEE0_1000);
    private static readonly DomainId Domain = new(5);

    [Fact]
    public void Faults_interrupt_once_until_they_are_handled_and_then_again()
    {
        using var system = new VtdSystem(VtdOptions.Default with { FaultRecordCount = 3 });
        List<InterruptMessage> messages = Listen(system.Simulator);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        var faults = new List<DeviceFault>();
        for (ulong round = 0; round < 4; round++)
        {
            device.Write(new(2 * round * Page), new byte[1]);
            device.Read(new((2 * round + 1) * Page), new byte[1]);
            Assert.Equal([new InterruptMessage(Target, 0x41)], messages);
            Assert.Equal(new FaultEventOutcome(2, false, false), system.Driver.HandleFaultEvent(faults));
            Assert.Equal([new Iova(2 * round * Page), new Iova((2 * round + 1) * Page)], faults.Select(static fault => fault.Address));
            Assert.Equal([Access.Write, Access.Read], faults.Select(static fault => fault.Access));
            Assert.Equal(default, system.Driver.HandleFaultEvent(faults));
            messages.Clear();
            faults.Clear();
        }
    }

    [Fact]
    public void What_came_up_before_an_event_is_enabled_is_told_then_and_goes_where_it_is_to_go()
    {
        using var system = new VtdSystem();
        List<InterruptMessage> messages = Listen(system.Simulator);
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        device.Read(new(0), new byte[1]);
        Assert.Empty(messages);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        Assert.Equal([new InterruptMessage(Target, 0x41)], messages);
        // Somewhere else, while one waits: not to where it went before.
        system.Driver.DisableEvent(VtdEvent.Fault);
        Assert.Equal(1, system.Driver.HandleFaultEvent([]).FaultCount);
        device.Read(new(0), new byte[1]);
        Assert.Single(messages);
        system.Driver.EnableEvent(VtdEvent.Fault, Target + 0x1000, 0x42);
        Assert.Equal(new InterruptMessage(Target + 0x1000, 0x42), messages[1]);
        Assert.Equal(2, messages.Count);
    }

    [Fact]
    public void What_was_handled_before_an_event_is_enabled_is_not_told()
    {
        using var system = new VtdSystem();
        List<InterruptMessage> messages = Listen(system.Simulator);
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        device.Read(new(0), new byte[1]);
        Assert.Equal(1, system.Driver.HandleFaultEvent([]).FaultCount);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        Assert.Empty(messages);
    }

    [Fact]
    public void An_overflow_is_told_and_cleared_so_that_the_next_fault_interrupts()
    {
        using var system = new VtdSystem(VtdOptions.Default with { FaultRecordCount = 2 });
        List<InterruptMessage> messages = Listen(system.Simulator);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        for (ulong i = 0; i < 4; i++) device.Read(new(i * Page), new byte[1]);
        var faults = new List<DeviceFault>();
        Assert.Equal(new FaultEventOutcome(2, true, false), system.Driver.HandleFaultEvent(faults));
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
        Assert.False(system.Driver.TakeFaultOverflow());
        Assert.Single(messages);
        device.Read(new(9 * Page), new byte[1]);
        Assert.Equal(2, messages.Count);
        Assert.Equal(new FaultEventOutcome(1, false, false), system.Driver.HandleFaultEvent(faults));
        Assert.Equal(new Iova(9 * Page), faults[2].Address);
    }

    /// <summary>While FSTS says anything at all, what comes is no new event: whoever handles one leaves nothing there.</summary>
    [Fact]
    public void A_fault_that_comes_while_the_queue_stands_still_is_taken_and_the_queue_goes_on()
    {
        using var system = new VtdSystem();
        List<InterruptMessage> messages = Listen(system.Simulator);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        bool isSpoilt = false, isHandled = false;
        var faults = new List<DeviceFault>();
        FaultEventOutcome outcome = default;
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            // A descriptor of no type there is.
            if (offset == HookedRegisters.QueueTail && !isSpoilt) system.Memory.Write64(new((system.Simulator.Read64(0x90) & ~0xFFFUL) + (tail + 4096 - 32) % 4096), 0xF);
            isSpoilt = true;
            return true;
        };
        system.Registers.AfterRead32 = (offset, value) =>
        {
            if (offset != Fsts || isHandled) return value;
            isHandled = true;
            // The interrupt of the queue's error has come. Before anybody takes it a device is blocked, and that interrupts nobody.
            Assert.Single(messages);
            device.Read(new(7 * Page), new byte[1]);
            Assert.Single(messages);
            outcome = system.Driver.HandleFaultEvent(faults);
            return value;
        };
        VtdStatistics before = system.Simulator.Statistics;
        // Everything was invalidated for whoever waits.
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(before.QueueErrors + 1, system.Simulator.Statistics.QueueErrors);
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(new FaultEventOutcome(1, false, true), outcome);
        Assert.Equal(new Iova(7 * Page), Assert.Single(faults).Address);
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
        device.Read(new(8 * Page), new byte[1]);
        Assert.Equal(2, messages.Count);
    }

    [Fact]
    public void Completions_interrupt_where_that_is_asked_for_and_whoever_waits_is_woken_after_the_status_is_clear()
    {
        using var system = new VtdSystem();
        List<InterruptMessage> messages = Listen(system.Simulator);
        var waits = new List<uint>();
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset == HookedRegisters.QueueTail) waits.Add(system.Memory.Read32(new((system.Simulator.Read64(0x90) & ~0xFFFUL) + (tail + 4096 - 16) % 4096)));
            return true;
        };
        Invalidate();
        Assert.False(system.Driver.HandleCompletionEvent());
        system.Driver.EnableEvent(VtdEvent.InvalidationCompletion, Target, 0x43);
        Assert.Empty(messages);
        for (int round = 1; round < 4; round++)
        {
            Invalidate();
            Invalidate();
            Assert.Equal(round, messages.Count);
            int before = system.Policy.GivenBackCount;
            Assert.True(system.Driver.HandleCompletionEvent());
            Assert.Equal(before + 1, system.Policy.GivenBackCount);
            Assert.Equal(0u, system.Simulator.Read32(Ics));
            Assert.False(system.Driver.HandleCompletionEvent());
            Assert.Equal(before + 1, system.Policy.GivenBackCount);
        }

        Assert.All(messages, static message => Assert.Equal(new InterruptMessage(Target, 0x43), message));
        system.Driver.DisableEvent(VtdEvent.InvalidationCompletion);
        Invalidate();
        Assert.Equal(3, messages.Count);
        Assert.Equal([0x25u, .. Enumerable.Repeat(0x35u, 6), 0x25u], waits);

        void Invalidate() => Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
    }

    /// <summary>Hardware that works by itself, and a policy that sleeps: without the interrupt nobody would look again.</summary>
    [Fact]
    public void Who_sleeps_until_the_interrupt_comes_is_woken_by_it()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { Commands = CommandMode.Manual });
        int awake = 1000, slept = 0, woken = 0;
        VtdDriver<Ram>? driver = null;
        simulator.Interrupt += _ => woken += driver!.HandleCompletionEvent() ? 1 : 0;
        var policy = new CountedPolicy
        {
            OnPoll = () =>
            {
                simulator.ProcessCommands();
                slept++;
                Assert.True(awake-- > 0 || woken != 0);
            },
        };
        driver = VtdDriver<Ram>.Start(ram.Port, simulator, new FrameAllocator(ram.Range), new() { WaitPolicy = policy });
        driver.EnableEvent(VtdEvent.InvalidationCompletion, Target, 0x43);
        awake = slept = 0;
        int before = policy.GivenBackCount;
        Assert.Equal(VcmmError.None, driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal((1, 1), (slept, woken));
        // Once by the interrupt, once when the place in the queue is free.
        Assert.Equal(before + 2, policy.GivenBackCount);
    }

    [Fact]
    public void A_page_request_interrupts_once_until_it_is_handled_and_then_again()
    {
        using var system = new PageRequestSystem();
        var messages = new List<InterruptMessage>();
        system.Simulator.Interrupt += messages.Add;
        system.Driver.EnableEvent(VtdEvent.PageRequest, Target, 0x44);
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        system.Activate(device);
        var faults = new List<DeviceFault>();
        Assert.Equal(0, system.Driver.HandlePageRequestEvent(faults));
        for (int round = 1; round < 4; round++)
        {
            DmaTransfer[] transfers = [.. Enumerable.Range(0, 2).Select(i => hardware.Write(new(PageRequestSystem.RegionStart + (ulong)i * Page), new byte[1]))];
            Assert.Equal(round, messages.Count);
            Assert.Equal(new InterruptMessage(Target, 0x44), messages[^1]);
            Assert.Equal(2, system.Driver.HandlePageRequestEvent(faults));
            Assert.Equal(
                [new Iova(PageRequestSystem.RegionStart), new Iova(PageRequestSystem.RegionStart + Page)], faults.Select(static fault => fault.Address));
            Assert.All(faults, fault => Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: false)));
            Assert.All(transfers, static transfer => Assert.Equal(AccessOutcome.Failed, transfer.Outcome));
            Assert.Equal(0, system.Driver.HandlePageRequestEvent(faults));
            faults.Clear();
        }
    }

    [Theory]
    [InlineData(VtdEvent.Fault, 0x38u)]
    [InlineData(VtdEvent.InvalidationCompletion, 0xA0u)]
    [InlineData(VtdEvent.PageRequest, 0xE0u)]
    public void The_message_is_written_while_the_event_is_masked_and_what_is_reserved_stays(VtdEvent source, uint control)
    {
        using var system = new PageRequestSystem();
        var written = new List<(uint Offset, uint Value)>();
        system.Registers.AfterRead32 = (offset, value) => offset == control ? value | 0x1234 : value;
        system.Registers.BeforeWrite32 = (offset, value) => written.Add((offset, value));
        system.Driver.EnableEvent(source, Target, 0x4567);
        Assert.Equal([(control, Mask | 0x1234), (control + 4, 0x4567u), (control + 8, 0xFEE0_1000u), (control + 12, 0u), (control, 0x1234u)], written);
        written.Clear();
        system.Driver.DisableEvent(source);
        Assert.Equal([(control, Mask | 0x1234)], written);
        system.Registers.AfterRead32 = static (_, value) => value;
        Assert.Equal(Mask, system.Simulator.Read32(control) & Mask);
        system.Driver.EnableEvent(source, Target, 0x4567);
        Assert.Equal(0u, system.Simulator.Read32(control) & Mask);
        system.Driver.Stop();
        Assert.Equal(Mask, system.Simulator.Read32(control) & Mask);
    }

    [Fact]
    public void An_event_that_is_not_there_is_refused_and_an_address_that_no_message_has()
    {
        using var plain = new VtdSystem();
        Assert.Equal(VcmmError.NoDevice, plain.Driver.TryEnableEvent(VtdEvent.PageRequest, Target, 0));
        Assert.Equal(VcmmError.Invalid, plain.Driver.TryEnableEvent(VtdEvent.Fault, Target + 2, 0));
        Assert.Equal(VcmmError.Invalid, plain.Driver.TryEnableEvent((VtdEvent)3, Target, 0));
        Assert.Equal(VcmmError.NoDevice, plain.Driver.TryEnableEvent(VtdEvent.Fault, new(1UL << 32), 0));
        Assert.Equal(VcmmError.NoDevice, Assert.Throws<VcmmException>(() => plain.Driver.EnableEvent(VtdEvent.PageRequest, Target, 0)).Error);
        plain.Driver.DisableEvent(VtdEvent.PageRequest);
        Assert.Equal(Mask, plain.Simulator.Read32(0x38));

        using var withoutQueue = new VtdSystem(VtdOptions.Default with { QueuedInvalidation = false });
        Assert.Equal(VcmmError.NoDevice, withoutQueue.Driver.TryEnableEvent(VtdEvent.InvalidationCompletion, Target, 0));
        Assert.False(withoutQueue.Driver.HandleCompletionEvent());
        Assert.Equal(VcmmError.None, withoutQueue.Driver.TryEnableEvent(VtdEvent.Fault, Target, 0));
    }

    [Fact]
    public void Where_messages_have_long_addresses_all_of_it_is_written()
    {
        using var system = new ScalableSystem(ecap: static ecap => ecap | 1UL << 4);
        List<InterruptMessage> messages = Listen(system.Simulator);
        system.Driver.EnableEvent(VtdEvent.Fault, new(0x12_FEE0_1000), 0x41);
        system.Master().Read(new(0), new byte[1]);
        Assert.Equal([new InterruptMessage(new(0x12_FEE0_1000), 0x41)], messages);
    }

    /// <summary>Whoever had the hardware before may have left its interrupts on.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_start_masks_what_another_had_listened_to(bool isScalable)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, isScalable ? VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true } : VtdOptions.Default);
        List<InterruptMessage> messages = Listen(simulator);
        uint[] controls = isScalable ? [0x38, 0xA0, 0xE0] : [0x38, 0xA0];
        foreach (uint control in controls) simulator.Write32(control, 0);
        VtdDriver<Ram>.Start(ram.Port, simulator, new FrameAllocator(ram.Range), new() { Scalable = isScalable, WaitPolicy = new CountedPolicy(), PageRequestQueueBytes = isScalable ? (uint)Page : 0 });
        Assert.All(controls, control => Assert.Equal(Mask, simulator.Read32(control) & Mask));
        Assert.False(new BusMaster<Ram, NoSteps>(simulator, ram.Port, new(1)).Read(new(0), new byte[1]).Ok);
        Assert.Empty(messages);
    }

    /// <summary>Hardware without an event has no register for it, and what is there instead is nobody's to write.</summary>
    [Fact]
    public void A_start_leaves_alone_what_is_no_event_of_the_hardware()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * Page));
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { QueuedInvalidation = false }));
        var written = new List<uint>();
        registers.BeforeWrite32 = (offset, _) => written.Add(offset);
        VtdDriver<Ram>.Start(ram.Port, registers, new FrameAllocator(ram.Range), new() { WaitPolicy = new CountedPolicy() });
        Assert.Contains(0x38u, written);
        Assert.DoesNotContain(0xA0u, written);
        Assert.DoesNotContain(0xE0u, written);
    }

    /// <summary>As with the handler: an error of the queue keeps the event up, and behind it no fault interrupts.</summary>
    [Fact]
    public void A_dispatch_starts_a_queue_anew_that_has_stopped_and_misses_no_fault()
    {
        using var system = new VtdSystem();
        List<InterruptMessage> messages = Listen(system.Simulator);
        system.Driver.EnableEvent(VtdEvent.Fault, Target, 0x41);
        (_, Association association, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        var told = new List<Iova>();
        association.Device.FaultHook = fault =>
        {
            told.Add(fault.Address);
            return FaultAnswer.Refuse;
        };
        // Nobody waits for what stops the queue: a descriptor of no type there is, and the tail behind it.
        ulong tail = system.Simulator.Read64(HookedRegisters.QueueTail);
        system.Memory.Write64(new((system.Simulator.Read64(0x90) & ~0xFFFUL) + tail), 0xF);
        system.Simulator.Write64(HookedRegisters.QueueTail, tail + 16);
        Assert.Single(messages);
        device.Read(new(7 * Page), new byte[1]);
        Assert.Single(messages);
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal([new Iova(7 * Page)], told);
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        device.Read(new(8 * Page), new byte[1]);
        Assert.Equal(2, messages.Count);
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
    }

    /// <summary>A fault that is recorded while the queue is started anew is given with the others.</summary>
    [Fact]
    public void A_fault_that_comes_while_the_queue_is_started_anew_is_taken_too()
    {
        using var system = new VtdSystem();
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        ulong tail = system.Simulator.Read64(HookedRegisters.QueueTail);
        system.Memory.Write64(new((system.Simulator.Read64(0x90) & ~0xFFFUL) + tail), 0xF);
        system.Simulator.Write64(HookedRegisters.QueueTail, tail + 16);
        bool isDone = false;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset == HookedRegisters.QueueTail && !isDone) device.Read(new(3 * Page), new byte[1]);
            isDone |= offset == HookedRegisters.QueueTail;
            return true;
        };
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Assert.Equal(new Iova(3 * Page), fault.Address);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal(0u, system.Simulator.Read32(Fsts));
    }

    [Fact]
    public void Hardware_that_is_gone_has_nothing_to_tell_and_a_handler_comes_back()
    {
        using var system = new PageRequestSystem();
        system.Registers.AfterRead32 = static (_, _) => Gone;
        system.Registers.AfterRead64 = static (_, _) => ulong.MaxValue;
        Assert.Equal(default, system.Driver.HandleFaultEvent([]));
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal(0, system.Driver.HandlePageRequestEvent([]));
        Assert.False(system.Driver.HandleCompletionEvent());
        // Nor does it wait for what it cannot clear.
        system.Registers.AfterRead64 = static (_, value) => value;
        system.Registers.AfterRead32 = static (offset, value) => offset == Fsts ? 2u : value;
        Assert.Equal(default, system.Driver.HandleFaultEvent([]));
    }

    private static List<InterruptMessage> Listen(VtdIommu<Ram, NoSteps> simulator)
    {
        var messages = new List<InterruptMessage>();
        simulator.Interrupt += messages.Add;
        return messages;
    }
}

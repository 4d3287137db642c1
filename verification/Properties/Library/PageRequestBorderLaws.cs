using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>
/// What of page requests no access of a well-behaved device shows at once: what is asked for where nobody may, what was there before the
/// driver, and which commands an answer goes with. Requests are forged, as a device would send them that has another idea of what it may do.
/// </summary>
public sealed class PageRequestBorderLaws
{
    private const ulong Page = PageRequestSystem.Page;
    private const uint Head = 0xC0;
    private const uint Tail = 0xC8;
    private const uint Queue = 0xD0;
    private const uint Status = 0xDC;
    private const uint InvalidationQueue = 0x90;
    private const uint FaultStatus = 0x34;
    private const uint QueueErrors = 0x70;
    private const ulong WideDescriptorBytes = 32;
    private const int PageGroupResponse = 9;
    private const int DeviceTlb = 3;
    private const int Wait = 5;
    private const ulong Fence = 1 << 6;
    private const ulong DrainsPageRequests = 1 << 7;

    private static readonly StreamId Sender = new(0x20);

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_request_says_whether_it_wants_to_execute_and_has_privilege(bool executes, bool isPrivileged)
    {
        using var system = new PageRequestSystem();
        Iova at = ActivateAndReserve(system, pasid: 3);
        Forge(system, at, group: 1, pasid: 3, flags: (executes ? 1UL << 52 : 0) | (isPrivileged ? 1UL << 53 : 0));
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Assert.Equal(executes ? Access.Read | Access.Execute : Access.Read, fault.Access);
        Assert.Equal((isPrivileged, at), (fault.IsPrivileged, fault.Address));
    }

    /// <summary>A marker has neither RD nor WR, whatever else is set in it.</summary>
    [Fact]
    public void A_stop_marker_asks_for_nothing()
    {
        using var system = new PageRequestSystem();
        Iova at = ActivateAndReserve(system, pasid: 3);
        Forge(system, at, group: 1, pasid: 3, flags: 1UL << 52 | 1UL << 53, wants: 0);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal(0, system.Simulator.Statistics.PageGroupResponses);
    }

    [Fact]
    public void One_page_that_is_refused_refuses_the_group_and_so_do_two()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { PagesInGroup = 4 });
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(4 * Page);
        DmaTransfer transfer = hardware.Read(reservation.Range.First, 4 * (int)Page);
        for (int taken = 0; taken < 4; taken++)
        {
            Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
            Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: taken >= 2));
        }

        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
    }

    /// <summary>Also where the answer to the last of it could not be sent at first, and where an attachment came to nothing.</summary>
    [Fact]
    public void Of_an_address_space_that_is_not_attached_all_is_refused_at_once()
    {
        using var system = new PageRequestSystem();
        (Device device, _) = system.AddDevice();
        (Vcm region, Association association) = system.Activate(device, pasid: 3);
        Iova at = region.Reserve(Page).Range.First;

        // The driver refuses to attach it twice: it stays attached once.
        region.TryGetTable(association.Format, out IPageTable? table);
        Assert.Throws<InvalidOperationException>(() => system.Driver.Attach(device.Id, new Pasid(3), new(77), table!));
        Forge(system, at, group: 1, pasid: 3);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));

        // The second write of the tail is that of the answers.
        int writes = 0;
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail || ++writes != 2;
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        system.Registers.BeforeWrite64 = static (_, _) => true;
        Assert.False(system.Driver.TryTakeFault(out _));
        Forge(system, at, group: 2, pasid: 3);
        Assert.True(system.Driver.TryTakeFault(out fault), "the space is open, as before");
        Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: true));

        association.Deactivate();
        long before = system.Simulator.Statistics.PageGroupResponses;
        Forge(system, at, group: 4, pasid: 3);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal(before + 1, system.Simulator.Statistics.PageGroupResponses);
    }

    /// <summary>Of a group whose last request never came nothing is left for the next one with its number.</summary>
    [Theory]
    [InlineData(false)]     // the address space was detached meanwhile
    [InlineData(true)]      // the queue overflowed
    public void A_group_that_was_never_complete_is_not_the_next_ones_beginning(bool overflows)
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { OutstandingGroups = 400 });
        (Vcm region, Association association) = system.Activate(device);
        Reservation reservation = region.Reserve(400 * Page);
        Iova at = reservation.Range.First;
        Forge(system, at, group: 450, isLast: false);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault first));
        if (overflows)
        {
            for (ulong i = 0; i < 200; i++) hardware.Read(at + i * Page, 1);
            Assert.NotEqual(0, system.Simulator.Statistics.PageRequestsLost);
            // What was answered by the hardware asks again; in the end nothing waits.
            while (system.Driver.TryTakeFault(out DeviceFault fault)) Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: false));
        }
        else
        {
            association.Deactivate();
            association.Activate();
        }

        long before = system.Simulator.Statistics.PageGroupResponses;
        Forge(system, at, group: 450);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault second));
        Assert.Equal(VcmmError.None, system.Driver.EndFault(second, retry: false));
        Assert.Equal(before + 1, system.Simulator.Statistics.PageGroupResponses);

        // Nor is anything answered for the first.
        Assert.Equal(VcmmError.None, system.Driver.EndFault(first, retry: false));
        Assert.Equal(before + 1, system.Simulator.Statistics.PageGroupResponses);
    }

    [Fact]
    public void An_answer_that_is_owed_is_sent_before_what_was_read_ahead_is_given()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device, pasid: 3);
        (_, Association other) = system.Activate(device, pasid: 5);
        Iova at = region.Reserve(2 * Page).Range.First;
        DmaTransfer transfer = hardware.Read(at, 1, PageRequestSystem.Prefix(3));
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Forge(system, at + Page, group: 400, pasid: 3);
        // A deactivation looks for what is its own, and reads the other one ahead.
        other.Deactivate();
        bool fails = true;
        system.Registers.BeforeWrite64 = (offset, _) => !(offset == HookedRegisters.QueueTail && fails && !(fails = false));
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.EndFault(fault, retry: false));
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.True(system.Driver.TryTakeFault(out fault));
        Assert.Equal((at + Page, AccessOutcome.Failed), (fault.Address, transfer.Outcome));
    }

    /// <summary>
    /// The answers are behind what makes the hardware forget, an invalidation of the device's TLB is behind them, which does not overtake
    /// them, and each wait drains what is on its way.
    /// </summary>
    [Fact]
    public void A_deactivation_sends_answers_and_then_makes_sure_of_them()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, Association association) = system.Activate(device);
        DmaTransfer transfer = hardware.Read(region.Reserve(Page).Range.First, 1);
        List<ulong> commands = Watch(system);
        association.Deactivate();
        int[] types = [.. commands.Select(static command => (int)(command & 0xF))];
        Assert.Equal([PageGroupResponse, DeviceTlb, Wait], types[^3..]);
        Assert.Equal(Wait, types[^4]);
        Assert.DoesNotContain(PageGroupResponse, types[..^3]);
        Assert.All([commands[^4], commands[^1]], static wait => Assert.Equal(DrainsPageRequests, wait & (DrainsPageRequests | Fence)));
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);

        // Where nobody waits nobody is answered.
        association.Activate();
        commands.Clear();
        association.Deactivate();
        Assert.Single(commands, static command => (command & 0xF) == Wait && (command & Fence) == 0);
        Assert.DoesNotContain(commands, static command => (command & 0xF) == PageGroupResponse);
    }

    /// <summary>A new start of the invalidation queue makes everything forgotten, and answers nobody.</summary>
    [Fact]
    public void An_answer_that_a_new_start_of_the_queue_took_away_is_sent_again()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(2 * Page);
        DmaTransfer transfer = hardware.Read(reservation.Range.First, 1);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        PhysicalAllocation memory = system.AllocateMarked(7);
        reservation.Back(0, memory, 0, Page);

        // While the answer is in the queue, which does not move, somebody else finds that it does not, and starts it anew.
        bool isIn = false;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset != HookedRegisters.QueueTail || isIn) return true;
            isIn = true;
            // In its place the hardware finds a descriptor of no type.
            ulong tail = system.Simulator.Read64(HookedRegisters.QueueTail);
            PhysAddr queue = new(system.Simulator.Read64(InvalidationQueue) & ~0xFFFUL);
            system.Memory.Write64(queue + tail, 0xE);
            return true;
        };
        bool isAnew = false;
        system.Registers.AfterRead32 = (offset, value) =>
        {
            if (offset != FaultStatus || !isIn || isAnew) return value;
            isAnew = true;
            system.Driver.HandleFaultEvent(new List<DeviceFault>());
            return value & ~QueueErrors;
        };
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.EndFault(fault, retry: true));
        Assert.Equal((true, AccessOutcome.Stalled), (isAnew, transfer.Outcome));
        while (system.Driver.TryTakeFault(out fault)) Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: true));
        Assert.True(isIn);
        Assert.Equal([7], transfer.Data.ToArray());
        Assert.Equal((1L, 0), (system.Simulator.Statistics.PageGroupResponses, hardware.UnexpectedResponses));
    }

    /// <summary>It found no room in the queue, and whoever started that anew knew nothing of it.</summary>
    [Fact]
    public void An_answer_that_has_never_been_in_the_queue_is_sent_again_whoever_started_that_anew()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device);
        DmaTransfer transfer = hardware.Read(region.Reserve(Page).Range.First, 1);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        bool isFull = true, hasError = false;
        int polls = 0;
        system.Registers.AfterRead64 = (offset, value) =>
            offset == 0x80 && isFull ? (system.Simulator.Read64(HookedRegisters.QueueTail) + WideDescriptorBytes) % 4096 : value;
        system.Registers.AfterRead32 = (offset, value) => offset == FaultStatus && hasError ? value | 0x10 : value;
        system.Registers.BeforeWrite32 = (offset, _) => hasError &= offset != FaultStatus;
        system.Policy.OnPoll = () =>
        {
            if (++polls != system.Policy.Limit) return;
            isFull = false;
            hasError = true;
            Assert.True(system.Driver.HandleFaultEvent([]).HasQueueError);
        };
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.EndFault(fault, retry: false));
        Assert.Equal((system.Policy.Limit, AccessOutcome.Stalled), (polls, transfer.Outcome));
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal((AccessOutcome.Failed, 1L), (transfer.Outcome, system.Simulator.Statistics.PageGroupResponses));
    }

    /// <remarks><b>Source.</b> VT-d specification, "Page Group Response Descriptor": PP, RC (1 is "Invalid Request"), RID, PASID; LPIG, PRGI.</remarks>
    [Theory]
    [InlineData(null, true, 0x0020_0009UL)]
    [InlineData(null, false, 0x0020_1009UL)]
    [InlineData(3u, true, 0x3_0020_0019UL)]
    [InlineData(3u, false, 0x3_0020_1019UL)]
    public void An_answer_is_as_the_figure_shows(uint? pasid, bool retry, ulong low)
    {
        using var system = new PageRequestSystem();
        Iova at = ActivateAndReserve(system, pasid);
        Forge(system, at, group: 0x155, pasid);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        PhysAddr place = new((system.Simulator.Read64(InvalidationQueue) & ~0xFFFUL) + system.Simulator.Read64(HookedRegisters.QueueTail));
        Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry));
        Assert.Equal((low, 1UL << 2 | 0x155UL << 3), (system.Memory.Read64(place), system.Memory.Read64(place + 8)));
    }

    [Fact]
    public void An_overflow_that_does_not_go_is_cleared_once_at_each_look()
    {
        const uint overflow = 2;
        using var system = new PageRequestSystem();
        int cleared = 0;
        system.Registers.AfterRead32 = static (offset, value) => offset == Status ? value | overflow : value;
        system.Registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset == Status && (value & overflow) != 0) Assert.InRange(++cleared, 1, 2);
        };
        for (int look = 1; look <= 2; look++)
        {
            Assert.False(system.Driver.TryTakeFault(out _));
            Assert.Equal(look, cleared);
        }
    }

    /// <summary>4 KiB hold 128 requests of 32 bytes, and one place stays free.</summary>
    [Theory]
    [InlineData(4096, 127)]
    [InlineData(8192, 255)]
    [InlineData(16384, 511)]
    public void A_queue_is_as_large_as_it_was_asked_to_be(int queueBytes, int capacity)
    {
        using var system = new PageRequestSystem(queueBytes: (uint)queueBytes);
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { OutstandingGroups = 512 });
        (Vcm region, _) = system.Activate(device);
        Iova at = region.Reserve(512 * Page).Range.First;
        for (int i = 0; i < capacity; i++) hardware.Read(at + (ulong)i * Page, 1);
        Assert.Equal(0, system.Simulator.Statistics.PageRequestsLost);
        hardware.Read(at + (ulong)capacity * Page, 1);
        Assert.NotEqual(0, system.Simulator.Statistics.PageRequestsLost);
    }

    [Fact]
    public void What_somebody_left_in_the_queue_before_is_not_taken()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { OutstandingGroups = 512 });
        (Vcm region, Association association) = system.Activate(device);
        Iova at = region.Reserve(512 * Page).Range.First;
        for (ulong i = 0; i < 130; i++) hardware.Read(at + i * Page, 1);
        Assert.Equal((3u, 0UL), (system.Simulator.Read32(Status) & 3, system.Simulator.Read64(Head)));
        Assert.True(system.Driver.TryTakeFault(out _));
        Assert.Equal(0x20UL, system.Simulator.Read64(Head));
        association.TryDeactivate();
        Forge(system, at, group: 1);

        var registers = new HookedRegisters(system.Simulator);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(system.Memory, registers, system.Frames, new() { Scalable = true, PageRequestQueueBytes = 4096, WaitPolicy = system.Policy });
        Assert.Equal((0u, 0UL, 0UL), (system.Simulator.Read32(Status) & 3, system.Simulator.Read64(Head), system.Simulator.Read64(Tail)));
        // Only what was refused for good, by the unit itself, is still there.
        while (driver.TryTakeFault(out DeviceFault fault)) Assert.False(fault.IsStalled);
    }

    [Fact]
    public void Nothing_is_written_to_hardware_that_has_nothing_to_give_or_is_gone()
    {
        using var system = new PageRequestSystem();
        ActivateAndReserve(system, pasid: 3);
        system.Registers.BeforeWrite32 = static (offset, value) => Assert.Fail($"0x{value:x} was written to 0x{offset:x}");
        system.Registers.BeforeWrite64 = static (offset, value) => throw new InvalidOperationException($"0x{value:x} was written to 0x{offset:x}");
        Assert.False(system.Driver.TryTakeFault(out _));
        system.Registers.AfterRead32 = static (_, _) => uint.MaxValue;
        system.Registers.AfterRead64 = static (_, _) => ulong.MaxValue;
        Assert.False(system.Driver.TryTakeFault(out _));
    }

    private static Iova ActivateAndReserve(PageRequestSystem system, uint? pasid)
    {
        (Device device, _) = system.AddDevice();
        (Vcm region, _) = system.Activate(device, pasid);
        return region.Reserve(Page).Range.First;
    }

    /// <remarks><b>Source.</b> VT-d specification, "Page Group Request Descriptor".</remarks>
    private static void Forge(PageRequestSystem system, Iova at, uint group, uint? pasid = null, ulong flags = 0, ulong wants = 1, bool isLast = true)
    {
        PhysAddr queue = new(system.Simulator.Read64(Queue) & ~0xFFFUL);
        ulong tail = system.Simulator.Read64(Tail);
        system.Memory.Write64(queue + tail, 1 | (pasid is { } value ? 1UL << 8 | (ulong)value << 32 : 0) | (ulong)Sender.Value << 16 | flags);
        system.Memory.Write64(queue + tail + 8, at.Value | wants | (isLast ? 1UL << 2 : 0) | (ulong)group << 3);
        system.Simulator.Write64(Tail, (tail + 32) & 0xFFF);
    }

    /// <summary>The first words of what is given to the invalidation queue from here on.</summary>
    private static List<ulong> Watch(PageRequestSystem system)
    {
        var words = new List<ulong>();
        system.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset != HookedRegisters.QueueTail) return true;
            ulong address = system.Simulator.Read64(InvalidationQueue);
            PhysAddr queue = new(address & ~0xFFFUL);
            ulong bytes = 4096UL << (int)(address & 7);
            for (ulong at = system.Simulator.Read64(HookedRegisters.QueueTail); at != value; at = (at + WideDescriptorBytes) % bytes)
                words.Add(system.Memory.Read64(queue + at));
            return true;
        };
        return words;
    }
}

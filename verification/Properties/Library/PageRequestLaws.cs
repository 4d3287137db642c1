using IommuSim;
using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>Accesses that wait for a page, from the device up to the fault hook and back.</summary>
public sealed class PageRequestLaws
{
    private const ulong Page = PageRequestSystem.Page;

    [Theory]
    [InlineData(null, 0, DeviceAccess.Read)]
    [InlineData(null, 0, DeviceAccess.Write)]
    [InlineData(5u, 0, DeviceAccess.Read)]
    [InlineData(5u, 3, DeviceAccess.Write)]     // first-stage tables
    public void An_access_waits_until_its_hook_has_backed_the_page_and_then_reaches_it(uint? pasid, int format, DeviceAccess access)
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device, pasid, format);
        Reservation reservation = region.Reserve(4 * Page);
        PhysicalAllocation memory = system.AllocateMarked(0xA5);
        var seen = new List<DeviceFault>();
        device.FaultHook = fault =>
        {
            seen.Add(fault);
            reservation.Back(2 * Page, memory, 0, Page);
            return FaultAnswer.Retry;
        };
        Iova at = reservation.Range.First + 2 * Page;
        DmaTransfer transfer = access == DeviceAccess.Read
            ? hardware.Read(at, 1, PageRequestSystem.Prefix(pasid))
            : hardware.Write(at, [0x5A], PageRequestSystem.Prefix(pasid));
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.Equal(1, system.Manager.DispatchFaults());
        DeviceFault fault = Assert.Single(seen);
        Access wanted = access == DeviceAccess.Read ? Access.Read : Access.Write;
        Assert.Equal(
            new DeviceFault(device.Id, pasid is { } value ? new Pasid(value) : null, at, wanted, 0) { IsStalled = true, Token = fault.Token }, fault);
        Assert.Equal(AccessOutcome.Completed, transfer.Outcome);
        if (access == DeviceAccess.Read) Assert.Equal([0xA5], transfer.Data.ToArray());
        else Assert.Equal(0x5Au, system.Memory.Read32(memory.AddressAt(0)) & 0xFF);
        Assert.Equal(0, system.Manager.DispatchFaults());
        Assert.Equal((1L, 0), (system.Simulator.Statistics.PageGroupResponses, hardware.UnexpectedResponses));
    }

    [Fact]
    public void An_access_that_is_refused_fails_whoever_refuses_it()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device);
        Iova at = region.Reserve(Page).Range.First;
        DmaTransfer nobody = hardware.Read(at, 1);
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal(AccessOutcome.Failed, nobody.Outcome);

        device.FaultHook = static _ => FaultAnswer.Refuse;
        DmaTransfer refused = hardware.Write(at, [1]);
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal(AccessOutcome.Failed, refused.Outcome);

        // What the first of three throws comes out, when all three have been answered.
        int calls = 0;
        device.FaultHook = _ => calls++ == 1 ? throw new InvalidOperationException("second") : calls == 1 ? throw new NotSupportedException("first") : FaultAnswer.Refuse;
        DmaTransfer[] thrown = [hardware.Read(at, 1), hardware.Read(at, 1), hardware.Read(at, 1)];
        Assert.Throws<NotSupportedException>(() => system.Manager.DispatchFaults());
        Assert.All(thrown, static transfer => Assert.Equal(AccessOutcome.Failed, transfer.Outcome));
        Assert.Equal((3, 0), (calls, hardware.UnexpectedResponses));
    }

    [Fact]
    public void Accesses_of_several_address_spaces_and_devices_wait_and_end_each_by_itself()
    {
        using var system = new PageRequestSystem();
        (Device first, AtsDevice<Ram, StepHook> firstHardware) = system.AddDevice();
        (Device second, AtsDevice<Ram, StepHook> secondHardware) = system.AddDevice(0x9F);
        uint?[] pasids = [null, 1, 7, 63];
        var waiting = new List<(DmaTransfer Transfer, bool IsRetried, byte Mark)>();
        byte mark = 0;
        foreach ((Device device, AtsDevice<Ram, StepHook> hardware) in new[] { (first, firstHardware), (second, secondHardware) })
        {
            var regions = new Dictionary<(ulong, Iova), (Reservation Reservation, byte Mark)>();
            for (int i = 0; i < pasids.Length; i++)
            {
                (Vcm region, _) = system.Activate(device, pasids[i], format: i % 2 * 3);
                Reservation reservation = region.Reserve(2 * Page);
                for (ulong page = 0; page < 2; page++)
                {
                    regions.Add((pasids[i] ?? 0, reservation.Range.First + page * Page), (reservation, ++mark));
                    DmaTransfer transfer = hardware.Read(reservation.Range.First + page * Page, 1, PageRequestSystem.Prefix(pasids[i]));
                    waiting.Add((transfer, mark % 3 != 0, mark));
                }
            }

            device.FaultHook = fault =>
            {
                (Reservation reservation, byte own) = regions[(fault.Pasid?.Value ?? 0, fault.Address)];
                if (own % 3 == 0) return FaultAnswer.Refuse;
                reservation.Back(fault.Address.Value - reservation.Range.First.Value, system.AllocateMarked(own), 0, Page);
                return FaultAnswer.Retry;
            };
        }

        Assert.All(waiting, static one => Assert.Equal(AccessOutcome.Stalled, one.Transfer.Outcome));
        Assert.Equal(16, system.Manager.DispatchFaults());
        foreach ((DmaTransfer transfer, bool isRetried, byte own) in waiting)
        {
            Assert.Equal(isRetried ? AccessOutcome.Completed : AccessOutcome.Failed, transfer.Outcome);
            if (isRetried) Assert.Equal([own], transfer.Data.ToArray());
        }

        Assert.Equal((0, 0), (firstHardware.UnexpectedResponses, secondHardware.UnexpectedResponses));
    }

    [Fact]
    public void A_retry_that_changes_nothing_is_one_fault_of_the_next_dispatch()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(Page);
        device.FaultHook = static _ => FaultAnswer.Retry;
        DmaTransfer transfer = hardware.Read(reservation.Range.First, 1);
        for (int i = 0; i < 300; i++) Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        reservation.Back(system.AllocateMarked(9));
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal([9], transfer.Data.ToArray());
    }

    [Fact]
    public void What_waits_has_failed_when_the_deactivation_returns()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, Association association) = system.Activate(device, pasid: 3);
        (Vcm other, Association otherAssociation) = system.Activate(device);
        Iova at = region.Reserve(4 * Page).Range.First;
        Reservation kept = other.Reserve(Page);
        DmaTransfer taken = hardware.Read(at, 1, PageRequestSystem.Prefix(3));
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        DmaTransfer queued = hardware.Write(at + Page, [1], PageRequestSystem.Prefix(3));
        DmaTransfer survivor = hardware.Read(kept.Range.First, 1);
        association.Deactivate();
        Assert.Equal((AccessOutcome.Failed, AccessOutcome.Failed, AccessOutcome.Stalled), (taken.Outcome, queued.Outcome, survivor.Outcome));

        // The one that was taken is over.
        long responses = system.Simulator.Statistics.PageGroupResponses;
        Assert.Equal(VcmmError.None, system.Driver.EndFault(fault, retry: true));
        Assert.Equal(responses, system.Simulator.Statistics.PageGroupResponses);
        Assert.Equal(0, hardware.UnexpectedResponses);

        // What was read ahead for the others is given to them.
        kept.Back(system.AllocateMarked(4));
        device.FaultHook = static _ => FaultAnswer.Retry;
        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal([4], survivor.Data.ToArray());

        // Nothing of the detached address space waits any more; it is blocked, and recorded.
        Assert.Equal(AccessOutcome.Failed, hardware.Read(at, 1, PageRequestSystem.Prefix(3)).Outcome);
        Assert.True(system.Driver.TryTakeFault(out fault));
        Assert.False(fault.IsStalled);
        otherAssociation.Deactivate();
        Assert.Empty(hardware.Tlb);
    }

    /// <summary>To find what waits in the first, what waits in the second is read from the queue; it is over before anybody takes it.</summary>
    [Fact]
    public void What_one_deactivation_read_and_the_next_one_ended_is_given_to_nobody()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (_, Association first) = system.Activate(device, pasid: 3);
        (Vcm region, Association second) = system.Activate(device);
        DmaTransfer transfer = hardware.Read(region.Reserve(Page).Range.First, 1);
        int calls = 0;
        device.FaultHook = _ =>
        {
            calls++;
            return FaultAnswer.Retry;
        };
        first.Deactivate();
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        second.Deactivate();
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
        Assert.Equal((0, 0), (system.Manager.DispatchFaults(), calls));
    }

    [Fact]
    public void A_page_request_that_a_deactivation_overtakes_fails_too()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, Association association) = system.Activate(device);
        Iova at = region.Reserve(Page).Range.First;
        VcmmError? error = null;
        // The hardware drains the request before it lets the wait complete, and that cannot be while it stands still here.
        system.OnStep = (step, _) =>
        {
            if (step != SimStep.PageRequest || error is not null) return;
            error = VcmmError.None;
            error = association.TryDeactivate();
        };
        DmaTransfer transfer = hardware.Read(at, 1);
        Assert.Equal(VcmmError.HardwareFailure, error);
        Assert.True(association.IsActive);
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        association.Deactivate();
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
    }

    [Fact]
    public void A_queue_that_overflows_loses_no_access()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { OutstandingGroups = 512, PagesInGroup = 3 });
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(1024 * Page);
        device.FaultHook = fault =>
        {
            ulong offset = fault.Address.Value - reservation.Range.First.Value;
            VcmmError error = reservation.TryBack(offset, system.AllocateMarked((byte)(offset / Page % 251)), 0, Page);
            return error is VcmmError.None or VcmmError.Busy ? FaultAnswer.Retry : FaultAnswer.Refuse;
        };
        DmaTransfer[] transfers = [.. Enumerable.Range(0, 300).Select(i => hardware.Read(reservation.Range.First + (ulong)i * 3 * Page, 3 * (int)Page))];
        Assert.NotEqual(0, system.Simulator.Statistics.PageRequestsLost);
        int dispatches = 0;
        while (system.Manager.DispatchFaults() != 0) Assert.InRange(++dispatches, 1, 50);
        for (int i = 0; i < transfers.Length; i++)
        {
            Assert.Equal(AccessOutcome.Completed, transfers[i].Outcome);
            for (int page = 0; page < 3; page++) Assert.Equal((3 * i + page) % 251, transfers[i].Data[page * (int)Page]);
        }

        Assert.Equal(0, hardware.UnexpectedResponses);
        Assert.Equal(0u, system.Simulator.Read32(0xDC));
    }

    [Fact]
    public void A_group_is_answered_once_when_its_last_page_is_ended()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice(options: new() { PagesInGroup = 4 });
        (Vcm region, _) = system.Activate(device);
        Reservation reservation = region.Reserve(8 * Page);
        foreach (bool isRefused in new[] { true, false })
        {
            DmaTransfer transfer = hardware.Read(reservation.Range.First, 4 * (int)Page);
            var faults = new List<DeviceFault>();
            while (system.Driver.TryTakeFault(out DeviceFault fault)) faults.Add(fault);
            Assert.Equal([0UL, 1, 2, 3], faults.Select(fault => (fault.Address.Value - reservation.Range.First.Value) / Page));
            long before = system.Simulator.Statistics.PageGroupResponses;
            if (!isRefused) reservation.Back(0, system.Manager.Allocate(4 * Page), 0, 4 * Page);
            foreach (int i in new[] { 3, 0, 1 })
            {
                Assert.Equal(VcmmError.None, system.Driver.EndFault(faults[i], retry: i != 0 || !isRefused));
                Assert.Equal((before, AccessOutcome.Stalled), (system.Simulator.Statistics.PageGroupResponses, transfer.Outcome));
            }

            Assert.Equal(VcmmError.None, system.Driver.EndFault(faults[2], retry: true));
            Assert.Equal(before + 1, system.Simulator.Statistics.PageGroupResponses);
            Assert.Equal(isRefused ? AccessOutcome.Failed : AccessOutcome.Completed, transfer.Outcome);
        }
    }

    [Fact]
    public void An_answer_that_could_not_be_sent_is_sent_later()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, Association association) = system.Activate(device);
        Reservation reservation = region.Reserve(2 * Page);
        DmaTransfer transfer = hardware.Read(reservation.Range.First, 1);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        reservation.Back(0, system.AllocateMarked(8), 0, Page);
        FailOnce();
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.EndFault(fault, retry: true));
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.False(system.Driver.TryTakeFault(out _));
        Assert.Equal([8], transfer.Data.ToArray());

        // A deactivation that fails leaves all as it was, and can be tried again.
        transfer = hardware.Read(reservation.Range.First + Page, 1);
        FailOnce();
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        Assert.Equal([8], hardware.Read(reservation.Range.First, 1).Data.ToArray());
        Assert.Equal(VcmmError.None, association.TryDeactivate());
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);

        void FailOnce()
        {
            bool fails = true;
            system.Registers.BeforeWrite64 = (offset, _) =>
            {
                bool swallowed = fails && offset == HookedRegisters.QueueTail;
                fails &= !swallowed;
                return !swallowed;
            };
        }
    }

    [Fact]
    public void What_nobody_may_ask_for_is_refused_and_a_stop_marker_is_not_answered()
    {
        using var system = new PageRequestSystem();
        (Device device, AtsDevice<Ram, StepHook> hardware) = system.AddDevice();
        (Vcm region, _) = system.Activate(device, pasid: 3);
        Iova at = region.Reserve(Page).Range.First;
        DmaTransfer transfer = hardware.Read(at, 1, PageRequestSystem.Prefix(3));

        // As a device would that has another idea of what it may do: an address space that is not attached, a marker (neither RD nor
        // WR), another type, and the middle of a group that is of no address space.
        (ulong Low, ulong High)[] forged =
        [
            (0x1UL | 1 << 8 | 0x20 << 16 | 4UL << 32, at.Value | 1 | 1 << 2),
            (0x1UL | 1 << 8 | 0x20 << 16 | 3UL << 32, 1 << 2),
            (0x2UL | 0x20 << 16, at.Value | 1 | 1 << 2),
            (0x1UL | 0x20 << 16, at.Value | 1),
        ];
        PhysAddr queue = new(system.Simulator.Read64(0xD0) & ~0xFFFUL);
        foreach ((ulong low, ulong high) in forged)
        {
            ulong tail = system.Simulator.Read64(0xC8);
            system.Memory.Write64(queue + tail, low);
            system.Memory.Write64(queue + tail + 8, high);
            system.Simulator.Write64(0xC8, tail + 32);
        }

        Assert.Equal(1, system.Manager.DispatchFaults());
        Assert.Equal(AccessOutcome.Failed, transfer.Outcome);
        Assert.Equal(2, system.Simulator.Statistics.PageGroupResponses);
        Assert.Equal(1, hardware.UnexpectedResponses);
        Assert.Equal(system.Simulator.Read64(0xC0), system.Simulator.Read64(0xC8));
        Assert.Throws<InvalidOperationException>(() => system.Driver.EndFault(default, retry: true));
        Assert.Throws<InvalidOperationException>(() => system.Driver.EndFault(new DeviceFault { IsStalled = true, Token = 99 }, retry: true));
    }
}

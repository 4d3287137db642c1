using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The example "Memory on demand" of docs/library.md, compiled and run; <see cref="GuideText"/> keeps the two the same.</summary>
public sealed class PagingGuide
{
    [Fact]
    public void The_guide_to_memory_on_demand_does_what_it_says()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
        var frames = new FrameAllocator(ram.Range);
        var manager = new VcmManager(frames);

        // Hardware that takes page requests, a driver with a queue for them, and a device that makes them.
        var vtd = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true });
        var driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames, new() { Scalable = true, PageRequestQueueBytes = 1 << 16 });
        StreamId id = StreamId.Pci(bus: 0, device: 4, function: 0);
        driver.EnableAts(id, new() { InvalidateQueueDepth = 32, PageRequests = true });
        Device device = manager.AddDevice(driver, id);

        // A gibibyte of addresses and no memory; a page is put behind them when the device comes to it.
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new Iova(0x1000_0000), 2UL << 30));
        Reservation heap = vcm.Reserve(1 << 30);
        device.FaultHook = fault =>
        {
            if (!heap.Range.Contains(fault.Address)) return FaultAnswer.Refuse;
            PhysicalAllocation page = manager.Allocate(4096);
            VcmmError error = heap.TryBack(fault.Address.Value - heap.Range.First.Value, page, memoryOffset: 0, byteCount: 4096);
            if (error != VcmmError.None) page.Free();       // another access was first
            return FaultAnswer.Retry;
        };
        vcm.Associate(device).Activate();

        // The access waits, the dispatch calls the hook, and the access goes on.
        var master = new AtsDevice<Ram, NoSteps>(vtd, ram.Port, id);
        DmaTransfer transfer = master.Write(heap.Range.First + 0x12_3450, new byte[16]);
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        manager.DispatchFaults();       // when the IOMMU interrupts, or now and then
        Assert.Equal(AccessOutcome.Completed, transfer.Outcome);
        Assert.Equal(4096UL, Assert.Single(heap.BackedParts).ByteCount);
    }
}

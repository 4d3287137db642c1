using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The first example of docs/library.md, compiled and run; <see cref="GuideText"/> keeps the two the same.</summary>
public sealed class LibraryGuide
{
    [Fact]
    public void The_guide_does_what_it_says()
    {
        // A machine: 64 MiB of memory at 1 MiB, and a VT-d. On real hardware these two are your own ports.
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
        var vtd = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);

        // The library: a bank to take frames from, a driver, a manager, a device.
        var frames = new FrameAllocator(ram.Range);
        var driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames);
        var manager = new VcmManager(frames);
        Device device = manager.AddDevice(driver, StreamId.Pci(bus: 0, device: 4, function: 0));

        // A region, a reservation in it, scattered memory behind it, and the device let in.
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new Iova(0x1000_0000), 1 << 30));
        Association association = vcm.Associate(device);
        Reservation buffer = vcm.Reserve(1 << 20, Access.ReadWrite);
        PhysicalAllocation memory = manager.Allocate(1 << 20, ChunkSizes.Size64K, scattered: true);
        buffer.Back(memory);
        association.Activate();

        // The device sees one contiguous mebibyte.
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, device.Id);
        master.Write(buffer.Range.First, new byte[1 << 20]);
        Assert.True(master.Write(buffer.Range.First, new byte[1 << 20]).Ok);

        // When Unback returns, no access through the old translation can succeed, and the memory can be given to others.
        buffer.Unback();
        memory.Free();
        Assert.False(master.Write(buffer.Range.First, new byte[1]).Ok);

        association.Deactivate();
        association.Deassociate();
        buffer.Unreserve();
        vcm.Free();
        driver.Stop();
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }
}

using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The example "A guest in a region" of docs/library.md, compiled and run; <see cref="GuideText"/> keeps the two the same.</summary>
public sealed class NestingGuide
{
    [Fact]
    public void The_guide_to_guests_does_what_it_says()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
        var frames = new FrameAllocator(ram.Range);
        var manager = new VcmManager(frames);

        // Hardware that can nest, and the memory of a guest: a region, of which it knows only the region's addresses.
        var vtd = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable with { Nesting = true });
        var driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames, new() { Scalable = true });
        Device device = manager.AddDevice(driver, StreamId.Pci(bus: 0, device: 4, function: 0));
        Vcm guest = manager.CreateVcm(IovaRange.FromLength(new Iova(0), 1 << 30));
        PhysicalAllocation memory = manager.Allocate(1 << 20, ChunkSizes.Size4K, scattered: true);
        Reservation guestMemory = guest.ReserveAt(new Iova(0), 1 << 20);
        guestMemory.Back(memory);

        // The guest has written tables for its device: the root is at 0x4000 of its memory, and all that they point at lies there, too.
        void Write(ulong at, ulong word) => ram.Port.Write64(memory.AddressAt(at), word);
        Write(0x4000, 0x5000 | 7);
        Write(0x5000, 0x6000 | 7);
        Write(0x6000, 0x7000 | 7);
        Write(0x7008, 0x1_0000 | 7);
        Write(0x7010, 0x1_0000 | 7);
        Write(0x1_0000, 0x1234);
        TableFormat format = driver.Formats.First(nested => driver.CanNest(driver.Formats[0], nested));
        Association association = guest.Associate(device, new() { NestedTable = new NestedTable(format, new Iova(0x4000)) });
        association.Activate();

        // The device has the guest's addresses; each goes through the guest's table, and what that yields through the region's.
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, device.Id);
        byte[] word = new byte[8];
        master.Read(new Iova(0x1000), word);
        Assert.Equal(0x1234UL, BitConverter.ToUInt64(word));
        Assert.True(master.Read(new(0x2000), word).Ok);
        Assert.False(master.Read(new(0x4000), word).Ok);

        // The guest takes a page away from its device. When Invalidate returns the device does not reach it any more.
        Write(0x7008, 0);
        association.Invalidate(IovaRange.FromLength(new Iova(0x1000), 4096));
        Assert.False(master.Read(new(0x1000), word).Ok);
        Assert.True(master.Read(new(0x2000), word).Ok);

        // The host takes a page away from the guest. When Unback returns no device of the guest reaches it, by whichever of its addresses.
        guestMemory.Unback(offset: 0x1_0000, byteCount: 4096);
        Assert.False(master.Read(new(0x2000), word).Ok);
    }
}

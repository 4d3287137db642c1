using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The example "More of a region" of docs/library.md, compiled and run. Keep the two the same.</summary>
public sealed class RegionsGuide
{
    [Fact]
    public void The_guide_to_regions_does_what_it_says()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
        var vtd = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        var frames = new FrameAllocator(ram.Range);
        var driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames);
        var manager = new VcmManager(frames, new() { Memory = ram.Port });
        Device device = manager.AddDevice(driver, StreamId.Pci(bus: 0, device: 4, function: 0));
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, device.Id);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new Iova(0x1000_0000), 1 << 30));
        Association association = vcm.Associate(device);
        association.Activate();

        // A bound keeps addresses for what must lie there; a reservation is backed as a whole or in parts.
        Bound window = vcm.CreateBound(4 << 20, alignment: 2 << 20);
        Reservation ring = window.Reserve(2 << 20, Access.ReadWrite, alignment: 2 << 20);
        PhysicalAllocation piece = manager.AllocateContiguous(2 << 20, alignment: 2 << 20);
        ring.Back(offset: 0, piece, memoryOffset: 0, byteCount: 2 << 20);
        ring.Unback(offset: 4096, byteCount: 4096);     // the large leaf is cut
        ring.SetAttributes(Access.Read);                // when this returns no device writes there any more
        Assert.False(master.Write(ring.Range.First, new byte[8]).Ok);
        Assert.True(master.Read(ring.Range.First, new byte[8]).Ok);
        Assert.False(master.Read(ring.Range.First + 4096, new byte[8]).Ok);

        // The same memory behind another reservation, and who maps it.
        Reservation view = vcm.Map(piece);
        var mappings = new List<Mapping>();
        manager.TryFindMappings(piece.AddressAt(0), mappings);
        Assert.Equal(2, mappings.Count);
        manager.Copy(view, sourceOffset: 0, view, destinationOffset: 100, byteCount: 1000);     // overlap does no harm
        view.Unmap();

        // Memory, addresses and mapping in one call.
        Binding binding = vcm.Bind(1 << 16);
        vcm.Unbind(binding);

        // A deep copy: later changes of the one do not show in the other.
        Vcm copy = vcm.Clone();
        ring.Unback();
        Assert.True(copy.Reservations[0].IsBacked);

        // Deferred: many unbacks share one wait; memory and addresses stay in quarantine until the flush.
        Vcm streaming = manager.CreateVcm(IovaRange.FromLength(new Iova(0), 1 << 20), new() { FlushQueue = new FlushQueue() });
        Reservation packet = streaming.Map(manager.Allocate(4096));
        packet.Unback();
        streaming.Flush();
        Assert.False(packet.IsBacked);
    }
}

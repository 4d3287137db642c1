using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Invalidations;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The examples "More of a region" and "Regions of other kinds" of docs/library.md, compiled and run; <see cref="GuideText"/> keeps the two the same.</summary>
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

    [Fact]
    public void The_guide_to_regions_of_other_kinds_does_what_it_says()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
        var vtd = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable);
        var frames = new FrameAllocator(ram.Range);
        var driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames, new() { Scalable = true, TracksUse = true });
        var manager = new VcmManager(frames, new() { Memory = ram.Port });
        Device device = manager.AddDevice(driver, StreamId.Pci(bus: 0, device: 4, function: 0));
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, device.Id);
        var cpus = new SimulatedCpus(ram.Port, CpuOptions.Default);
        var mmu = new CpuMmu<X86FirstStage, Ram>(cpus, ram.Port);

        // One-to-one: the addresses are the memory's, so that a device without an IOMMU takes part beside one that has one.
        Vcm straight = manager.CreateVcm(IovaRange.FromLength(new Iova(1 << 20), 64 << 20), new() { Kind = VcmKind.OneToOne });
        straight.Associate(manager.AddDevice(new NoIommu(), new StreamId(1))).Activate();
        straight.Associate(device).Activate();
        Binding shared = straight.Bind(1 << 16);        // of one piece, at addresses that are free in both
        var direct = new DirectDevice<Ram, NoSteps>(ram.Port);
        Assert.True(direct.Write(new(shared.Reservation.Range.First.Value), [1, 2, 3]).Ok);
        byte[] bytes = new byte[3];
        Assert.True(master.Read(shared.Reservation.Range.First, bytes).Ok);
        Assert.Equal([1, 2, 3], bytes);

        // What devices wrote to since the last look. With clear it begins anew.
        Vcm noted = manager.CreateVcm(IovaRange.FromLength(new Iova(0), 1 << 30));
        Device other = manager.AddDevice(driver, StreamId.Pci(bus: 0, device: 5, function: 0));
        noted.Associate(other).Activate();
        Reservation pages = noted.Map(manager.Allocate(1 << 16));
        Assert.True(new BusMaster<Ram, NoSteps>(vtd, ram.Port, other.Id).Write(pages.Range.First + 0x3008, [1]).Ok);
        var dirty = new List<IovaRange>();
        pages.TryCollectDirty(offset: 0, byteCount: 1 << 16, clear: true, dirty);
        Assert.Contains(dirty, range => range.Contains(pages.Range.First + 0x3008));

        // A process: its table is the CPU's, and devices use the same under a PASID.
        Vcm process = manager.CreateVcm(IovaRange.FromLength(new Iova(0x7000_0000_0000), 1 << 30));
        process.Associate(manager.AddDevice(mmu, new StreamId(0))).Activate();
        process.TryGetTable(cpus.Format, out IPageTable? table);
        Vcm adopted = manager.AdoptVcm(process.Range, cpus.Format, table!.Root);
        Association user = adopted.Associate(device, new() { Format = cpus.Format, Pasid = new Pasid(5) });
        user.Activate();
        Reservation page = process.Map(manager.Allocate(4096));
        Iova first = page.Range.First;
        Assert.True(master.Read(first, new byte[8], new PasidPrefix(new(5))).Ok);

        // Whoever takes something away tells the devices, before the memory goes to others.
        page.Unback();
        adopted.Invalidate(page.Range);
        Assert.False(master.Read(first, new byte[8], new PasidPrefix(new(5))).Ok);

        // While it is not active an association can be given another format, or another of the device's address spaces.
        user.Deactivate();
        user.SetOptions(user.Options with { Pasid = new Pasid(6) });
        user.Activate();
        page.Back(manager.Allocate(4096));
        Assert.True(master.Read(first, new byte[8], new PasidPrefix(new(6))).Ok);
        Assert.False(master.Read(first, new byte[8], new PasidPrefix(new(5))).Ok);
    }
}

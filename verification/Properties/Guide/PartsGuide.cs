using IommuSim;
using Platform;
using Properties.Library;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Guide;

/// <summary>The examples of docs/library.md, "Parts by themselves", compiled and run; <see cref="GuideText"/> keeps the two the same.</summary>
public sealed class PartsGuide : IDisposable
{
    private readonly RamBlock ram = new(PhysRange.FromLength(new PhysAddr(1 << 20), 64 << 20));
    private readonly VtdIommu<Ram, NoSteps> vtd;
    private readonly FrameAllocator frames;
    private readonly VtdDriver<Ram> driver;

    public PartsGuide()
    {
        vtd = new(ram.Port, VtdOptions.Default);
        frames = new(PhysRange.FromLength(new PhysAddr(16 << 20), 32 << 20));
        driver = VtdDriver<Ram>.Start(ram.Port, vtd, frames);
    }

    public void Dispose() => ram.Dispose();

    [Fact]
    public void Addresses_of_the_callers_choice()
    {
        IommuDomain domain = IommuDomain.Create(driver, frames);
        domain.Attach(StreamId.Pci(bus: 0, device: 5, function: 0));
        domain.Map(new Iova(0x4000_0000), PhysRange.FromLength(new PhysAddr(2 << 20), 2 << 20), Access.ReadWrite);
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, StreamId.Pci(bus: 0, device: 5, function: 0));
        Assert.True(master.Write(new(0x4000_0000), [1]).Ok);
        domain.Protect(IovaRange.FromLength(new Iova(0x4000_0000), 4096), Access.Read);
        Assert.False(master.Write(new(0x4000_0000), [1]).Ok);

        PhysAddr where = domain.IovaToPhys(new Iova(0x4000_1234));      // read from the table, without a lock
        Assert.Equal(new PhysAddr((2 << 20) + 0x1234), where);

        // Strict: when Unmap returns no device reaches the page. A page may be taken out of a large leaf.
        domain.Unmap(IovaRange.FromLength(new Iova(0x4000_0000), 4096));
        Assert.False(master.Read(new(0x4000_0000), new byte[1]).Ok);
        Assert.True(master.Read(new(0x4000_2000), new byte[1]).Ok);

        // Many unmaps, one wait for the hardware.
        UnmapGather gather = domain.CreateGather();
        domain.TryUnmap(IovaRange.FromLength(new Iova(0x4000_2000), 4096), gather);
        domain.TryUnmap(IovaRange.FromLength(new Iova(0x4000_8000), 4096), gather);
        domain.Sync(gather);
        Assert.False(master.Read(new(0x4000_2000), new byte[1]).Ok);
        Assert.True(master.Read(new(0x4000_3000), new byte[1]).Ok);
    }

    [Fact]
    public void Addresses_of_the_librarys_choice()
    {
        IommuDomain domain = IommuDomain.Create(driver, frames);
        domain.Attach(StreamId.Pci(bus: 0, device: 5, function: 0));
        var queue = new FlushQueue();
        var addresses = new RangeAllocator(new IovaRange(new Iova(0x10_0000), new Iova(0xFFFF_FFFF)));
        var mapping = new DmaMapping<Ram>(domain, addresses, ram.Port, frames, new() { Deferred = queue });
        Iova packet = mapping.MapSingle(new PhysAddr(0x60_0123), 1500, DmaDirection.ToDevice);
        (PhysAddr ring, Iova ringForDevice) = mapping.AllocateCoherent(4096);
        var master = new BusMaster<Ram, NoSteps>(vtd, ram.Port, StreamId.Pci(bus: 0, device: 5, function: 0));
        Assert.True(master.Read(packet, new byte[1500]).Ok);
        Assert.True(master.Write(ringForDevice, [1, 2, 3, 4, 5, 6, 7, 8]).Ok);
        Assert.Equal(0x0807_0605_0403_0201UL, ram.Port.Read64(ring));

        // Scattered pieces are one range for the device; a device that does not snoop is told what was written, and the CPU reads after it.
        PhysRange[] pieces = [PhysRange.FromLength(new PhysAddr(0x70_0800), 0x800), PhysRange.FromLength(new PhysAddr(0x90_0000), 0x1000)];
        Iova list = mapping.MapScatterGather(pieces, DmaDirection.Bidirectional);
        mapping.SyncForDevice(list, 0x1800);
        Assert.True(master.Write(list + 0x7F8, [1, 2, 3, 4, 5, 6, 7, 8, 9]).Ok);
        mapping.SyncForCpu(list, 0x1800);
        Assert.Equal(9UL, ram.Port.Read64(new(0x90_0000)) & 0xFF);
        mapping.Unmap(list, 0x1800);

        mapping.Unmap(packet, 1500, whenUnreachable: null);
        mapping.FreeCoherent(ringForDevice, 4096);

        // By count, by age (looked at by adds and TryPoll: there is no timer), or now.
        queue.Flush();
        Assert.False(master.Read(packet, new byte[1]).Ok);
        Assert.False(master.Read(ringForDevice, new byte[1]).Ok);
    }

    [Fact]
    public void A_table_without_a_manager()
    {
        // Pages for tables are set aside first, so that mapping cannot run out.
        var format = new TableFormat(X86FirstStage.Encoding, LevelCount: 4, LeafLevels: 0b0110);
        PageTable<X86FirstStage, Ram>.TryCreate(ram.Port, frames, format, out PageTable<X86FirstStage, Ram>? table);
        PhysRange[] memory = [PhysRange.FromLength(new PhysAddr(2 << 20), 2 << 20), PhysRange.FromLength(new PhysAddr(8 << 20), 4096)];
        var pages = new TablePagePool();
        pages.TryFill(frames, 4096, table!.CountMissingTables(new Iova(0x4000_0000), memory));
        table.Map(new Iova(0x4000_0000), memory, Access.ReadWrite, pages);     // one large leaf, and a small one
        pages.ReturnAll(frames);
        table.TryWalk(new Iova(0x4020_0123), out Translation translation);
        Assert.Equal(new PhysAddr((8 << 20) + 0x123), translation.Address);

        // What changes is gathered. You make the hardware forget it; then the pages go back that nothing leads to any more.
        var changed = new InvalidationGather();
        table.Unmap(IovaRange.FromLength(new Iova(0x4020_0000), 4096), changed);
        foreach (IovaRange range in changed.Ranges) Forget(range, changed.LeavesOnly);
        table.Release(changed);

        // The mapping, read back from memory, and whatever should not be there.
        TableAudit audit = table.Audit();
        Assert.Empty(audit.Malformed);
        Assert.Equal(2UL << 20, audit.Mapping[0].Range.ByteCount);
        Assert.Contains(forgotten, range => range.Contains(new Iova(0x4020_0000)));
        table.Free();
    }

    private readonly List<IovaRange> forgotten = [];

    private void Forget(IovaRange range, bool leavesOnly)
    {
        Assert.True(leavesOnly);        // the table stays, and so may what is cached of the way to it
        forgotten.Add(range);
    }

    [Fact]
    public void Allocators_without_a_manager()
    {
        // Device addresses: at any alignment, from either end, within bounds, at a place; a cache for each thread before it.
        var space = new RangeAllocator(new IovaRange(new Iova(0), new Iova(0xFFFF_FFFF)));
        space.TryAllocateAt(IovaRange.FromLength(new Iova(0xFEE0_0000), 1 << 20));
        var addresses = new CachedRangeAllocator(space);
        addresses.TryAllocate(8 << 20, alignment: 2 << 20, Placement.TopDown, within: space.Space, out IovaRange high);
        addresses.TryAllocate(4096, alignment: 4096, out IovaRange page);
        addresses.TryFree(page);
        Assert.Equal(new Iova(0xFF80_0000), high.First);

        // Physical memory: banks by type and coherence, blocks of a power of two, pieces of any length.
        var near = new MemoryBank(PhysRange.FromLength(new PhysAddr(16 << 20), 8 << 20), new MemoryType("near"), IsCoherent: true);
        var far = new MemoryBank(PhysRange.FromLength(new PhysAddr(1UL << 32), 1UL << 30), new MemoryType("far"), IsCoherent: false);
        var banks = new BankedFrames([near, far]);
        banks.TryAllocate(2 << 20, new MemoryRequest(new MemoryType("far")), out PhysAddr block);
        banks.TryAllocateContiguous(3 * 4096, alignment: 4096, new MemoryRequest(MustBeCoherent: true), out PhysAddr piece);
        VcmmError error = banks.TryFree(new PhysAddr(block.Value + 4096));      // none of its own: Invalid
        Assert.Equal((true, true, VcmmError.Invalid), (far.Range.Contains(block), near.Range.Contains(piece), error));
        Assert.Equal(VcmmError.None, banks.TryFree(block));
        Assert.Equal(VcmmError.Invalid, banks.TryFree(block));
    }

    [Fact]
    public void The_cpu_as_one_more_association()
    {
        var manager = new VcmManager(frames);
        var cpus = new SimpleCpus(ram.Port);
        var mmu = new CpuMmu<X86FirstStage, Ram>(cpus, ram.Port);
        Vcm shared = manager.CreateVcm(IovaRange.FromLength(new Iova(0x1000_0000), 1 << 30));
        Association cpu = shared.Associate(manager.AddDevice(mmu, new StreamId(0)));
        cpu.Activate();
        Reservation view = shared.Reserve(1 << 16, Access.ReadWrite);
        PhysicalAllocation page = manager.Allocate(1 << 16);
        view.Back(page);            // no shootdown: what was absent is in no TLB
        Assert.Equal(0, mmu.Counters.Shootdowns);
        Assert.NotNull(cpus.Read(0, new(0), view.Range.First));
        Iova first = view.Range.First;
        view.Unback();              // one
        Assert.Equal(1, mmu.Counters.Shootdowns);
        Assert.Null(cpus.Read(0, new(0), first));
    }
}

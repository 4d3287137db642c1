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

/// <summary>The examples of docs/library.md, "Parts by themselves", compiled and run. Keep the two the same.</summary>
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
        mapping.Unmap(packet, 1500, whenUnreachable: null);
        mapping.FreeCoherent(ringForDevice, 4096);

        // By count, by age (looked at by adds and TryPoll: there is no timer), or now.
        queue.Flush();
        Assert.False(master.Read(packet, new byte[1]).Ok);
        Assert.False(master.Read(ringForDevice, new byte[1]).Ok);
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

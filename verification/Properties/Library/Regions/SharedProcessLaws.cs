using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// Shared virtual addressing with the process on simulated cores: one unmap of the CPU's reaches the TLB of every core, the IOTLB and the
/// TLB of every device (I4), each under its own tag.
/// </summary>
public sealed class SharedProcessLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly PageRequestSystem _system = new();
    private readonly SimulatedCpus _cpus;
    private readonly TableFormat _format;
    private readonly List<Vcm> _sharing = [];
    private readonly Vcm _process;

    public SharedProcessLaws()
    {
        _cpus = new(_system.Memory, new() { CoreCount = 2 });
        _format = _system.Driver.Formats.Single(format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == 4);
        Assert.Equal(_format, _cpus.Format);
        // The notifier of a kernel: those that share the table forget before its memory goes to others.
        var mmu = new NotifyingIommu(new CpuMmu<X86FirstStage, Ram>(_cpus, _system.Memory), Notify);
        _process = _system.Manager.CreateVcm(IovaRange.FromLength(new(0x7000_0000_0000), 1UL << 30));
        _process.Associate(_system.Manager.AddDevice(mmu, new(0))).Activate();
        for (int core = 0; core < 2; core++) Assert.True(_cpus.Enter(core, 0));
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void One_unmap_of_the_CPU_reaches_every_core_the_IOTLB_and_every_devices_TLB()
    {
        PhysicalAllocation memory = _system.Manager.Allocate(4 * Page, ChunkSizes.Size4K, scattered: true);
        for (ulong page = 0; page < 4; page++) _system.Memory.Write64(memory.AddressAt(page * Page), 0x10 + page);
        Reservation view = _process.Map(memory);
        BusMaster<Ram, StepHook> plain = Join(out AtsDevice<Ram, StepHook> keeping, out AtsDevice<Ram, StepHook> other);
        Iova first = view.Range.First;
        for (ulong page = 0; page < 4; page++)
        {
            Iova at = first + page * Page;
            Assert.Equal([true, true, true, true, true], WhoReads(at, 0x10 + page));
        }

        // The simulator is asked, so that it is known that there is something to forget everywhere.
        Assert.All(_cpus.Cluster.Cores, core => Assert.Contains(core.Tlb, entry => entry.Range.Contains(first)));
        Assert.Equal([3u, 5u, 9u], _system.Simulator.Iotlb.Where(entry => entry.Range.Contains(first)).Select(entry => entry.Pasid!.Value.Value).Order());
        Assert.Contains(keeping.Tlb, entry => entry.Range.Contains(first));
        Assert.Contains(other.Tlb, entry => entry.Range.Contains(first));

        long shootdowns = _cpus.Cluster.Statistics.Shootdowns, commands = _system.Simulator.Statistics.DeviceTlbInvalidations;
        view.Unback(0, 2 * Page);
        Assert.Equal(shootdowns + 1, _cpus.Cluster.Statistics.Shootdowns);
        Assert.True(_system.Simulator.Statistics.DeviceTlbInvalidations >= commands + 2);
        for (ulong page = 0; page < 4; page++) Assert.Equal(Enumerable.Repeat(page >= 2, 5), WhoReads(first + page * Page, 0x10 + page));

        // Narrowed: everybody reads and nobody writes.
        view.SetAttributes(Access.Read);
        Assert.Equal([true, true, true, true, true], WhoReads(first + 2 * Page, 0x12));
        Assert.Equal([false, false, false, false, false], WhoWrites(first + 2 * Page));
        Assert.Equal(0x12UL, _system.Memory.Read64(memory.AddressAt(2 * Page)));

        // Given to the process again: devices find it without being told, since nobody keeps that something is absent.
        view.Unback();
        view.SetAttributes(Access.ReadWrite);
        view.Back(memory);
        Assert.Equal([true, true, true, true, true], WhoReads(first, 0x10));

        view.Unmap();
        memory.Free();
        Assert.Equal([false, false, false, false, false], WhoReads(first, 0x10));

        bool[] WhoReads(Iova at, ulong expected) => [.. _cpus.Cluster.Cores.Select(core => CoreReads(core, at, expected)), PlainReads(at, expected), Reads(keeping, 5, at, expected), Reads(other, 9, at, expected)];

        bool[] WhoWrites(Iova at) =>
        [
            .. _cpus.Cluster.Cores.Select(core => core.Write(at, new byte[8]).Ok), plain.Write(at, new byte[8], Prefix(3)).Ok,
            keeping.Write(at, new byte[8], Prefix(5)).Outcome == AccessOutcome.Completed, other.Write(at, new byte[8], Prefix(9)).Outcome == AccessOutcome.Completed,
        ];

        bool PlainReads(Iova at, ulong expected)
        {
            byte[] word = new byte[8];
            if (!plain.Read(at, word, Prefix(3)).Ok) return false;
            Assert.Equal(expected, BitConverter.ToUInt64(word));
            return true;
        }
    }

    /// <summary>Who is not told goes on: what makes the law above hold is that the process's unmap is told.</summary>
    [Fact]
    public void Without_the_notifier_devices_go_on_and_cores_do_not()
    {
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        _system.Memory.Write64(memory.AddressAt(0), 7);
        Reservation view = _process.Map(memory);
        Join(out AtsDevice<Ram, StepHook> keeping, out _);
        Assert.True(Reads(keeping, 5, view.Range.First, 7));
        Assert.True(CoreReads(_cpus.Cluster.Cores[0], view.Range.First, 7));
        Vcm[] told = [.. _sharing];
        _sharing.Clear();
        view.Unback();
        Assert.False(CoreReads(_cpus.Cluster.Cores[0], view.Range.First, 7));
        Assert.True(Reads(keeping, 5, view.Range.First, 7));
        foreach (Vcm shared in told) shared.Invalidate(IovaRange.FromLength(view.Range.First, Page));
        Assert.False(Reads(keeping, 5, view.Range.First, 7));
    }

    /// <summary>What devices do with the shared table is not the CPU's: I9 for a device that comes and goes.</summary>
    [Fact]
    public void A_device_that_comes_and_goes_costs_the_CPU_nothing()
    {
        Binding binding = _process.Bind(2 * Page);
        (CpuStatistics Cores, int Leaves) before = (_cpus.Cluster.Statistics, LeafCount());
        Vcm shared = Share();
        (Device device, AtsDevice<Ram, StepHook> hardware) = _system.AddDevice(0x20);
        Association association = shared.Associate(device, new() { Format = _format, Pasid = new(5) });
        association.Activate();
        Assert.Equal(AccessOutcome.Completed, hardware.Write(binding.Reservation.Range.First, new byte[8], Prefix(5)).Outcome);
        association.Deactivate();
        association.Deassociate();
        shared.Free();
        Assert.Equal(before, (_cpus.Cluster.Statistics, LeafCount()));
    }

    private void Notify(PhysAddr root, IovaRange range)
    {
        foreach (Vcm shared in _sharing) shared.Invalidate(range);
    }

    private Vcm Share()
    {
        Vcm shared = _system.Manager.AdoptVcm(_process.Range, _format, _cpus.Loaded[0].Root);
        _sharing.Add(shared);
        return shared;
    }

    /// <summary>A device without a TLB, and two with, each under a PASID of its own.</summary>
    private BusMaster<Ram, StepHook> Join(out AtsDevice<Ram, StepHook> keeping, out AtsDevice<Ram, StepHook> other)
    {
        var keeps = new AtsDeviceOptions { TlbEntries = 64, PageRequests = false };
        (Device First, AtsDevice<Ram, StepHook> Hardware) one = _system.AddDevice(0x20, keeps), two = _system.AddDevice(0x28, keeps);
        Device third = _system.Manager.AddDevice(_system.Driver, new(0x30));
        Vcm shared = Share();
        foreach ((Device device, uint pasid) in (IEnumerable<(Device, uint)>)[(one.First, 5), (two.First, 9), (third, 3)])
            shared.Associate(device, new() { Format = _format, Pasid = new(pasid) }).Activate();
        (keeping, other) = (one.Hardware, two.Hardware);
        return new(_system.Simulator, _system.Memory, new(0x30));
    }

    private int LeafCount()
    {
        Assert.True(_process.TryGetTable(_format, out IPageTable? table));
        return table!.Leaves().Count();
    }

    private static PasidPrefix Prefix(uint pasid) => new(new(pasid));

    private static bool CoreReads(CpuCore<Ram, NoSteps> core, Iova at, ulong expected)
    {
        byte[] word = new byte[8];
        if (!core.Read(at, word).Ok) return false;
        Assert.Equal(expected, BitConverter.ToUInt64(word));
        return true;
    }

    private static bool Reads(AtsDevice<Ram, StepHook> device, uint pasid, Iova at, ulong expected)
    {
        DmaTransfer transfer = device.Read(at, sizeof(ulong), Prefix(pasid));
        if (transfer.Outcome != AccessOutcome.Completed) return false;
        Assert.Equal(expected, BitConverter.ToUInt64(transfer.Data));
        return true;
    }
}

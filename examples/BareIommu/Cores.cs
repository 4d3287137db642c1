using IommuSim;
using IommuSim.Cpu;
using Platform;
using Scalable = BareIommu.ScalableUnit<IommuSim.NoSteps>;

namespace BareIommu;

/// <summary>x86-64 cores and a device that use one table: shared virtual addressing.</summary>
internal static class Cores
{
    public static void Run(TextWriter output)
    {
        using var machine = new Scalable(VtdOptions.Scalable);
        var device = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);

        // Two cores; the process's table is the one that PASID 5 names. Both cores run in it, then the second has nothing to do.
        var cores = new CpuCluster<Ram, NoSteps>(machine.Memory, CpuOptions.Default);
        var tag = new Pcid(1);
        cores.Load(space: 1, Scalable.ProcessRoot, tag);
        cores.Enter(core: 0, space: 1);
        cores.Enter(core: 1, space: 1);
        machine.SetFirst(page: 2, Scalable.FrameAt(3) | Scalable.PresentWriteUser);
        cores.Cores[0].Write(new Iova(0x2000), "shared"u8);
        cores.Cores[1].Read(new Iova(0x2000), new byte[1]);
        cores.GoIdle(core: 1);
        var seen = new byte[6];
        device.Read(new Iova(0x2000), seen, Scalable.Process);
        output.WriteLine($"a core writes, the device reads at the same address: \"{System.Text.Encoding.ASCII.GetString(seen)}\"");

        // A core that does not find a page says so with the architecture's error code.
        CpuResult fault = cores.Cores[0].Write(new Iova(0x7000), [1]);
        output.WriteLine($"a write to 0x7000: {fault.Outcome}, error code {(int)fault.Code} ({fault.Code}), CR2 {fault.FaultAddress}");

        // One unmap: the entry, a shootdown of the cores, and a command for the device; the page is free when both are over.
        machine.SetFirst(page: 2, 0);
        CpuShootdown shootdown = cores.Send([new TlbFlush(tag, IovaRange.FromLength(new Iova(0x2000), 4096), LeavesOnly: true)]);
        machine.InvalidateFirst(page: 2);
        bool isOver = machine.Wait() && shootdown.IsComplete;
        CpuStatistics counts = cores.Statistics;
        output.WriteLine($"unmapped, {(isOver ? "both are over" : "not over")}: {counts.Interrupts} interrupt, {counts.Deferrals} idle core left alone, which still has {cores.Cores[1].Tlb.Count} page");
        cores.Enter(core: 1, space: 1);
        output.WriteLine($"it comes back: {cores.Cores[1].Read(new Iova(0x2000), new byte[1]).Outcome}; the device: {device.Read(new Iova(0x2000), new byte[1], Scalable.Process).Reason}");

        // The same by broadcast: no core is interrupted.
        var broadcast = new CpuCluster<Ram, NoSteps>(machine.Memory, CpuOptions.Default with { Shootdown = ShootdownMethod.Broadcast });
        broadcast.Load(space: 1, Scalable.ProcessRoot, tag);
        broadcast.Enter(core: 0, space: 1);
        shootdown = broadcast.Send([new TlbFlush(tag, IovaRange.FromLength(new Iova(0x2000), 4096))]);
        output.WriteLine($"by broadcast: {(shootdown.IsComplete ? "over" : "not over")}, {broadcast.Statistics.Interrupts} interrupts, {broadcast.Statistics.Broadcasts} cores reached");
    }
}

using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>Cores of a <see cref="RawCpu"/> with an address space 0, in which two pages are mapped, and sometimes another, in which none is.</summary>
internal static class RawCores
{
    public const ulong Other = 0x50000;

    public static readonly Pcid Tag = new(7);

    public static RawCpu Started(CpuOptions? options = null, Action<SimStep, ulong>? hook = null)
    {
        var cpu = new RawCpu(options ?? CpuOptions.Default with { CoreCount = 3 }, hook);
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All);
        cpu.Cluster.Load(0, new(cpu.Root), Tag);
        return cpu;
    }

    public static TlbFlush Page(ulong page = 0) => new(Tag, IovaRange.FromLength(new(page << 12), 4096), LeavesOnly: true);

    public static bool Reads(RawCpu cpu, int core, ulong page = 0) => cpu.Cluster.Cores[core].Read(new(page << 12), new byte[8]).Ok;

    public static void EnterAll(RawCpu cpu)
    {
        foreach (CpuCore<Ram, Hook> core in cpu.Cluster.Cores)
        {
            Assert.True(cpu.Cluster.Enter(core.Number, 0));
            Assert.True(Reads(cpu, core.Number));
        }
    }

    /// <summary>All cores know the pages; then the last is idle there, or elsewhere.</summary>
    public static void Leave(RawCpu cpu, bool isIdle)
    {
        cpu.Cluster.Load(1, new(Other), new(8));
        EnterAll(cpu);
        if (isIdle) cpu.Cluster.GoIdle(2);
        else cpu.Cluster.Enter(2, 1);
    }
}

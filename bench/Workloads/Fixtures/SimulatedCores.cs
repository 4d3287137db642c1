using IommuSim;
using IommuSim.Cpu;
using Platform;

namespace Workloads.Fixtures;

/// <summary>
/// Simulated cores, all in one address space whose table of four levels maps its first 512 pages to frames one behind the other. Accessed
/// and dirty flags are set, so that a walk only reads.
/// </summary>
internal sealed class SimulatedCores : IDisposable
{
    public const int PageCount = 512;
    public const int PageBytes = 4096;
    public const int Levels = 4;

    /// <summary>P, R/W, U/S, A, D.</summary>
    public const ulong Flags = 0x67;

    private const ulong Tables = 0x1000, Frames = 0x100000;
    private const uint Space = 1;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), Frames + PageCount * PageBytes));

    public SimulatedCores(CpuOptions options)
    {
        Memory = _ram.Port;
        for (ulong level = 0; level < Levels - 1; level++) Memory.Write64(new(Tables + level * PageBytes), (Tables + (level + 1) * PageBytes) | Flags);
        for (ulong page = 0; page < PageCount; page++) Memory.Write64(new(Tables + (Levels - 1) * PageBytes + page * 8), (Frames + page * PageBytes) | Flags);
        Cluster = new(Memory, options);
        Cluster.Load(Space, Root, Tag);
        for (int core = 0; core < options.CoreCount; core++) Require.That(Cluster.Enter(core, Space), "the core enters");
    }

    public static PhysAddr Root => new(Tables);

    public static Pcid Tag => new(1);

    public Ram Memory { get; }

    public CpuCluster<Ram, NoSteps> Cluster { get; }

    public static Iova PageAt(int page) => new((ulong)page * PageBytes);

    public static PhysAddr FrameAt(int page) => new(Frames + (ulong)page * PageBytes);

    public void Dispose() => _ram.Dispose();
}

using IommuSim;
using IommuSim.Cpu;
using Platform;

namespace Conformance.Simulator;

/// <summary>
/// Simulated cores with 8 MiB of memory, and tables written word by word as the architecture's figures show them: P is bit 0, R/W 1, U/S 2,
/// A 5, D 6, PS 7, G 8, XD 63.
/// </summary>
internal sealed class RawCpu : IDisposable
{
    public const ulong Table5 = 0x1F000, Table4 = 0x20000, Table3 = 0x21000, Table2 = 0x22000, Table1 = 0x23000;
    public const ulong FrameA = 0x100000, FrameB = 0x101000, FrameC = 0x102000;
    public const ulong MemoryBytes = 8 << 20;
    public const ulong P = 1, W = 2, U = 4, A = 0x20, D = 0x40, Ps = 0x80, G = 0x100, Xd = 1UL << 63;
    public const ulong All = P | W | U;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), MemoryBytes));

    public RawCpu(CpuOptions? options = null, Action<SimStep, ulong>? hook = null)
    {
        Memory = _ram.Port;
        Cluster = new(Memory, options ?? CpuOptions.Default, new Hook(hook));
        Write(Table5, Table4 | All);
        Write(Table4, Table3 | All);
        Write(Table3, Table2 | All);
        Write(Table2, Table1 | All);
        Memory.Write64(new(FrameA), 0xAA);
        Memory.Write64(new(FrameB), 0xBB);
        Memory.Write64(new(FrameC), 0xCC);
    }

    public Ram Memory { get; }

    public CpuCluster<Ram, Hook> Cluster { get; }

    public CpuCore<Ram, Hook> Core => Cluster.Cores[0];

    public ulong Root => Cluster.Options.Levels == 5 ? Table5 : Table4;

    public void Dispose() => _ram.Dispose();

    /// <summary>The same, with CR3 of the first core loaded.</summary>
    public RawCpu Loaded()
    {
        Core.LoadCr3(new(Root));
        return this;
    }

    public void Write(ulong address, ulong value) => Memory.Write64(new(address), value);

    public ulong Entry(ulong address) => Memory.Read64(new(address));

    /// <summary>A last-level entry of the first 2 MiB.</summary>
    public void SetPage(ulong page, ulong entry) => Write(Table1 + page * 8, entry);

    public CpuTranslation Translate(ulong address, CpuAccess access = CpuAccess.Read, CpuPrivilege privilege = CpuPrivilege.User) =>
        Core.Translate(new(address), access, privilege);

    public void AssertReaches(ulong expected, ulong address, CpuAccess access = CpuAccess.Read, CpuPrivilege privilege = CpuPrivilege.User) =>
        Assert.Equal(new CpuTranslation(CpuOutcome.Done, new(expected), PageFaultCode.None), Translate(address, access, privilege));

    public void AssertFault(PageFaultCode code, ulong address, CpuAccess access = CpuAccess.Read, CpuPrivilege privilege = CpuPrivilege.User) =>
        Assert.Equal(new CpuTranslation(CpuOutcome.PageFault, default, code), Translate(address, access, privilege));
}

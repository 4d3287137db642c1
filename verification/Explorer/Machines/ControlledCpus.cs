using Explorer.Scheduling;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Explorer.Machines;

/// <summary>The simulator's cores as the library's CPUs in a schedule: what a kernel does between the two.</summary>
/// <remarks>
/// An interrupt to a core that executes nothing is taken on the sender's thread. So whoever waits for a shootdown waits for accesses that
/// are under way, and each end of an access is an event: no schedule waits in a loop.
/// </remarks>
public class ControlledCpus : ICpuPort
{
    private const uint Process = 0;
    private readonly CpuOptions _options;
    private long _accessesEnded;

    /// <summary>The cores.</summary>
    /// <param name="memory">Where tables and data are.</param>
    /// <param name="options">Which.</param>
    /// <param name="steps">Where steps are noted.</param>
    public ControlledCpus(ControlledMemory memory, CpuOptions options, ControlledSteps steps)
    {
        _options = options;
        Cluster = new(memory, options, steps);
        Format = new(X86FirstStage.Encoding, options.Levels, options.Pages1G ? 0b1110u : 0b0110u);
    }

    /// <summary>The cores.</summary>
    public CpuCluster<ControlledMemory, ControlledSteps> Cluster { get; }

    /// <summary>Under which the cores cache the process's translations; null before it has a table.</summary>
    public Pcid? Tag { get; private set; }

    /// <summary>The root of the process's table; null while it has none.</summary>
    public PhysAddr? Root { get; private set; }

    /// <summary>Whether a shootdown had to wait for an access that was under way.</summary>
    public bool WaitedForAccess { get; private set; }

    /// <inheritdoc/>
    public int CoreCount => _options.CoreCount;

    /// <inheritdoc/>
    public TableFormat Format { get; }

    /// <inheritdoc/>
    public uint AddressSpaceCount => 1;

    /// <inheritdoc/>
    public uint TagCount => 1 << 12;

    /// <inheritdoc/>
    public uint HardwareVersion => 1;

    /// <inheritdoc/>
    public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
    {
        Cluster.Load(addressSpace.Value, root, TagOf(tag));
        Tag = TagOf(tag);
        Root = root;
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
    {
        Wait(Cluster.Unload(addressSpace.Value));
        Root = null;
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public virtual VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
    {
        Wait(Cluster.Send(ToTlb(flushes), Cluster.AllCores));
        return VcmmError.None;
    }

    /// <summary>A core runs in the process from now on.</summary>
    public virtual void Enter(int core)
    {
        if (!Cluster.Enter(core, Process)) throw new InvalidOperationException("the process has no table");
    }

    /// <summary>A core has nothing to do in the process.</summary>
    public virtual void GoIdle(int core) => Cluster.GoIdle(core);

    /// <summary>Eight bytes are read or written on a core, by the process.</summary>
    public CpuResult Access(int core, Iova address, Access kind)
    {
        CpuCore<ControlledMemory, ControlledSteps> executing = Cluster.Cores[core];
        Span<byte> bytes = stackalloc byte[8];
        CpuResult result = kind == Vcmm.Access.Read ? executing.Read(address, bytes) : executing.Write(address, bytes);
        _accessesEnded++;
        return result;
    }

    /// <summary>As the cores are told.</summary>
    protected static TlbFlush[] ToTlb(ReadOnlySpan<CpuFlush> flushes)
    {
        var all = new TlbFlush[flushes.Length];
        for (int i = 0; i < all.Length; i++) all[i] = new(TagOf(flushes[i].Tag), flushes[i].IsAll ? null : flushes[i].Range, flushes[i].LeavesOnly);
        return all;
    }

    /// <summary>Waits until a shootdown is over.</summary>
    protected void Wait(CpuShootdown shootdown)
    {
        while (true)
        {
            long seen = _accessesEnded;
            if (shootdown.IsComplete) return;
            WaitedForAccess = true;
            Controlled.WaitUntil(() => _accessesEnded != seen);
        }
    }

    private static Pcid TagOf(DomainId tag) => new((ushort)tag.Value);
}

using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Harness.Running;

/// <summary>The simulator's cores as the library's CPUs: what a kernel does between the two.</summary>
/// <remarks><b>Threads.</b> As <see cref="ICpuPort"/>; for one core's <see cref="Enter"/> as for what it executes.</remarks>
/// <param name="memory">Where tables and data are.</param>
/// <param name="options">The cores.</param>
public class SimulatedCpus(Ram memory, CpuOptions options) : ICores
{
    // Without tags a tag is a name only; the library counts them from 1.
    private const uint MostTags = 1 << 12;

    private readonly object _gate = new();
    private readonly Dictionary<uint, (Pcid Tag, PhysAddr Root)> _loaded = [];
    private readonly List<CpuShootdown> _late = [];

    /// <summary>The cores.</summary>
    public CpuCluster<Ram, NoSteps> Cluster { get; } = new(memory, options);

    /// <inheritdoc/>
    public CpuOptions Options => options;

    /// <inheritdoc/>
    public CpuStatistics Statistics => Cluster.Statistics;

    /// <inheritdoc/>
    public IReadOnlyDictionary<uint, (Pcid Tag, PhysAddr Root)> Loaded
    {
        get
        {
            lock (_gate) return new Dictionary<uint, (Pcid, PhysAddr)>(_loaded);
        }
    }

    /// <summary>
    /// How often a shootdown that is not complete is looked at: a core that does not take its interrupt, once the others have, is not
    /// waited for without end. Where cores execute on other threads, which may not run for a while, it takes more.
    /// </summary>
    public int MostSpins { get; set; } = 20_000;

    /// <inheritdoc/>
    public int CoreCount => options.CoreCount;

    /// <inheritdoc/>
    public TableFormat Format { get; } = new(X86FirstStage.Encoding, options.Levels, options.Pages1G ? 0b1110u : 0b0110u);

    /// <inheritdoc/>
    public uint AddressSpaceCount { get; init; } = 4;

    /// <inheritdoc/>
    public uint TagCount => options.ProcessContextIds ? MostTags : 0;

    /// <inheritdoc/>
    public uint HardwareVersion => 1;

    /// <inheritdoc/>
    public virtual VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
    {
        if (!IsSettled()) return VcmmError.HardwareFailure;
        Load(addressSpace.Value, new((ushort)tag.Value), root);
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public virtual VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
    {
        if (!IsSettled()) return VcmmError.HardwareFailure;
        (Pcid Tag, PhysAddr Root) table;
        lock (_gate) _loaded.Remove(addressSpace.Value, out table);
        VcmmError error = Wait(Cluster.Unload(addressSpace.Value));
        // The process keeps its table; nothing more is done before the core that is late has answered.
        if (error != VcmmError.None) Load(addressSpace.Value, table.Tag, table.Root);
        return error;
    }

    /// <inheritdoc/>
    public virtual VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes) => Shootdown(flushes, Cluster.AllCores);

    /// <inheritdoc/>
    public virtual bool Enter(int core, uint process) => Cluster.Enter(core, process);

    /// <inheritdoc/>
    public virtual void GoIdle(int core) => Cluster.GoIdle(core);

    /// <inheritdoc/>
    public CpuResult Load(int core, Iova address, Span<byte> destination, bool fetches) =>
        fetches ? Cluster.Cores[core].Fetch(address, destination) : Cluster.Cores[core].Read(address, destination);

    /// <inheritdoc/>
    public CpuResult Store(int core, Iova address, ReadOnlySpan<byte> source) => Cluster.Cores[core].Write(address, source);

    /// <inheritdoc/>
    public IEnumerable<CoreState> Look() => Cluster.Cores.Select(static core => new CoreState(core.Number, core.Cr3, core.Tlb, core.PagingStructures));

    /// <inheritdoc/>
    public bool OwesFlush(int core, Pcid tag) => Cluster.OwesFlush(core, tag);

    /// <summary>Makes some cores forget, and waits for them.</summary>
    protected VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes, CoreSet targets)
    {
        if (!IsSettled()) return VcmmError.HardwareFailure;
        var all = new TlbFlush[flushes.Length];
        for (int i = 0; i < all.Length; i++)
            all[i] = new(new((ushort)flushes[i].Tag.Value), flushes[i].IsAll ? null : flushes[i].Range, flushes[i].LeavesOnly);
        return Wait(Cluster.Send(all, targets));
    }

    private void Load(uint process, Pcid tag, PhysAddr root)
    {
        Cluster.Load(process, root, tag);
        lock (_gate) _loaded.Add(process, (tag, root));
    }

    /// <summary>Whether every core has answered what it was not waited for to the end.</summary>
    private bool IsSettled()
    {
        lock (_gate)
        {
            _late.RemoveAll(static shootdown => shootdown.IsComplete);
            return _late.Count == 0;
        }
    }

    private VcmmError Wait(CpuShootdown shootdown)
    {
        var wait = default(SpinWait);
        while (!shootdown.IsComplete)
        {
            if (wait.Count == MostSpins)
            {
                lock (_gate) _late.Add(shootdown);
                return VcmmError.HardwareFailure;
            }

            wait.SpinOnce(sleep1Threshold: -1);
        }

        return VcmmError.None;
    }
}

using Explorer.Races;
using Explorer.Scheduling;
using Harness.Running;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Explorer.Machines;

/// <summary>The simulator's cores as the library's CPUs in a schedule: what a kernel does between the two.</summary>
/// <remarks>
/// An interrupt to a core that executes nothing is taken on the sender's thread, and so is that of another sender which is still there. So whoever waits for a
/// shootdown waits for accesses that are under way, and for whoever else acknowledges; the end of each thing that may have acknowledged is an event: no schedule
/// waits in a loop.
/// </remarks>
public class ControlledCpus : ICores
{
    private const uint MostTags = 1 << 12;
    private readonly CpuOptions _options;
    private readonly ControlledSteps _steps;
    private readonly Dictionary<uint, (Pcid Tag, PhysAddr Root)> _loaded = [];
    private readonly Dictionary<string, long> _shootdowns = [];
    private long _events;

    /// <summary>The cores.</summary>
    /// <param name="memory">Where tables and data are.</param>
    /// <param name="options">Which.</param>
    /// <param name="steps">Where steps are noted.</param>
    public ControlledCpus(ControlledMemory memory, CpuOptions options, ControlledSteps steps)
    {
        _options = options;
        _steps = steps;
        Cluster = new(memory, options, steps);
        Format = new(X86FirstStage.Encoding, options.Levels, options.Pages1G ? 0b1110u : 0b0110u);
    }

    /// <summary>The cores.</summary>
    public CpuCluster<ControlledMemory, ControlledSteps> Cluster { get; }

    /// <inheritdoc/>
    public CpuOptions Options => _options;

    /// <inheritdoc/>
    public CpuStatistics Statistics => Cluster.Statistics;

    /// <inheritdoc/>
    public IReadOnlyDictionary<uint, (Pcid Tag, PhysAddr Root)> Loaded => _loaded;

    /// <summary>The search for races; null: there is none.</summary>
    internal AccessRaces? Races { get; set; }

    /// <summary>Whether a shootdown had to wait for an access that was under way.</summary>
    public bool WaitedForAccess { get; private set; }

    /// <inheritdoc/>
    public int CoreCount => _options.CoreCount;

    /// <inheritdoc/>
    public TableFormat Format { get; }

    /// <inheritdoc/>
    public uint AddressSpaceCount { get; set; } = 1;

    /// <inheritdoc/>
    public uint TagCount => _options.ProcessContextIds ? MostTags : 0;

    /// <inheritdoc/>
    public uint HardwareVersion => 1;

    /// <inheritdoc/>
    public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
    {
        Cluster.Load(addressSpace.Value, root, TagOf(tag));
        _loaded[addressSpace.Value] = (TagOf(tag), root);
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
    {
        Count();
        Wait(Cluster.Unload(addressSpace.Value));
        _loaded.Remove(addressSpace.Value);
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public virtual VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
    {
        Count();
        Wait(Cluster.Send(ToTlb(flushes), Cluster.AllCores));
        return VcmmError.None;
    }

    /// <summary>How often an agent made cores forget.</summary>
    public long ShootdownsOf(string agent) => _shootdowns.GetValueOrDefault(agent);

    /// <inheritdoc/>
    public virtual bool Enter(int core, uint process)
    {
        bool isThere = Cluster.Enter(core, process);
        _events++;
        return isThere;
    }

    /// <inheritdoc/>
    public virtual void GoIdle(int core)
    {
        Cluster.GoIdle(core);
        _events++;
    }

    /// <inheritdoc/>
    public CpuResult Load(int core, Iova address, Span<byte> destination, bool fetches)
    {
        CpuCore<ControlledMemory, ControlledSteps> executing = Cluster.Cores[core];
        CpuResult result = fetches ? executing.Fetch(address, destination) : executing.Read(address, destination);
        _events++;
        return result;
    }

    /// <inheritdoc/>
    public CpuResult Store(int core, Iova address, ReadOnlySpan<byte> source)
    {
        CpuResult result = Cluster.Cores[core].Write(address, source);
        _events++;
        return result;
    }

    /// <summary>Eight bytes are read, written or fetched on a core, by the process that it is in.</summary>
    public CpuResult Access(int core, Iova address, Access kind)
    {
        Span<byte> bytes = stackalloc byte[8];
        return kind == Vcmm.Access.Write ? Store(core, address, bytes) : Load(core, address, bytes, kind == Vcmm.Access.Execute);
    }

    /// <summary>Whether threads run: then whoever looks through <see cref="ICores"/> must not wait for a core, and is told of none.</summary>
    public bool IsAtWork { get; set; }

    /// <inheritdoc/>
    public IEnumerable<CoreState> Look() => IsAtWork ? [] : Cluster.Cores.Select(static core => new CoreState(core.Number, core.Cr3, core.Tlb, core.PagingStructures));

    /// <inheritdoc/>
    public bool OwesFlush(int core, Pcid tag) => Cluster.OwesFlush(core, tag);

    /// <summary>What cores may still use of a block: not what they forget before they do; null: nothing.</summary>
    public string? WhoReaches(PhysRange block)
    {
        foreach (CpuCore<ControlledMemory, ControlledSteps> core in Cluster.Cores)
        {
            // Asked first: to ask may mean to wait for a core that is coming back, which forgets meanwhile.
            (Pcid Tag, PhysAddr Root)[] owed = [.. _loaded.Values.ToArray().Where(table => Cluster.OwesFlush(core.Number, table.Tag))];
            (PhysAddr Root, Pcid Pcid)? cr3 = core.Cr3;
            // Without tags what is cached is of the process that the core is in.
            bool Owes(Pcid tag) => owed.Any(table => _options.ProcessContextIds ? table.Tag == tag : table.Root == cr3?.Root);
            foreach (TlbEntry entry in core.Tlb)
            {
                if (PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block) && !Owes(entry.Pcid))
                    return $"the TLB of core {core.Number} has {entry.Range} there";
            }

            foreach (PagingStructureEntry entry in core.PagingStructures)
            {
                // A core may walk, at any time, what is cached under the tag in its CR3.
                if (block.Contains(entry.Table) && (cr3?.Pcid == entry.Pcid || !Owes(entry.Pcid)))
                    return $"a paging-structure cache of core {core.Number} has the table of {entry.Range} there";
            }
        }

        return null;
    }

    /// <summary>The calling agent makes cores forget.</summary>
    protected void Count() => _shootdowns[Attempt.Agent] = ShootdownsOf(Attempt.Agent) + 1;

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
        // Whoever has sent has acknowledged by now what he took of others.
        _events++;
        Races?.BeginShootdown();
        while (true)
        {
            long seen = _events;
            // Who comes here when he is unwound, after the schedule's end, is not paused any more; and who would acknowledge may have been unwound, too.
            if (shootdown.IsComplete || _steps.IsOver) break;
            WaitedForAccess = true;
            Controlled.WaitUntil(() => _events != seen);
        }

        Races?.EndShootdown();
    }

    private static Pcid TagOf(DomainId tag) => new((ushort)tag.Value);
}

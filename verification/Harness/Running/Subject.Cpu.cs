using System.Runtime.InteropServices;
using Harness.Scenarios;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Spec;
using Vcmm.Tables;
using DeviceAccess = Vcmm.Spec.DeviceAccess;

namespace Harness.Running;

// The CPU: processes are devices of a CpuMmu, whose cores are the simulator's.
public sealed partial class Subject
{
    private Device[] _processes = [];
    private CpuMmu<X86FirstStage, PortMemory>? _cpu;

    /// <summary>The cores; null: the machine has none.</summary>
    public ICores? Cpus { get; private set; }

    /// <summary>What the CPU was made to do for its mappings so far.</summary>
    public CpuCost CpuCost
    {
        get
        {
            if (Cpus is null) return default;
            CpuStatistics counts = Cpus.Statistics;
            // Whatever made cores forget, and not only what the library says that it did.
            return new(counts.Shootdowns, counts.Interrupts + counts.Broadcasts, _cpu!.Counters.EntryWrites);
        }
    }

    /// <summary>Every page of the tables that processes have, as it is now, without what cores note in them.</summary>
    public Dictionary<PhysAddr, ulong[]> CpuTables()
    {
        const ulong flags = 1 << 5 | 1 << 6;
        var pages = new Dictionary<PhysAddr, ulong[]>();
        foreach ((_, PhysAddr root) in Cpus?.Loaded.Values ?? [])
        {
            foreach (PhysAddr page in Tables.Read(root, TranslationStage.FirstStage, Cpus!.Format.LevelCount).Pages)
            {
                var words = new ulong[512];
                Machine.Memory.Read(page, MemoryMarshal.AsBytes(words.AsSpan()));
                for (int i = 0; i < words.Length; i++) words[i] &= ~flags;
                pages[page] = words;
            }
        }

        return pages;
    }

    private void StartCpu(Topology topology)
    {
        if (topology.Cores == 0) return;
        Cpus = _parts.ControlledCpus is { } controlled ? controlled(topology.ToCpuOptions()) : _parts.Cpus(MemoryOfCores(topology), topology.ToCpuOptions());
        _cpu = new(Cpus, new(_parts.CpuMemory(Machine.Memory)));
        IIommu iommu = _parts.CpuIommu(new NotifyingIommu(_cpu, _parts.Telling(Notify)));
        _processes = [.. Enumerable.Range(0, topology.Processes).Select(number => _manager.AddDevice(iommu, new((uint)number)))];
    }

    private Ram MemoryOfCores(Topology topology) =>
        Machine.Memory is Ram ram ? ram : throw new BadInputException($"topology.cores is {topology.Cores}; only the simulator has cores");

    private Device DeviceOf(ObjectId id) => id.Kind == ObjectKind.Process ? _processes[id.Number] : _devices[id.Number];

    /// <summary>The root of the table that a device walks, as the machine has it.</summary>
    private PhysAddr RootOf(Association association)
    {
        int process = Array.IndexOf(_processes, association.Device);
        if (process >= 0) return Cpus!.Loaded[(uint)process].Root;
        List<DecodedSpace> spaces = Hardware.SpacesOf(this, new(Machine.Memory), Array.IndexOf(_devices, association.Device));
        return spaces.Single(space => space.Pasid == association.Pasid?.Value).Translation.Root;
    }

    private Observation Do(CoreAccess access)
    {
        uint process = (uint)access.Process.Number;
        // A process without a table has nothing.
        if (!Cpus!.Enter(access.Core.Number, process))
        {
            if (access.Kind == Permissions.Write) Stamps.NoteBlockedWrite(access.Address % World.PageBytes);
            return new(Outcome.Fault);
        }

        if (access.Kind != Permissions.Write)
        {
            Span<byte> word = stackalloc byte[sizeof(ulong)];
            CpuResult read = Cpus.Load(access.Core.Number, new(access.Address), word, fetches: access.Kind == Permissions.Execute);
            return read.Ok ? new(Outcome.None) { Reached = Stamps.WhereRead(word) } : new(Outcome.Fault);
        }

        bool wasDone = Cpus.Store(access.Core.Number, new(access.Address), Stamps.Token).Ok;
        if (!wasDone) Stamps.NoteBlockedWrite(access.Address % World.PageBytes);
        ulong? expected = Expected?.Invoke(new DeviceAccess(access.Process, access.Address, access.Kind));
        if (expected is { } at && Stamps.TakeToken(at)) return new(wasDone ? Outcome.None : Outcome.Fault) { Reached = at };
        return new(wasDone ? Outcome.None : Outcome.Fault) { Reached = wasDone ? Stamps.FindToken(access.Address % World.PageBytes) : null };
    }

    private Observation Do(GoIdle idle)
    {
        Cpus!.GoIdle(idle.Core.Number);
        return new(Outcome.None);
    }
}

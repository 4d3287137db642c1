using Explorer.Faults;
using Explorer.Oracles;
using Explorer.Scheduling;
using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Explorer.Machines;

// Cores, and devices with TLBs that may have a process's table.
public sealed partial class Machine
{
    // For the ledger, where no requester id can be.
    private const uint FirstCoreId = 0x1_0000;

    private const uint Process = 0;

    private readonly List<AtsDevice<ControlledMemory, ControlledSteps>> _tlbs = [];
    private readonly List<(PhysAddr Root, Vcm Region)> _adopters = [];
    private CoreSides? _coreSides;
    private ControlledCpus? _cpus;
    private CpuMmu<X86FirstStage, ControlledMemory>? _mmu;

    /// <summary>The cores, once there are any.</summary>
    public ControlledCpus Cpus => _cpus!;

    /// <summary>What both cores and the IOMMU walk.</summary>
    public TableFormat SharedFormat => Port.Formats.First(format => format == _mmu!.Formats[0]);

    /// <summary>Shootdowns that the library asked for.</summary>
    public long Shootdowns => _mmu!.Counters.Shootdowns;

    /// <summary>The machine gets cores.</summary>
    /// <param name="options">Which.</param>
    /// <returns>Process 0, as the library knows it.</returns>
    public Device AddCpus(CpuOptions options)
    {
        _coreSides = new(_attempt, IsTable);
        ControlledMemory memory = Memory(_coreSides, MemorySide.Device);
        var steps = new ControlledSteps(_attempt);
        _cpus = _fault.MakeCpus(memory, options, steps);
        _cpus.Races = _races;
        _mmu = new(_cpus, Memory(new LibrarySide(_attempt), MemorySide.Processor));
        if (Port is ShootsDownForDevices faulty) faulty.Mmu = _mmu;
        return Manager.AddDevice(new NotifyingIommu(_mmu, Notify), new(Process));
    }

    /// <summary>What runs on a core, in process 0.</summary>
    /// <param name="core">Its number.</param>
    /// <param name="region">The process's.</param>
    public Accessor AddCore(int core, Vcm region)
    {
        var id = new StreamId(FirstCoreId + (uint)core);
        var side = new DeviceSide(_attempt, Ledger, id, Frames.IsLive, page => IsMappedInTable(region, page));
        string? Move(Iova address, Access kind)
        {
            _coreSides!.Play(side);
            CpuResult result = _cpus!.Access(core, address, kind);
            return result.Ok ? null : $"{result.Outcome} {result.Code}";
        }

        _states?.AddCore(id, _cpus!, core, Process);
        return new(_attempt, Ledger, side, id, Move) { IsCore = true };
    }

    /// <summary>A device with a TLB of its own. It uses a process's table under a PASID.</summary>
    /// <param name="id">Its requester id.</param>
    /// <param name="pasid">The PASID of its requests.</param>
    /// <param name="region">The process's.</param>
    public DeviceUnderTest AddSharingDevice(StreamId id, Pasid pasid, Vcm region)
    {
        _driver.EnableAts(id, new());
        var side = new DeviceSide(_attempt, Ledger, id, Frames.IsLive, page => IsMappedInTable(region, page));
        var device = new AtsDevice<ControlledMemory, ControlledSteps>(Iommu, Memory(side, MemorySide.Device), id, new() { TlbEntries = 2, PageRequests = false });
        _tlbs.Add(device);
        _states?.AddDevice(id, id, pasid, device.PeekTlb);
        var prefix = new PasidPrefix(new(pasid.Value));
        string? Move(Iova address, Access kind)
        {
            DmaTransfer transfer = kind == Access.Read ? device.Read(address, 8, prefix) : device.Write(address, new byte[8], prefix);
            return transfer.Outcome == AccessOutcome.Completed ? null : $"{transfer.Reason}";
        }

        return new(new(_attempt, Ledger, side, id, Move), Manager.AddDevice(Port, id));
    }

    /// <summary>A region for devices that has a process's table. Who changes the table tells it.</summary>
    public Vcm Adopt(Vcm process)
    {
        process.TryGetTable(SharedFormat, out IPageTable? table);
        Vcm adopter = Manager.AdoptVcm(process.Range, SharedFormat, table!.Root);
        if (!_fault.LeavesAdoptersOut) _adopters.Add((table.Root, adopter));
        return adopter;
    }

    private void Notify(PhysAddr root, IovaRange range)
    {
        foreach ((PhysAddr adopted, Vcm region) in _adopters)
        {
            if (adopted == root) region.Invalidate(range);
        }
    }

    /// <summary>What a device's TLB names, and what cores may use: not what they forget before they do.</summary>
    private string? WhoElseReaches(PhysRange block)
    {
        foreach (AtsDevice<ControlledMemory, ControlledSteps> device in _tlbs)
        {
            foreach (DeviceTlbEntry entry in device.Tlb)
            {
                if (PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block)) return $"the TLB of {device.Source} has {entry.Range} there";
            }
        }

        return _cpus?.WhoReaches(block);
    }
}

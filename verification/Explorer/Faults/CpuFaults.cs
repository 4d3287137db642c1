using Explorer.Machines;
using IommuSim.Cpu;
using Vcmm;
using Vcmm.Cpu;

namespace Explorer.Faults;

/// <summary>Cores that are idle are left out of a shootdown, and one that comes back says so only when it runs in the process already.</summary>
internal sealed class IdleCoresLeftOut(ControlledMemory memory, CpuOptions options, ControlledSteps steps) : ControlledCpus(memory, options, steps)
{
    private readonly object _gate = new();
    private CoreSet _idle;

    public override bool Enter(int core, uint process)
    {
        bool isThere = base.Enter(core, process);
        lock (_gate) _idle = _idle.Without(core);
        return isThere;
    }

    public override void GoIdle(int core)
    {
        base.GoIdle(core);
        lock (_gate) _idle = new(_idle.Bits | 1UL << core);
    }

    public override VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
    {
        Count();
        TlbFlush[] all = ToTlb(flushes);
        CoreSet targets;
        lock (_gate) targets = new(Cluster.AllCores.Bits & ~_idle.Bits);
        Wait(Cluster.Send(all, targets));
        return VcmmError.None;
    }
}

/// <summary>A shootdown leaves out the last core.</summary>
internal sealed class LastCoreLeftOut(ControlledMemory memory, CpuOptions options, ControlledSteps steps) : ControlledCpus(memory, options, steps)
{
    public override VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
    {
        Count();
        Wait(Cluster.Send(ToTlb(flushes), Cluster.AllCores.Without(CoreCount - 1)));
        return VcmmError.None;
    }
}

/// <summary>Whatever is invalidated for a device interrupts the cores, too.</summary>
internal sealed class ShootsDownForDevices(IIommu inner) : FaultyIommu(inner)
{
    /// <summary>The cores, once there are any.</summary>
    public IIommu? Mmu { get; set; }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        VcmmError error = Inner.Invalidate(commands);
        return error == VcmmError.None && Mmu is { } mmu ? mmu.Invalidate(commands) : error;
    }
}

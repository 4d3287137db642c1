using Platform;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>
/// I9: what an operation costs the CPU, counted by the cores, by the memory that its tables are written through, and by the bytes of those
/// tables before and after.
/// </summary>
public readonly struct CpuLedger
{
    private readonly CpuCost _before;
    private readonly Dictionary<PhysAddr, ulong[]>? _tables;

    private CpuLedger(CpuCost before, Dictionary<PhysAddr, ulong[]>? tables) => (_before, _tables) = (before, tables);

    /// <summary>Begins to count, before an operation.</summary>
    public static CpuLedger Open(Subject subject, World world, Operation operation) =>
        subject.Cpus is null ? default : new(subject.CpuCost, world.MayCostCpu(operation) ? null : subject.CpuTables());

    /// <summary>What it was, after the operation.</summary>
    public CpuCost Close(Subject subject)
    {
        CpuCost now = subject.CpuCost;
        long changed = _tables is null ? 0 : CountChanged(_tables, subject.CpuTables());
        return new(now.Shootdowns - _before.Shootdowns, now.Interrupts - _before.Interrupts, Math.Max(now.EntryWrites - _before.EntryWrites, changed));
    }

    private static long CountChanged(Dictionary<PhysAddr, ulong[]> before, Dictionary<PhysAddr, ulong[]> after)
    {
        long changed = 0;
        foreach ((PhysAddr page, ulong[] words) in before)
        {
            if (!after.TryGetValue(page, out ulong[]? now)) changed++;
            else changed += words.Zip(now).LongCount(static pair => pair.First != pair.Second);
        }

        return changed;
    }
}

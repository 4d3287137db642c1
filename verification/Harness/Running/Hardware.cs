using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>Looks at what the hardware can reach: through the tables in memory, and through its caches where they can be seen.</summary>
public static class Hardware
{
    private const uint RootTableAddress = 0x20;

    /// <summary>What the context entry of a device says now; null: it reaches nothing.</summary>
    public static DecodedContext? ContextOf<TMemory>(Subject subject, TMemory memory, int device)
        where TMemory : struct, IPhysicalMemory =>
        VtdTables.TryFindContext(memory, RootTable(subject), subject.Machine.Devices[device].Id, out DecodedContext context, subject.Options) ? context : null;

    /// <summary>The root table that the hardware was given.</summary>
    public static PhysAddr RootTable(Subject subject) => new(subject.Machine.Registers.Read64(RootTableAddress) & ~0xFFFUL);

    /// <summary>Everything that hardware can reach now: through its caches, as tables, and as data.</summary>
    public static List<(PhysRange Block, string Who)> Reach(Subject subject)
    {
        var reach = new List<(PhysRange, string)>();
        foreach (IotlbEntry entry in subject.Insides?.Iotlb ?? [])
        {
            if (entry.Fault == VtdFaultReason.None)
                reach.Add((PhysRange.FromLength(entry.Address, entry.Range.ByteCount), $"the IOTLB holds it for {entry.Range} under {entry.Domain}"));
        }

        foreach (WalkCacheEntry entry in subject.Insides?.WalkCache ?? [])
        {
            if (entry.Fault == VtdFaultReason.None)
                reach.Add((PhysRange.FromLength(entry.Table, World.PageBytes), $"the walk cache points at it for {entry.Range} under {entry.Domain}"));
        }

        var memory = new Snapshot(subject.Machine.Memory);
        var seen = new HashSet<PhysAddr>();
        for (int device = 0; device < subject.Machine.Devices.Count; device++)
        {
            if (ContextOf(subject, memory, device) is not { } context || !seen.Add(context.Root)) continue;
            DecodedTable table = DecodedTable.Read(memory, context.Root, context.Levels, subject.Options);
            string walker = $"d{device} walks it as a table", mapper = $"d{device} has it mapped";
            reach.AddRange(table.Pages.Select(page => (PhysRange.FromLength(page, World.PageBytes), walker)));
            reach.AddRange(table.Leaves.Select(leaf => (PhysRange.FromLength(leaf.Address, leaf.ByteCount), mapper)));
        }

        return reach;
    }
}

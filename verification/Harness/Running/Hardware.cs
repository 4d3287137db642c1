using IommuSim;
using Platform;

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

    /// <summary>Who can still reach a block of memory, in words; null: nobody.</summary>
    public static string? WhoReaches(Subject subject, PhysRange block)
    {
        if (subject.Insides is { } insides)
        {
            foreach (IotlbEntry entry in insides.Iotlb)
            {
                if (entry.Fault == VtdFaultReason.None && PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block))
                    return $"the IOTLB holds {entry.Range} for it under {entry.Domain}";
            }

            foreach (WalkCacheEntry entry in insides.WalkCache)
            {
                if (entry.Fault == VtdFaultReason.None && block.Contains(entry.Table)) return $"the walk cache points at it for {entry.Range} under {entry.Domain}";
            }
        }

        var memory = new Snapshot(subject.Machine.Memory);
        var seen = new HashSet<PhysAddr>();
        for (int device = 0; device < subject.Machine.Devices.Count; device++)
        {
            if (ContextOf(subject, memory, device) is not { } context || !seen.Add(context.Root)) continue;
            foreach (PhysAddr page in VtdTables.TablePages(memory, context.Root, context.Levels, subject.Options))
            {
                if (block.Contains(page)) return $"d{device} walks it as a table";
            }

            foreach (DecodedLeaf leaf in VtdTables.Leaves(memory, context.Root, context.Levels, subject.Options))
            {
                if (PhysRange.FromLength(leaf.Address, leaf.ByteCount).Overlaps(block)) return $"d{device} has it mapped at {leaf.First}";
            }
        }

        return null;
    }
}

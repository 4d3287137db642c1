using Harness.Running;
using Platform;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I6: what is handed out is the memory that the model has, the tables that can be reached, and what the driver needs. Nothing else is.</summary>
public sealed class ConservationOracle : IOracle
{
    /// <inheritdoc/>
    public Violation? Check(Look look)
    {
        look.Counts.Check(Invariant.Conservation);
        var owners = new Dictionary<PhysAddr, string>();
        foreach (PhysRange block in look.Subject.DriverFrames) owners[block.First] = "the driver";
        if (ContextTable(look) is { } contexts) owners[contexts] = "the context table";
        foreach ((ObjectId id, MemoryState memory) in look.World.Memories)
        {
            // What was wrapped is nobody's to hand out.
            if ((memory.IsFreed && !look.World.IsInQuarantine(id)) || memory.IsWrapped) continue;
            foreach (AddressRange chunk in memory.Segments) owners[new(chunk.First)] = id.ToString();
        }

        foreach (PhysAddr page in look.Subject.QuarantinedTables.Pages) owners.TryAdd(page, "a table that waits for a flush");
        foreach (ObjectId vcm in look.RegionsWithTable)
        {
            foreach (PhysAddr page in look.TableOf(vcm)?.Pages ?? [])
            {
                if (!owners.TryAdd(page, $"a table of {vcm}"))
                    return new(Invariant.FrameSafety, $"{page} is a table of {vcm} and belongs to {owners[page]}", "a frame has one use");
            }
        }

        foreach (PhysRange block in look.Subject.Frames.Live)
        {
            if (!owners.Remove(block.First)) return new(Invariant.Conservation, $"{block} is handed out and nothing uses it", "frames are not lost");
        }

        foreach ((PhysAddr block, string owner) in owners)
            return new(Invariant.FrameSafety, $"{block} is used by {owner} and is not handed out", "a frame in use is handed out");
        return null;
    }

    /// <summary>The context table of the one bus that devices are on; it stays once it is there.</summary>
    private static PhysAddr? ContextTable(Look look)
    {
        ulong entry = look.Memory.Read64(Hardware.RootTable(look.Subject));
        return (entry & 1) == 0 ? null : new PhysAddr(entry & ~0xFFFUL);
    }
}

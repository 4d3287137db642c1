using Harness.Running;
using Platform;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I6: what is handed out is the memory that the model has, the tables that can be reached, and what the driver needs. Nothing else is.</summary>
public sealed class ConservationOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        look.Counts.Check(Invariant.Conservation);
        var owners = new Dictionary<PhysAddr, string>();
        foreach (PhysRange block in look.Subject.DriverFrames) owners[block.First] = "the driver";
        ulong root = Hardware.RootPointer(look.Subject);
        // A context table stays once it is there.
        foreach (PhysAddr contexts in DeviceStructures.ContextTables(look.Memory, root)) owners[contexts] = "a context table";
        foreach (StreamId device in look.Subject.Machine.Devices.Select(static device => device.Id))
        {
            if (DeviceStructures.Find(look.Memory, root, device) is not { } tree) continue;
            owners[tree.Directory.First] = $"the PASID directory of {device}";
            foreach (PhysAddr table in tree.Tables) owners[table] = $"a PASID table of {device}";
        }

        foreach ((ObjectId id, MemoryState memory) in look.World.Memories)
        {
            // What was wrapped is nobody's to hand out.
            if ((memory.IsFreed && !look.World.IsInQuarantine(id)) || memory.IsWrapped) continue;
            foreach (AddressRange chunk in memory.Segments) owners[new(chunk.First)] = id.ToString();
        }

        foreach (PhysAddr page in look.Subject.QuarantinedTables.Pages) owners.TryAdd(page, "a table that waits for a flush");
        foreach (ObjectId vcm in look.RegionsWithTable)
        {
            // What was adopted is its owner's.
            if (look.World.OwnerOf(vcm) != vcm) continue;
            foreach (PhysAddr page in look.World.TablesOf(vcm).SelectMany(kind => look.TableOf(vcm, kind)?.Pages ?? []))
            {
                if (!owners.TryAdd(page, $"a table of {vcm}"))
                    yield return new(Invariant.FrameSafety, $"{page} is a table of {vcm} and belongs to {owners[page]}", "a frame has one use");
            }
        }

        foreach (PhysRange block in look.Subject.Frames.Live)
        {
            if (!owners.Remove(block.First)) yield return new(Invariant.Conservation, $"{block} is handed out and nothing uses it", "frames are not lost");
        }

        foreach ((PhysAddr block, string owner) in owners)
            yield return new(Invariant.FrameSafety, $"{block} is used by {owner} and is not handed out", "a frame in use is handed out");
    }
}

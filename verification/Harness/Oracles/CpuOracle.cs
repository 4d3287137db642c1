using Harness.Running;
using IommuSim.Cpu;
using Platform;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Oracles;

/// <summary>
/// For every core: I4, what its TLB holds is what the model maps now, unless the core will forget it before it uses it; I5, the
/// tables that it may walk are those of the region; I3 and I8, a process has the table of the region that it is active in, and no other.
/// </summary>
public sealed class CpuOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        if (look.Subject.Cpus is not { } cpus) yield break;
        IReadOnlyDictionary<uint, (Pcid Tag, PhysAddr Root)> loaded = cpus.Loaded;
        var regions = new Dictionary<Pcid, ObjectId>();
        foreach (ObjectId process in look.World.Processes)
        {
            if (CheckProcess(look, process, loaded, regions) is { } wrong) yield return wrong;
        }

        foreach (CoreState core in cpus.Look())
        {
            foreach (Violation wrong in CheckCore(look, core, regions)) yield return wrong;
        }
    }

    private static Violation? CheckProcess(Look look, ObjectId process, IReadOnlyDictionary<uint, (Pcid Tag, PhysAddr Root)> loaded, Dictionary<Pcid, ObjectId> regions)
    {
        look.Counts.Check(Invariant.Isolation);
        bool isLoaded = loaded.TryGetValue((uint)process.Number, out (Pcid Tag, PhysAddr Root) table);
        if (look.World.ActiveAssociationOf(process, null) is not { } association)
            return isLoaded ? new(Invariant.Isolation, $"{process} has the table at {table.Root}", $"{process} is not active: it has none") : null;
        ObjectId vcm = association.Vcm;
        if (!isLoaded) return new(Invariant.SharedTable, $"{process} has no table", $"it is active in {vcm}");
        look.Counts.Check(Invariant.SharedTable);
        look.Subject.Region(look.World.OwnerOf(vcm)).TryGetTable(look.Subject.FormatOf(association.Kind), out IPageTable? own);
        if (own!.Root != table.Root) return new(Invariant.SharedTable, $"{process} has the table at {table.Root}", $"{vcm}'s is at {own.Root}");
        if (regions.TryGetValue(table.Tag, out ObjectId other) && other != vcm) return new(Invariant.Isolation, $"{vcm} and {other} share {table.Tag}", "a tag is one table's");
        regions[table.Tag] = vcm;
        if (look.World.Associations.Values.Any(joined => joined.IsActive && joined.Device.Kind == ObjectKind.Device && joined.Kind == association.Kind && look.World.OwnerOf(joined.Vcm) == look.World.OwnerOf(vcm)))
            look.Counts.Reach("a process and a device shared a table");
        return null;
    }

    private static IEnumerable<Violation> CheckCore(Look look, CoreState core, Dictionary<Pcid, ObjectId> regions)
    {
        ICores cores = look.Subject.Cpus!;
        bool hasTags = cores.Options.ProcessContextIds;
        // Two regions may share a root, where one adopted the other's table: a tag is one region's. Without tags all that is there is of the
        // process that the core is in.
        ObjectId? current = core.Cr3 switch
        {
            null => null,
            { } cr3 when hasTags => regions.TryGetValue(cr3.Pcid, out ObjectId entered) ? entered : null,
            { } cr3 => RegionOf(look, cr3.Root),
        };
        foreach (TlbEntry entry in core.Tlb)
        {
            look.Counts.Check(Invariant.NoStaleAccess);
            string observed = $"the TLB of c{core.Number} holds {entry.Range} -> {entry.Address} under {entry.Pcid}";
            if (FindRegion(entry.Pcid) is not { } vcm)
            {
                yield return new(Invariant.Isolation, observed, "nothing is held for a process without a table");
                continue;
            }

            if (Owes(vcm))
            {
                look.Counts.Reach("a core kept what it is to forget later");
                continue;
            }

            var cached = new Mapping(
                new(entry.Range.First.Value, entry.Range.Last.Value), new(entry.Address.Value, entry.User, entry.Write && entry.User, entry.Execute && entry.User));
            if (NoStaleAccessOracle.FirstStale(look, vcm, cached) is { } address)
                yield return new(Invariant.NoStaleAccess, observed, $"0x{address:x} of {vcm} means {look.World.MeaningOf(vcm, address)?.ToString() ?? "nothing"}");
        }

        foreach (PagingStructureEntry entry in core.PagingStructures)
        {
            look.Counts.Check(Invariant.FrameSafety);
            string observed = $"a paging-structure cache of c{core.Number} points at {entry.Table} for {entry.Range} under {entry.Pcid}";
            if (FindRegion(entry.Pcid) is not { } vcm)
            {
                yield return new(Invariant.FrameSafety, observed, "nothing is held for a process without a table");
                continue;
            }

            // A core may walk, at any time, what is cached under the tag in its CR3.
            if (current != vcm && Owes(vcm)) continue;
            if (look.Subject.QuarantinedTables.Pages.Contains(entry.Table)) continue;
            if (look.TableOf(look.World.OwnerOf(vcm), TableKind.FirstStage)?.Pages.Contains(entry.Table) != true) yield return new(Invariant.FrameSafety, observed, $"one of the tables of {vcm}");
        }

        ObjectId? FindRegion(Pcid pcid) => !hasTags ? current : regions.TryGetValue(pcid, out ObjectId vcm) ? vcm : null;

        bool Owes(ObjectId vcm) => regions.Any(pair => pair.Value == vcm && cores.OwesFlush(core.Number, pair.Key));
    }

    private static ObjectId? RegionOf(Look look, PhysAddr root)
    {
        foreach ((uint process, (Pcid Tag, PhysAddr Root) table) in look.Subject.Cpus!.Loaded)
        {
            if (table.Root == root && look.World.ActiveVcmOf(new(ObjectKind.Process, (int)process)) is { } vcm) return vcm;
        }

        return null;
    }
}

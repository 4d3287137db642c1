using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>An address space of a device that the hardware translates, as the structures in memory say.</summary>
/// <param name="Pasid">The PASID of its requests; null: those without one.</param>
/// <param name="Translation">How they are translated.</param>
public readonly record struct DecodedSpace(uint? Pasid, DecodedTranslation Translation);

/// <summary>Looks at what the hardware can reach: through the tables in memory, and through its caches where they can be seen.</summary>
public static class Hardware
{
    private const uint RootTableAddress = 0x20;

    /// <summary>The address spaces of a device that lead to a table now.</summary>
    public static List<DecodedSpace> SpacesOf(Subject subject, Snapshot memory, int device) =>
        SpacesOf(subject, memory, device, DeviceStructures.Find(memory, RootPointer(subject), subject.Machine.Devices[device].Id));

    private static List<DecodedSpace> SpacesOf(Subject subject, Snapshot memory, int device, PasidTree? tree)
    {
        StreamId id = subject.Machine.Devices[device].Id;
        ulong root = RootPointer(subject);
        var spaces = new List<DecodedSpace>();
        Add(null);
        foreach (uint pasid in tree?.Pasids ?? [])
        {
            if (pasid != tree!.RidPasid) Add(pasid);
        }

        return spaces;

        void Add(uint? pasid)
        {
            Pasid? given = pasid is { } value ? new(value) : null;
            if (VtdTables.FindTranslation(memory, new(root), id, given, out DecodedTranslation found, subject.Options) == VtdFaultReason.None) spaces.Add(new(pasid, found));
        }
    }

    /// <summary>The root of the region's table: not that of a guest's, which is no physical address.</summary>
    public static PhysAddr RegionRootOf(in DecodedTranslation space) => space.Stage == TranslationStage.Nested ? space.SecondStageRoot : space.Root;

    /// <summary>The root table that the hardware was given, and in which mode: the Root Table Address Register.</summary>
    public static ulong RootPointer(Subject subject) => subject.Machine.Registers.Read64(RootTableAddress);

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

        foreach (PasidCacheEntry entry in subject.Insides?.PasidCache ?? [])
            reach.Add((PhysRange.FromLength(entry.Root, World.PageBytes), $"the PASID cache points at it for {entry.Source} and {entry.Pasid}"));

        for (int device = 0; device < subject.Machine.Devices.Count; device++)
        {
            foreach (DeviceTlbEntry entry in subject.TlbOf(device))
                reach.Add((PhysRange.FromLength(entry.Address, entry.Range.ByteCount), $"the TLB of d{device} holds it for {entry.Range}"));
        }

        var memory = new Snapshot(subject.Machine.Memory);
        ulong root = RootPointer(subject);
        var seen = new HashSet<PhysAddr>();
        for (int device = 0; device < subject.Machine.Devices.Count; device++)
        {
            PasidTree? tree = DeviceStructures.Find(memory, root, subject.Machine.Devices[device].Id);
            if (tree is not null)
            {
                string keeper = $"d{device} finds its PASIDs in it";
                reach.Add((tree.Directory, keeper));
                reach.AddRange(tree.Tables.Select(table => (PhysRange.FromLength(table, World.PageBytes), keeper)));
            }

            foreach (DecodedSpace space in SpacesOf(subject, memory, device, tree))
            {
                // What is let through reaches everything: it is nothing that memory is kept for.
                if (space.Translation.Stage == TranslationStage.PassThrough || !seen.Add(RegionRootOf(space.Translation))) continue;
                DecodedTable table = subject.Tables.Read(space.Translation);
                string walker = $"d{device} walks it as a table", mapper = $"d{device} has it mapped";
                reach.AddRange(table.Pages.Select(page => (PhysRange.FromLength(page, World.PageBytes), walker)));
                reach.AddRange(table.Leaves.Select(leaf => (PhysRange.FromLength(leaf.Address, leaf.ByteCount), mapper)));
            }
        }

        AddCpu(subject, reach);
        return reach;
    }

    /// <summary>What cores can reach: not what they forget before they use it.</summary>
    private static void AddCpu(Subject subject, List<(PhysRange Block, string Who)> reach)
    {
        if (subject.Cpus is not { } cpus) return;
        foreach ((uint process, (Pcid tag, PhysAddr root)) in cpus.Loaded)
        {
            DecodedTable table = subject.Tables.Read(root, TranslationStage.FirstStage, cpus.Format.LevelCount);
            reach.AddRange(table.Pages.Select(page => (PhysRange.FromLength(page, World.PageBytes), $"p{process} has it as a table")));
            reach.AddRange(table.Leaves.Select(leaf => (PhysRange.FromLength(leaf.Address, leaf.ByteCount), $"p{process} has it mapped")));
        }

        foreach (CoreState core in cpus.Look())
        {
            (PhysAddr Root, Pcid Pcid)? cr3 = core.Cr3;
            if (cr3 is { } current) reach.Add((PhysRange.FromLength(current.Root, World.PageBytes), $"CR3 of c{core.Number} points at it"));
            foreach (TlbEntry entry in core.Tlb)
            {
                if (!Owes(entry.Pcid)) reach.Add((PhysRange.FromLength(entry.Address, entry.Range.ByteCount), $"the TLB of c{core.Number} holds it for {entry.Range} under {entry.Pcid}"));
            }

            foreach (PagingStructureEntry entry in core.PagingStructures)
            {
                // A core may walk, at any time, what is cached under the tag in its CR3.
                if (entry.Pcid == cr3?.Pcid || !Owes(entry.Pcid)) reach.Add((PhysRange.FromLength(entry.Table, World.PageBytes), $"a paging-structure cache of c{core.Number} points at it for {entry.Range} under {entry.Pcid}"));
            }

            // Without tags what is cached is of the process that the core is in.
            bool Owes(Pcid pcid) => cpus.Loaded.Values.Any(table => (cpus.Options.ProcessContextIds ? table.Tag == pcid : table.Root == cr3?.Root) && cpus.OwesFlush(core.Number, table.Tag));
        }
    }
}

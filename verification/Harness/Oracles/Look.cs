using Harness.Running;
using IommuSim;
using Platform;
using Vcmm.Spec;
using Vcmm.Tables;
using Mapping = Vcmm.Spec.Mapping;

namespace Harness.Oracles;

/// <summary>For whom a domain id stands: what is cached under it comes from one table.</summary>
/// <param name="Vcm">The region whose table it is.</param>
/// <param name="Root">The table's root.</param>
/// <param name="Nested">An active association whose guest's table is before it; null: none is.</param>
/// <param name="Pasids">The PASIDs under which devices translate in it: of requests without one, the one that tags them; none in legacy mode.</param>
public sealed record DomainUse(ObjectId Vcm, PhysAddr Root, AssociationState? Nested, HashSet<uint> Pasids);

/// <summary>One look at the machine between two operations.</summary>
public sealed class Look
{
    private readonly Dictionary<PhysAddr, DecodedTable> _tables = [];
    private readonly Dictionary<int, List<DecodedSpace>> _spaces = [];
    private readonly Dictionary<(ObjectId, TableKind?), List<Mapping>> _mappings = [];
    private Dictionary<VtdDomainId, DomainUse>? _domains;

    /// <summary>A look; tables are read from memory once.</summary>
    public Look(Subject subject, World world, RunCounts counts, bool hardwareHasFailed)
    {
        Subject = subject;
        World = world;
        Counts = counts;
        HardwareHasFailed = hardwareHasFailed;
        Memory = new(subject.Machine.Memory);
    }

    /// <summary>The library and its machine.</summary>
    public Subject Subject { get; }

    /// <summary>The model.</summary>
    public World World { get; }

    /// <summary>Where checks are counted.</summary>
    public RunCounts Counts { get; }

    /// <summary>Whether the hardware was made to fail in this scenario.</summary>
    public bool HardwareHasFailed { get; }

    /// <summary>Memory at this instant.</summary>
    public Snapshot Memory { get; }

    /// <summary>The regions that have a table.</summary>
    public IEnumerable<ObjectId> RegionsWithTable => World.Vcms.Keys.Where(World.HasTable);

    /// <summary>A table of a region, decoded; null: it has none of the kind.</summary>
    public DecodedTable? TableOf(ObjectId vcm, TableKind kind)
    {
        if (!Subject.Region(vcm).TryGetTable(Subject.FormatOf(kind), out IPageTable? table)) return null;
        // What has no bytes is what the library remembers of it.
        if (kind == TableKind.Identity) return new(default, [], [.. table!.Leaves().Select(ToDecoded)], []);
        PhysAddr root = table!.Root;
        if (!_tables.TryGetValue(root, out DecodedTable? decoded)) _tables[root] = decoded = Subject.Tables.Read(root, TableKinds.StageOf(kind), table.Format.LevelCount);
        return decoded;
    }

    private static DecodedLeaf ToDecoded(Leaf leaf) => new(
        leaf.Range.First, leaf.Range.ByteCount, leaf.First, leaf.Access.HasFlag(Vcmm.Access.Read), leaf.Access.HasFlag(Vcmm.Access.Write), Execute: leaf.Access.HasFlag(Vcmm.Access.Execute));

    /// <summary>The table at a root that a region has, decoded; null: none has one there.</summary>
    public DecodedTable? TableBelow(PhysAddr root)
    {
        foreach (ObjectId vcm in RegionsWithTable)
        {
            foreach (TableKind kind in World.TablesOf(vcm))
            {
                if (kind != TableKind.Identity && TableOf(vcm, kind) is { } table && table.Root == root) return table;
            }
        }

        return null;
    }

    /// <summary>The address spaces of a device that lead to a table now.</summary>
    public List<DecodedSpace> SpacesOf(int device)
    {
        if (!_spaces.TryGetValue(device, out List<DecodedSpace>? spaces)) _spaces[device] = spaces = Hardware.SpacesOf(Subject, Memory, device);
        return spaces;
    }

    /// <summary>What the model maps in a region, in the order of device addresses; neighbours that continue each other are one.</summary>
    /// <param name="vcm">The region.</param>
    /// <param name="kind">As a table of this kind says it; null: as it was asked for.</param>
    public IReadOnlyList<Mapping> MappingsOf(ObjectId vcm, TableKind? kind = null)
    {
        if (_mappings.TryGetValue((vcm, kind), out List<Mapping>? mappings)) return mappings;
        TableModel? table = kind is { } some ? World.TableModelOf(some) : null;
        mappings = Merge(World.MappingsOf(vcm).Select(mapping => table is null ? mapping : mapping with { Translation = table.Says(mapping.Translation) }));
        _mappings[(vcm, kind)] = mappings;
        return mappings;
    }

    /// <summary>Neighbours that continue each other, as one: how a mapping is cut into leaves is not the model's.</summary>
    public static List<Mapping> Merge(IEnumerable<Mapping> mappings)
    {
        var merged = new List<Mapping>();
        foreach (Mapping mapping in mappings)
        {
            if (merged.Count != 0 && merged[^1] is var last && last.Range.Last + 1 == mapping.Range.First
                && last.Translation.Advance(mapping.Range.First - last.Range.First) == mapping.Translation)
                merged[^1] = new(new(last.Range.First, mapping.Range.Last), last.Translation);
            else merged.Add(mapping);
        }

        return merged;
    }

    /// <summary>For whom each domain id stands that devices translate under.</summary>
    public IReadOnlyDictionary<VtdDomainId, DomainUse> Domains => _domains ??= FindDomains();

    /// <summary>All oracles, by the number of their invariant.</summary>
    public static IReadOnlyList<IOracle> Oracles { get; } =
        [new NoOverlapOracle(), new TablesAreTruthOracle(), new WalkerSightOracle(), new SharedTableOracle(), new NoStaleAccessOracle(), new DeviceTlbOracle(), new FrameSafetyOracle(), new CpuOracle(), new ConservationOracle()];

    /// <summary>How many oracles have found nothing.</summary>
    public int Passed { get; private set; }

    /// <summary>Asks every oracle, until one finds something that is to be told.</summary>
    public Violation? FirstViolation()
    {
        if (Counts.FirstToTell(Subject.Frames.Violations) is { } violation) return violation;
        foreach (IOracle oracle in Oracles)
        {
            if (Counts.FirstToTell(oracle.Check(this)) is { } found) return found;
            Passed++;
        }

        return null;
    }

    private Dictionary<VtdDomainId, DomainUse> FindDomains()
    {
        var domains = new Dictionary<VtdDomainId, DomainUse>();
        for (int number = 0; number < World.Devices.Length; number++)
        {
            foreach (DecodedSpace space in SpacesOf(number))
            {
                if (World.ActiveAssociationOf(World.Devices[number], space.Pasid) is not { } association) continue;
                if (!domains.TryGetValue(space.Translation.Domain, out DomainUse? use)) domains[space.Translation.Domain] = use = new(association.Vcm, Hardware.RegionRootOf(space.Translation), association.Guest is null ? null : association, []);
                if (space.Translation.Pasid is { } tag) use.Pasids.Add(tag.Value);
            }
        }

        return domains;
    }
}

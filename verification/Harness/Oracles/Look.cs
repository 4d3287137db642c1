using Harness.Running;
using IommuSim;
using Vcmm.Spec;
using Vcmm.Tables;
using Mapping = Vcmm.Spec.Mapping;

namespace Harness.Oracles;

/// <summary>One look at the machine between two operations.</summary>
public sealed class Look
{
    private readonly Dictionary<ObjectId, DecodedTable> _tables = [];
    private readonly Dictionary<ObjectId, List<Mapping>> _mappings = [];
    private Dictionary<VtdDomainId, ObjectId>? _domains;

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

    /// <summary>The table of a region, decoded; null: it has none.</summary>
    public DecodedTable? TableOf(ObjectId vcm)
    {
        if (!Subject.Region(vcm).TryGetTable(Subject.Driver.Formats[0], out IPageTable? table)) return null;
        if (!_tables.TryGetValue(vcm, out DecodedTable? decoded)) _tables[vcm] = decoded = Subject.Tables.Read(table!.Root, table.Format.LevelCount);
        return decoded;
    }

    /// <summary>What the model maps in a region, in the order of device addresses; neighbours that continue each other are one.</summary>
    public IReadOnlyList<Mapping> MappingsOf(ObjectId vcm)
    {
        if (!_mappings.TryGetValue(vcm, out List<Mapping>? mappings)) _mappings[vcm] = mappings = Merge(World.MappingsOf(vcm));
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

    /// <summary>The region of each domain id that devices translate under.</summary>
    public IReadOnlyDictionary<VtdDomainId, ObjectId> Domains => _domains ??= FindDomains();

    /// <summary>All oracles, by the number of their invariant.</summary>
    public static IReadOnlyList<IOracle> Oracles { get; } =
        [new NoOverlapOracle(), new TablesAreTruthOracle(), new SharedTableOracle(), new NoStaleAccessOracle(), new FrameSafetyOracle(), new ConservationOracle()];

    /// <summary>Asks every oracle.</summary>
    public Violation? FirstViolation()
    {
        if (Subject.Frames.Violation is { } violation) return violation;
        foreach (IOracle oracle in Oracles)
        {
            if (oracle.Check(this) is { } found) return found;
        }

        return null;
    }

    private Dictionary<VtdDomainId, ObjectId> FindDomains()
    {
        var domains = new Dictionary<VtdDomainId, ObjectId>();
        for (int number = 0; number < World.Devices.Length; number++)
        {
            if (World.ActiveVcmOf(World.Devices[number]) is { } vcm && Hardware.ContextOf(Subject, Memory, number) is { } context)
                domains[context.Domain] = vcm;
        }

        return domains;
    }
}

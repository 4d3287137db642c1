using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using IommuSim;
using Platform;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Harness.Scenarios;

/// <summary>In which mode the IOMMU is used.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RemappingMode>))]
public enum RemappingMode
{
    /// <summary>A device is one address space, translated by second-stage tables.</summary>
    [JsonStringEnumMemberName("legacy")]
    Legacy = 0,

    /// <summary>A device has an address space for each PASID, translated by tables of the first or the second stage.</summary>
    [JsonStringEnumMemberName("scalable")]
    Scalable,
}

/// <summary>The machine that a scenario runs on.</summary>
public sealed partial record Topology
{
    /// <summary>Devices <c>d0</c> …: 1 … 8.</summary>
    public DeviceList Devices { get; init; } = 1;

    /// <summary>Physical memory that the library may use, in MiB: 1 … 48.</summary>
    public int MemoryMiB { get; init; } = 8;

    /// <summary>The banks that it is in; null: one, coherent, of type 0. Where they are given their sum counts.</summary>
    public BankList? Banks { get; init; }

    /// <summary>In which mode the IOMMU is used.</summary>
    public RemappingMode Mode { get; init; }

    /// <summary>Whether in scalable mode the IOMMU walks first-stage tables.</summary>
    public bool FirstStage { get; init; } = true;

    /// <summary>Whether in scalable mode the IOMMU takes requests with a PASID.</summary>
    public bool Pasids { get; init; } = true;

    /// <summary>Levels of the second-stage tables: 3 or 4.</summary>
    public int Levels { get; init; } = 4;

    /// <summary>Whether the IOMMU has 2 MiB leaves in second-stage tables; in first-stage tables it always has.</summary>
    public bool Pages2M { get; init; } = true;

    /// <summary>Whether the IOMMU caches absent entries.</summary>
    public bool CachingMode { get; init; }

    /// <summary>Whether the IOMMU has an invalidation queue; without, in legacy mode and without devices that have TLBs, the library tells it by registers.</summary>
    public bool QueuedInvalidation { get; init; } = true;

    /// <summary>Whether the IOMMU can let devices through untranslated.</summary>
    public bool PassThrough { get; init; } = true;

    /// <summary>Whether in scalable mode the IOMMU translates through guests' first-stage tables in second-stage ones, of four levels both.</summary>
    public bool Nesting { get; init; }

    /// <summary>Sets of the IOTLB: a power of two to 1,024, or 0.</summary>
    public int IotlbSets { get; init; } = 4;

    /// <summary>Ways of each set: 0 … 16.</summary>
    public int IotlbWays { get; init; } = 2;

    /// <summary>Entries of each level's walk cache: 0 … 64.</summary>
    public int WalkCache { get; init; } = 4;

    /// <summary>Entries of the context cache, and in scalable mode of the PASID cache: 0 … 256.</summary>
    public int ContextCache { get; init; } = 4;

    /// <summary>Faults that the IOMMU keeps until somebody takes them: 1 … 222.</summary>
    public int FaultRecords { get; init; } = 16;

    /// <summary>Unbacks that may wait for a flush: 1 … 64.</summary>
    public int FlushCapacity { get; init; } = 4;

    /// <summary>With so many that wait the last of them flushes: 1 … <see cref="FlushCapacity"/>.</summary>
    public int FlushAtCount { get; init; } = 3;

    /// <summary>What has waited so long is flushed by the next unback or poll: 1 … 1000 ms.</summary>
    public int FlushAtMilliseconds { get; init; } = 10;

    /// <summary>Whether addresses go through a cache, as they do by default. Without one it is certain which are given: the first that fit.</summary>
    public bool RangeCache { get; init; } = true;

    /// <summary>Whether in scalable mode the IOMMU is told to note in second-stage tables, too, what devices use and write to. In first-stage tables it always does.</summary>
    public bool TracksUse { get; init; }

    /// <summary>Reads a machine.</summary>
    /// <param name="json">An object with some of the fields.</param>
    /// <exception cref="BadInputException">It is none, or one that cannot be built.</exception>
    public static Topology Parse(string json)
    {
        try
        {
            Topology topology = JsonSerializer.Deserialize<Topology>(json, Scenario.Json) ?? throw new BadInputException("topology is null; expected an object");
            topology.Validate();
            return topology;
        }
        catch (JsonException e)
        {
            throw new BadInputException($"topology: {e.Message.ReplaceLineEndings(" ")}");
        }
    }

    /// <summary>How the library is set up.</summary>
    /// <param name="firstMemory">Where the machine's memory begins.</param>
    public Setup ToSetup(PhysAddr firstMemory) => new() { Flush = new(FlushCapacity, FlushAtCount, (ulong)FlushAtMilliseconds), PlacesExactly = !RangeCache, Banks = [.. LayOut(firstMemory).Select(ToModel)] };

    /// <summary>Whether the mode is the scalable one.</summary>
    [JsonIgnore]
    public bool IsScalable => Mode == RemappingMode.Scalable;

    /// <summary>The IOMMU's options.</summary>
    public VtdOptions ToOptions() => (IsScalable ? VtdOptions.Scalable : VtdOptions.Default) with
    {
        ThreeLevelTables = Levels == 3,
        FourLevelTables = Levels == 4,
        Pages2M = Pages2M,
        Pages1G = Pages2M,
        FirstStagePages1G = Pages2M,
        FirstStage = FirstStage,
        RequestsWithPasid = Pasids,
        CachingMode = CachingMode,
        QueuedInvalidation = QueuedInvalidation,
        PassThrough = PassThrough,
        Nesting = Nesting,
        IotlbSets = IotlbSets,
        IotlbWays = IotlbWays,
        WalkCacheEntriesPerLevel = WalkCache,
        ContextCacheEntries = ContextCache,
        FaultRecordCount = FaultRecords,
        PasidCacheEntries = ContextCache,
        DeviceTlbs = Devices.HaveTlbs,
        PageRequests = Devices.Contains(DeviceKind.Paging),
    };

    /// <summary>The banks, one behind the other.</summary>
    /// <param name="first">Where the first begins.</param>
    public IReadOnlyList<MemoryBank> LayOut(PhysAddr first)
    {
        var banks = new List<MemoryBank>();
        foreach (BankShape shape in Banks ?? new BankList(new BankShape(MemoryMiB)))
        {
            var range = PhysRange.FromLength(first, (ulong)shape.MemoryMiB << 20);
            banks.Add(new(range, TypeOf(shape.Type), shape.Coherent));
            first += range.ByteCount;
        }

        return banks;
    }

    /// <summary>The type of memory that a number stands for.</summary>
    public static MemoryType TypeOf(int type) => new(type.ToString(CultureInfo.InvariantCulture));

    /// <summary>Refuses a machine that cannot be built.</summary>
    /// <exception cref="BadInputException">A field is outside its range.</exception>
    public void Validate()
    {
        if (!Enum.IsDefined(Mode)) throw new BadInputException($"topology.mode is {(int)Mode}; expected legacy or scalable");
        Require(Devices.Count is >= 1 and <= 8, nameof(Devices), Devices.Count, "1 to 8");
        if (Devices.Contains(DeviceKind.Paging) && !IsScalable) throw new BadInputException("topology.devices has one that asks for pages; expected topology.mode scalable");
        if (!QueuedInvalidation && (IsScalable || Devices.HaveTlbs)) throw new BadInputException("topology.queuedInvalidation is false; expected topology.mode legacy, and no topology.devices with TLBs");
        if (Nesting && !(IsScalable && FirstStage && Levels == 4)) throw new BadInputException("topology.nesting is true; expected topology.mode scalable, topology.firstStage and topology.levels 4");
        Require(MemoryMiB is >= 1 and <= 48, nameof(MemoryMiB), MemoryMiB, "1 to 48");
        if (Banks is not null)
        {
            Require(Banks.Count is >= 1 and <= 8, nameof(Banks), Banks.Count, "1 to 8 banks");
            foreach (BankShape bank in Banks)
            {
                Require(bank.MemoryMiB is >= 1 and <= 48, "banks.memoryMiB", bank.MemoryMiB, "1 to 48");
                Require(bank.Type is >= 0 and <= 7, "banks.type", bank.Type, "0 to 7");
            }

            Require(Banks.Sum(bank => bank.MemoryMiB) <= 48, "banks", Banks.Sum(bank => bank.MemoryMiB), "48 MiB at most in all");
        }

        Require(Levels is 3 or 4, nameof(Levels), Levels, "3 or 4");
        Require(IotlbSets is >= 0 and <= 1024 && (IotlbSets & (IotlbSets - 1)) == 0, nameof(IotlbSets), IotlbSets, "0 or a power of two to 1024");
        Require(IotlbWays is >= 0 and <= 16, nameof(IotlbWays), IotlbWays, "0 to 16");
        Require(WalkCache is >= 0 and <= 64, nameof(WalkCache), WalkCache, "0 to 64");
        Require(FaultRecords is >= 1 and <= 222, nameof(FaultRecords), FaultRecords, "1 to 222");
        Require(FlushCapacity is >= 1 and <= 64, nameof(FlushCapacity), FlushCapacity, "1 to 64");
        Require(FlushAtCount >= 1 && FlushAtCount <= FlushCapacity, nameof(FlushAtCount), FlushAtCount, "1 to flushCapacity");
        Require(FlushAtMilliseconds is >= 1 and <= 1000, nameof(FlushAtMilliseconds), FlushAtMilliseconds, "1 to 1000");
        Require(ContextCache is >= 0 and <= 256, nameof(ContextCache), ContextCache, "0 to 256");
        ValidateEvents();
        ValidateEagerness();
        ValidateCpu();
    }

    /// <summary>What of it is the IOMMU and the devices, without the sizes of caches: not how much memory the library is given, nor how it is set up.</summary>
    [JsonIgnore]
    public string Hardware => (this with { Banks = null, MemoryMiB = 1 }).Outline;

    /// <summary>The machine in a few words, without the sizes of its caches.</summary>
    public string Outline =>
        $"{Devices}, {(Banks is null ? $"{MemoryMiB} MiB" : Banks.ToString())}, VT-d {(IsScalable ? $"in scalable mode, {(FirstStage ? "" : "no first stage, ")}{(Pasids ? "" : "no PASIDs, ")}" : "")}{Levels} levels{(Pages2M ? "" : ", no large leaves")}{(CachingMode ? ", caching mode" : "")}{(QueuedInvalidation ? "" : ", no invalidation queue")}{(PassThrough ? "" : ", lets nothing through")}{(Nesting ? ", nests" : "")}{(TracksUse ? ", notes use" : "")}{EventsOutline}{EagernessOutline}{CpuOutline}";

    /// <summary>The machine in a few words.</summary>
    public override string ToString() => $"{Outline}, IOTLB {IotlbSets}x{IotlbWays}, walk cache {WalkCache}, context cache {ContextCache}{(Cores == 0 ? "" : $", TLB {TlbSets}x{TlbWays}")}";

    private static Bank ToModel(MemoryBank bank) =>
        new(new(bank.Range.First.Value, bank.Range.Last.Value), int.Parse(bank.Type.Name, CultureInfo.InvariantCulture), bank.IsCoherent);

    private static void Require(bool holds, string field, int value, string expected)
    {
        if (!holds) throw new BadInputException($"topology.{char.ToLowerInvariant(field[0])}{field[1..]} is {value}; expected {expected}");
    }
}

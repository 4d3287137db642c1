using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>A page that tables translate.</summary>
/// <param name="First">Its first device address.</param>
/// <param name="ByteCount">4 KiB, 2 MiB or 1 GiB.</param>
/// <param name="Address">The physical address of its first byte.</param>
/// <param name="Read">Whether every entry on the way grants reads.</param>
/// <param name="Write">Whether every entry on the way grants writes. Of a first-stage table, supervisor writes may need none (WPE).</param>
/// <param name="User">Whether every entry on the way lets requests without supervisor privilege through; so the second stage always does.</param>
/// <param name="Execute">Whether no entry on the way has execute-disable set; so it always is in the second stage.</param>
/// <param name="PatIndex">The memory type that a first-stage leaf chooses from the page-attribute table: PAT, PCD and PWT as a number, 0 … 7; 0 in the second stage.</param>
public readonly record struct DecodedLeaf(
    Iova First, ulong ByteCount, PhysAddr Address, bool Read, bool Write, bool User = true, bool Execute = true, int PatIndex = 0);

/// <summary>An entry that is present and that the hardware would refuse.</summary>
/// <param name="First">The first device address that it should translate.</param>
/// <param name="Level">Its level; 1 is the last.</param>
/// <param name="EntryAddress">Where it is.</param>
/// <param name="Reason">The fault that an access through it gets.</param>
public readonly record struct MalformedEntry(Iova First, int Level, PhysAddr EntryAddress, VtdFaultReason Reason);

/// <summary>What a usable context entry says.</summary>
/// <param name="Root">The root of the second-stage tables; meaningless for pass-through.</param>
/// <param name="Levels">3 to 5.</param>
/// <param name="Domain">The domain id.</param>
/// <param name="PassThrough">Whether the device's accesses go untranslated.</param>
public readonly record struct DecodedContext(PhysAddr Root, int Levels, VtdDomainId Domain, bool PassThrough);

/// <summary>How the requests of a device are translated: what its context entry and in scalable mode its PASID entry say.</summary>
/// <param name="Stage">By which tables.</param>
/// <param name="Root">Their root; under nested translation that of the first stage, a guest-physical address; meaningless for pass-through.</param>
/// <param name="Levels">3 to 5 in the second stage, 4 or 5 in the first; meaningless for pass-through.</param>
/// <param name="Domain">The domain id.</param>
/// <param name="Pasid">The PASID: of a request without one, the context entry's; null in legacy mode.</param>
/// <param name="KeepsFlags">Whether the hardware sets accessed and dirty flags in the entries.</param>
/// <param name="WriteProtected">WPE: whether supervisor writes need permission too.</param>
/// <param name="Supervisor">SRE: whether requests with supervisor privilege are let through.</param>
/// <param name="SecondStageRoot">Under nested translation, the root of the second-stage tables.</param>
/// <param name="SecondStageLevels">Under nested translation, their levels: 3 to 5.</param>
/// <param name="SecondStageKeepsFlags">Under nested translation, whether the hardware sets accessed and dirty flags in their entries.</param>
public readonly record struct DecodedTranslation(
    TranslationStage Stage,
    PhysAddr Root,
    int Levels,
    VtdDomainId Domain,
    Pasid? Pasid,
    bool KeepsFlags,
    bool WriteProtected,
    bool Supervisor,
    PhysAddr SecondStageRoot = default,
    int SecondStageLevels = 0,
    bool SecondStageKeepsFlags = false);

/// <summary>A PASID of a device whose table entry is present, or a present directory entry that leads to none.</summary>
/// <param name="Pasid">The PASID; for a directory entry that the hardware would refuse, the first of its 64.</param>
/// <param name="Reason">The fault that every request with the PASID gets; <see cref="VtdFaultReason.None"/> if there is none.</param>
/// <param name="Translation">How it is translated; default if <paramref name="Reason"/> says that it is not.</param>
public readonly record struct DecodedPasid(Pasid Pasid, VtdFaultReason Reason, DecodedTranslation Translation);

/// <summary>
/// Decodes tables in memory as the hardware would read them now, with no cache in between: for oracles and audits.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Translation Structure Formats.</para>
/// <para><b>The unit's own walk</b> follows one address to one leaf or fault; here every entry below a root is met once, with no
/// address, cache or flag. So the way through the tables is another one, and what an entry says is decoded by the same types.</para>
/// <para><b>Errors.</b> None: entries that the hardware would refuse, and tables outside memory, translate nothing;
/// <see cref="Malformed"/> tells of them.</para>
/// <para><b>Threads.</b> Any number at once; changes made during an enumeration may or may not be seen.</para>
/// </remarks>
public static partial class VtdTables
{
    /// <summary>The pages below a root, in the order of their device addresses as the tables have them: without sign extension.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 to 5; 4 or 5 in the first stage.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <param name="stage">Which tables: first or second stage.</param>
    /// <returns>
    /// Found one by one: tables that point back at themselves translate up to 2^45 pages, and all would be given.
    /// </returns>
    public static IEnumerable<DecodedLeaf> Leaves<TMemory>(
        TMemory memory, PhysAddr root, int levels, VtdOptions? options = null, TranslationStage stage = TranslationStage.SecondStage)
        where TMemory : struct, IPhysicalMemory =>
        Below(memory, Top(root, levels, stage), options ?? VtdOptions.Default)
            .Where(static found => found.Fault == VtdFaultReason.None && found.IsLeaf)
            .Select(static found => found.ToLeaf());

    /// <summary>The entries below a root that are present and that the hardware would refuse.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 to 5; 4 or 5 in the first stage.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <param name="stage">Which tables: first or second stage.</param>
    /// <returns>Each with its reason; those of the second stage by the numbers of the legacy mode.</returns>
    public static IEnumerable<MalformedEntry> Malformed<TMemory>(
        TMemory memory, PhysAddr root, int levels, VtdOptions? options = null, TranslationStage stage = TranslationStage.SecondStage)
        where TMemory : struct, IPhysicalMemory =>
        Below(memory, Top(root, levels, stage), options ?? VtdOptions.Default)
            .Where(static found => found.Fault != VtdFaultReason.None)
            .Select(static found => new MalformedEntry(new(found.First), found.Level, found.At, found.Fault));

    /// <summary>Every table reachable from a root, each once, the root first.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 to 5; 4 or 5 in the first stage.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <param name="stage">Which tables: first or second stage.</param>
    public static IEnumerable<PhysAddr> TablePages<TMemory>(
        TMemory memory, PhysAddr root, int levels, VtdOptions? options = null, TranslationStage stage = TranslationStage.SecondStage)
        where TMemory : struct, IPhysicalMemory
    {
        options ??= VtdOptions.Default;
        // A table is walked once for each level at which it is met: hostile tables point at themselves.
        var met = new HashSet<(PhysAddr, int)>();
        var given = new HashSet<PhysAddr>();
        var waiting = new Queue<Table>([Top(root, levels, stage)]);
        while (waiting.TryDequeue(out Table table))
        {
            if (given.Add(table.Address)) yield return table.Address;
            if (table.Level != 1)
            {
                foreach (Found found in Entries(memory, table, options))
                {
                    if (found.Fault != VtdFaultReason.None || found.IsLeaf) continue;
                    if (!met.Add((found.Target, found.Level))) continue;
                    waiting.Enqueue(found.ToTable());
                }
            }
        }
    }

    private static Table Top(PhysAddr root, int levels, TranslationStage stage)
    {
        bool isKnown = stage switch
        {
            TranslationStage.SecondStage => levels is >= 3 and <= 5,
            TranslationStage.FirstStage => levels is 4 or 5,
            TranslationStage.Nested => throw new ArgumentOutOfRangeException(nameof(stage), stage, "tables are of one stage or the other"),
            _ => throw new ArgumentOutOfRangeException(nameof(stage), stage, "pass-through has no tables"),
        };
        if (!isKnown) throw new ArgumentOutOfRangeException(nameof(levels), levels, "tables of the stage have not so many levels");
        return new(root, stage, levels, 0, Rights.All);
    }

    /// <summary>Every present entry below a table, depth first.</summary>
    private static IEnumerable<Found> Below<TMemory>(TMemory memory, Table table, VtdOptions options)
        where TMemory : struct, IPhysicalMemory
    {
        foreach (Found found in Entries(memory, table, options))
        {
            yield return found;
            if (found.Fault != VtdFaultReason.None || found.IsLeaf) continue;
            foreach (Found below in Below(memory, found.ToTable(), options)) yield return below;
        }
    }

    /// <summary>The present entries of one table; one of the table itself with a fault if it cannot be fetched.</summary>
    private static IEnumerable<Found> Entries<TMemory>(TMemory memory, Table table, VtdOptions options)
        where TMemory : struct, IPhysicalMemory
    {
        WalkFaults faults = table.Stage == TranslationStage.FirstStage ? WalkFaults.FirstStage : WalkFaults.Legacy;
        for (uint index = 0; index < 1u << PageLevels.CountLog2; index++)
        {
            ulong first = table.First | (ulong)index << PageLevels.Shift(table.Level);
            PhysAddr at = PageLevels.EntryAddress(table.Address, first, table.Level);
            if (!memory.TryRead64(at, out ulong bits))
            {
                yield return new(table, first, at, faults.NextUnreachable);
                yield break;
            }

            Found found = table.Stage == TranslationStage.FirstStage
                ? Decode(new FirstStageEntry(bits), table, first, at, options, faults, out bool isPresent)
                : Decode(new SecondStageEntry(bits), table, first, at, options, faults, out isPresent);
            if (isPresent) yield return found;
        }
    }

    private static Found Decode<TEntry>(
        TEntry entry, in Table table, ulong first, PhysAddr at, VtdOptions options, WalkFaults faults, out bool isPresent)
        where TEntry : struct, IVtdPagingEntry<TEntry>
    {
        isPresent = entry.IsPresent;
        return new(table, first, at, entry.HasReserved(table.Level, options) ? faults.Reserved : VtdFaultReason.None)
        {
            IsLeaf = entry.IsLeaf(table.Level),
            Target = entry.Target(table.Level),
            Rights = table.Rights & entry.Rights,
            PatIndex = entry.PatIndex(table.Level),
        };
    }

    private readonly record struct Table(
        PhysAddr Address, TranslationStage Stage, int Level, ulong First, Rights Rights);

    private readonly record struct Found(Table Parent, ulong First, PhysAddr At, VtdFaultReason Fault)
    {
        public int Level => Parent.Level;

        public bool IsLeaf { get; init; }

        public PhysAddr Target { get; init; }

        public Rights Rights { get; init; }

        public int PatIndex { get; init; }

        public Table ToTable() => new(Target, Parent.Stage, Level - 1, First, Rights);

        public DecodedLeaf ToLeaf() => new(
            new(First), 1UL << PageLevels.Shift(Level), Target,
            Rights.HasFlag(Rights.Read), Rights.HasFlag(Rights.Write), Rights.HasFlag(Rights.User), Rights.HasFlag(Rights.Execute), PatIndex);
    }
}

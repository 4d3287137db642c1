using Platform;

namespace IommuSim;

/// <summary>A page that second-stage tables translate.</summary>
/// <param name="First">Its first device address.</param>
/// <param name="ByteCount">4 KiB, 2 MiB or 1 GiB.</param>
/// <param name="Address">The physical address of its first byte.</param>
/// <param name="Read">Whether every entry on the way grants reads.</param>
/// <param name="Write">Whether every entry on the way grants writes.</param>
public readonly record struct DecodedLeaf(Iova First, ulong ByteCount, PhysAddr Address, bool Read, bool Write);

/// <summary>An entry that is present and that the hardware would refuse.</summary>
/// <param name="First">The first device address that it should translate.</param>
/// <param name="Level">Its level; 1 is the last.</param>
/// <param name="EntryAddress">Where it is.</param>
/// <param name="Reason">The fault that an access through it gets.</param>
public readonly record struct MalformedEntry(Iova First, int Level, PhysAddr EntryAddress, VtdFaultReason Reason);

/// <summary>What a usable context entry says.</summary>
/// <param name="Root">The root of the second-stage tables; meaningless for pass-through.</param>
/// <param name="Levels">3 or 4.</param>
/// <param name="Domain">The domain id.</param>
/// <param name="PassThrough">Whether the device's accesses go untranslated.</param>
public readonly record struct DecodedContext(PhysAddr Root, int Levels, VtdDomainId Domain, bool PassThrough);

/// <summary>
/// Decodes tables in memory as the hardware would read them now, with no cache in between: for oracles and audits.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Translation Structure Formats.</para>
/// <para><b>Errors.</b> None: entries that the hardware would refuse, and tables outside memory, translate nothing;
/// <see cref="Malformed"/> tells of them.</para>
/// <para><b>Threads.</b> Any number at once; changes made during an enumeration may or may not be seen.</para>
/// </remarks>
public static class VtdTables
{
    /// <summary>The pages below a root, in the order of their device addresses.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 or 4.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <returns>
    /// Found one by one: tables that point back at themselves translate up to 2^36 pages, and all would be given.
    /// </returns>
    public static IEnumerable<DecodedLeaf> Leaves<TMemory>(TMemory memory, PhysAddr root, int levels, VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        CheckLevels(levels);
        var start = new Table(root, levels, 0, true, true);
        return Below(memory, start, options ?? VtdOptions.Default)
            .Where(static found => found.Fault == VtdFaultReason.None && found.IsLeaf)
            .Select(static found => found.ToLeaf());
    }

    /// <summary>The entries below a root that are present and that the hardware would refuse.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 or 4.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    public static IEnumerable<MalformedEntry> Malformed<TMemory>(TMemory memory, PhysAddr root, int levels, VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        CheckLevels(levels);
        var start = new Table(root, levels, 0, true, true);
        return Below(memory, start, options ?? VtdOptions.Default)
            .Where(static found => found.Fault != VtdFaultReason.None)
            .Select(static found => new MalformedEntry(new(found.First), found.Level, found.At, found.Fault));
    }

    /// <summary>Every table reachable from a root, each once, the root first.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="levels">3 or 4.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    public static IEnumerable<PhysAddr> TablePages<TMemory>(TMemory memory, PhysAddr root, int levels, VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        CheckLevels(levels);
        options ??= VtdOptions.Default;
        // A table is walked once for each level at which it is met: hostile tables point at themselves.
        var met = new HashSet<(PhysAddr, int)> { (root, levels) };
        var given = new HashSet<PhysAddr>();
        var waiting = new Queue<Table>([new(root, levels, 0, true, true)]);
        while (waiting.TryDequeue(out Table table))
        {
            if (given.Add(table.Address)) yield return table.Address;
            if (table.Level == 1) continue;
            foreach (Found found in Entries(memory, table, options))
            {
                if (found.Fault != VtdFaultReason.None || found.IsLeaf) continue;
                if (!met.Add((found.Entry.Address, found.Level - 1))) continue;
                waiting.Enqueue(found.ToTable());
            }
        }
    }

    /// <summary>Finds the context entry of a device.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="rootTable">The root table, as in RTADDR_REG.</param>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="context">What it says; default if there is none.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <returns>False if the hardware would refuse every access of the device because of its root or context entry.</returns>
    public static bool TryFindContext<TMemory>(
        TMemory memory, PhysAddr rootTable, StreamId source, out DecodedContext context, VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, 0xFFFFu, nameof(source));
        options ??= VtdOptions.Default;
        context = default;
        var rootAt = new PhysAddr((rootTable.Value & VtdEntries.FrameMask) | (source.Value >> 8) * RootEntry.Bytes);
        if (!VtdEntries.TryRead128(memory, rootAt, out ulong low, out ulong high)) return false;
        var rootEntry = new RootEntry(low, high);
        if (!rootEntry.IsPresent || rootEntry.HasReserved(options.HostAddressWidth)) return false;
        var contextAt = new PhysAddr(rootEntry.ContextTable.Value | (source.Value & 0xFF) * ContextEntry.Bytes);
        if (!VtdEntries.TryRead128(memory, contextAt, out low, out high)) return false;
        var entry = new ContextEntry(low, high);
        if (entry.Check(options) != VtdFaultReason.None) return false;
        context = new(entry.Table, entry.Levels, entry.Domain, entry.IsPassThrough);
        return true;
    }

    private static void CheckLevels(int levels)
    {
        if (levels is not (3 or 4)) throw new ArgumentOutOfRangeException(nameof(levels), levels, "tables have 3 or 4 levels");
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
        for (uint index = 0; index < 1u << SecondStageEntry.CountLog2; index++)
        {
            ulong first = table.First | (ulong)index << VtdEntries.Shift(table.Level);
            PhysAddr at = VtdEntries.EntryAddress(table.Address, first, table.Level);
            if (!memory.TryRead64(at, out ulong bits))
            {
                yield return new(table, first, at, default, VtdFaultReason.NextTablePointerInvalid);
                yield break;
            }

            var entry = new SecondStageEntry(bits);
            if (!entry.IsPresent) continue;
            bool isRefused = entry.HasReserved(table.Level, options);
            yield return new(table, first, at, entry, isRefused ? VtdFaultReason.PagingEntryReserved : VtdFaultReason.None);
        }
    }

    private readonly record struct Table(PhysAddr Address, int Level, ulong First, bool Read, bool Write);

    private readonly record struct Found(Table Parent, ulong First, PhysAddr At, SecondStageEntry Entry, VtdFaultReason Fault)
    {
        public int Level => Parent.Level;

        public bool IsLeaf => Entry.IsLeaf(Level);

        public Table ToTable() => new(Entry.Address, Level - 1, First, Parent.Read && Entry.Read, Parent.Write && Entry.Write);

        public DecodedLeaf ToLeaf() => new(
            new(First), 1UL << VtdEntries.Shift(Level), Entry.Address, Parent.Read && Entry.Read, Parent.Write && Entry.Write);
    }
}

using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public static partial class VtdTables
{
    /// <summary>Finds the legacy-mode context entry of a device.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="rootTable">The root table, as in RTADDR_REG; a legacy one whatever the bits of its mode say.</param>
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
        var root = new PhysAddr(rootTable.Value & PageLevels.FrameMask);
        CachedContext found = LegacyStructures.ReadContext(memory, default(NoSteps), options, source, root);
        if (found.Fault != VtdFaultReason.None) return false;
        ContextEntry entry = found.Entry;
        context = new(entry.Table, entry.Levels, entry.Domain, entry.IsPassThrough);
        return true;
    }

    /// <summary>Finds how the requests of a device are translated, in the mode that the root table pointer says.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="rootTable">RTADDR_REG as it was when the root table pointer was set, with its translation table mode.</param>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="pasid">The PASID of the requests; null for those without.</param>
    /// <param name="translation">How; default if there is a fault.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <returns>
    /// The fault that every such request gets (with a PASID: that asks for no supervisor privilege);
    /// <see cref="VtdFaultReason.None"/> if there is none.
    /// </returns>
    public static VtdFaultReason FindTranslation<TMemory>(
        TMemory memory,
        PhysAddr rootTable,
        StreamId source,
        Pasid? pasid,
        out DecodedTranslation translation,
        VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, 0xFFFFu, nameof(source));
        options ??= VtdOptions.Default;
        translation = default;
        var root = new RootPointer(rootTable.Value);
        VtdFaultReason fault = root.Check(options, pasid is not null);
        if (fault != VtdFaultReason.None) return fault;
        if (!root.IsScalable)
        {
            CachedContext legacy = LegacyStructures.ReadContext(memory, default(NoSteps), options, source, root.Table);
            if (legacy.Fault == VtdFaultReason.None) translation = Decode(legacy.Entry.ToAddressSpace(), supervisor: false);
            return legacy.Fault;
        }

        CachedContext context = ScalableStructures.ReadContext(memory, default(NoSteps), options, source, root.Table);
        if (context.Fault != VtdFaultReason.None) return context.Fault;
        if (pasid is { } given) fault = context.Scalable.CheckPasid(given, options);
        if (fault != VtdFaultReason.None) return fault;
        DecodedPasid found = Decode(memory, options, context.Scalable.Directory, pasid ?? context.Scalable.RidPasid);
        if (found.Reason != VtdFaultReason.None) return found.Reason;
        if (pasid is null && context.Scalable.RidPrivilege && !found.Translation.Supervisor) return VtdFaultReason.SupervisorNotEnabled;
        translation = found.Translation;
        return VtdFaultReason.None;
    }

    /// <summary>The PASIDs that the scalable-mode context entry of a device leads to, in ascending order: those with a present entry.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="rootTable">RTADDR_REG as it was when the root table pointer was set.</param>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="options">What the hardware supports; <see cref="VtdOptions.Default"/> if null.</param>
    /// <returns>
    /// Entries that the hardware would refuse come with their reason; a directory entry that leads to no table comes once.
    /// Nothing where the hardware would refuse the context entry, or in legacy mode. Up to 2^20 are looked at.
    /// </returns>
    public static IEnumerable<DecodedPasid> Pasids<TMemory>(TMemory memory, PhysAddr rootTable, StreamId source, VtdOptions? options = null)
        where TMemory : struct, IPhysicalMemory
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, 0xFFFFu, nameof(source));
        return PasidsOf(memory, new RootPointer(rootTable.Value), source, options ?? VtdOptions.Default);
    }

    private static IEnumerable<DecodedPasid> PasidsOf<TMemory>(TMemory memory, RootPointer root, StreamId source, VtdOptions options)
        where TMemory : struct, IPhysicalMemory
    {
        // In legacy mode no request may have one.
        if (root.Check(options, hasPasid: true) != VtdFaultReason.None) yield break;
        CachedContext context = ScalableStructures.ReadContext(memory, default(NoSteps), options, source, root.Table);
        if (context.Fault != VtdFaultReason.None) yield break;
        const uint perTable = 1u << PasidDirectoryEntry.TableCountLog2;
        uint end = 1u << Math.Min(context.Scalable.PasidBits, 20);
        for (uint table = 0; table < end; table += perTable)
        {
            for (uint pasid = table; pasid < table + perTable; pasid++)
            {
                DecodedPasid found = Decode(memory, options, context.Scalable.Directory, new(pasid));
                if (found.Reason == VtdFaultReason.PasidEntryNotPresent) continue;
                bool isOfDirectory = found.Reason is >= VtdFaultReason.PasidDirectoryEntryUnreachable and <= VtdFaultReason.PasidEntryUnreachable;
                if (found.Reason != VtdFaultReason.PasidDirectoryEntryNotPresent) yield return found;
                if (isOfDirectory) break;
            }
        }
    }

    private static DecodedPasid Decode<TMemory>(TMemory memory, VtdOptions options, PhysAddr directory, Pasid pasid)
        where TMemory : struct, IPhysicalMemory
    {
        CachedPasid found = ScalableStructures.ReadPasid(memory, default(NoSteps), options, directory, pasid);
        if (found.Fault != VtdFaultReason.None) return new(pasid, found.Fault, default);
        return new(pasid, VtdFaultReason.None, Decode(found.Entry.ToAddressSpace(pasid), found.Entry.IsSupervisorEnabled));
    }

    private static DecodedTranslation Decode(in AddressSpace space, bool supervisor) => new(
        space.Stage, space.Table, space.Levels, space.Domain, space.Pasid, space.KeepsFlags, space.IsWriteProtected, supervisor,
        space.SecondTable, space.SecondLevels, space.SecondKeepsFlags);
}

using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Accesses that came elsewhere, or to nothing.</summary>
internal static class AccessLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("an access that is blocked though it is granted", Invariant.TablesAreTruth, " was blocked; it is mapped to", static told => IsTranslated(told) && told.Seen.Reached is not null ? new(Outcome.Fault) : null),
        new("an access that reaches another page of its region", Invariant.TablesAreTruth, " and reached 0x", static told => IsTranslated(told) && OtherPage(told) is { } other ? told.Seen with { Reached = other } : null)
        {
            // Where the two have changed places.
            OrElse = Invariant.NoStaleAccess,
        },
        new("an access that reaches what was mapped there before", Invariant.NoStaleAccess, " and reached 0x", static told => IsTranslated(told) && Before(told) is { } before ? new(Outcome.None) { Reached = before } : null)
        {
            OrElse = Invariant.Isolation,
        },
        new("a write to what may only be read", Invariant.Permission, " and reached 0x",
            static told => IsTranslated(told) && told.Seen.Outcome == Outcome.Fault && Meaning(told) is { } meaning && !meaning.Grants(((DeviceAccess)told.Operation).Kind) ? new(Outcome.None) { Reached = meaning.Target } : null)
        {
            // Where it was granted once, and narrowed away.
            OrElse = Invariant.NoStaleAccess,
        },
        new("an access of a supervisor that is let in", Invariant.Permission, "no device has supervisor privilege",
            static told => told.Operation is DeviceAccess { IsPrivileged: true } && IsTranslated(told) && Meaning(told) is { } meaning ? new(Outcome.None) { Reached = meaning.Target } : null),
        new("an access to no memory that is let through", Invariant.Isolation, "to no memory that it could tell", static told => IsTranslated(told) && told.Seen.Outcome == Outcome.Fault && Meaning(told) is null && !IsMessage(told) ? new(Outcome.None) : null),
        new("an access to memory that is nobody's of its regions", Invariant.Isolation, " and reached 0x", static told => IsTranslated(told) && told.Seen.Outcome == Outcome.Fault && Meaning(told) is null && Foreign(told) is { } foreign ? new(Outcome.None) { Reached = foreign } : null)
        {
            OrElse = Invariant.NoStaleAccess,
        },
        new("an access during a deactivation that reaches memory that is nobody's of its region", Invariant.Isolation, " was being deactivated ", static told => Elsewhere(told))
        {
            OrElse = Invariant.NoStaleAccess,
        },
        new("a transfer that goes on behind the page in which it was refused", Invariant.FaultExact, "; it stops where it is refused",
            static told => told is { Operation: CrossingAccess, Seen: { Outcome: Outcome.Fault, Reached: null } } ? told.Seen with { ReachedNext = 0x100_0000 } : null),
        new("a device that is let through and reaches another address", Invariant.Isolation, "; nothing stands between it and memory", static told => IsPassing(told) && told.Seen.Reached is { } reached ? told.Seen with { Reached = reached ^ World.PageBytes } : null),
        new("a device that is let through and is kept from memory", Invariant.Isolation, " and it came to Fault", static told => IsPassing(told) && told.IsDone ? new(Outcome.Fault) : null),
        new("a write of a device that is let through that is nowhere", Invariant.Isolation, " and it came to None", static told => IsPassing(told) && told is { IsDone: true, Operation: DeviceAccess { Kind: Permissions.Write } } ? new(Outcome.None) : null),
        new("a supervisor of a device that is let through", Invariant.Permission, " as supervisor, and was let in", static told => told.Operation is DeviceAccess { IsPrivileged: true } access && told.World.PassesThrough(access.Device, access.Pasid) ? new(Outcome.None) { Reached = access.Address } : null),
        new("a device without an IOMMU that is kept from what it was given", Invariant.TablesAreTruth, ", which has no IOMMU, ", static told => IsDirect(told) && Meaning(told) is not null ? new(Outcome.Fault) : null),
        new("a device without an IOMMU that reaches another address", Invariant.Isolation, " and reached 0x", static told => IsDirect(told) && Meaning(told) is null && told.Seen.Reached is { } reached ? told.Seen with { Reached = reached + World.PageBytes } : null),
        new("a device without an IOMMU that is kept from memory", Invariant.Isolation, ", and nobody between", static told => IsDirect(told) && Meaning(told) is null && told.IsDone ? new(Outcome.Fault) : null),
    ];

    /// <summary>The last of the accesses while a device was detached.</summary>
    private static Observation? Elsewhere(Told told)
    {
        if (told.Operation is not Deactivate { Meanwhile: { } meanwhile } deactivate || told.Seen.Meanwhile.IsEmpty || !told.IsDone) return null;
        AssociationState association = told.World.Associations[deactivate.Association];
        var access = new DeviceAccess(association.Device, meanwhile.Address, meanwhile.Kind) { Pasid = association.Pasid };
        return Foreign(told with { Operation = access }) is { } foreign && Meaning(told with { Operation = access })?.Target != foreign
            ? told.Seen with { Meanwhile = told.Seen.Meanwhile.SetItem(told.Seen.Meanwhile.Length - 1, new(Outcome.None, foreign)) }
            : null;
    }

    private static bool IsTranslated(Told told) => told.Operation is DeviceAccess { IsStray: false } access && told.World.ModelOf(access.Device).IsTranslated && !told.World.PassesThrough(access.Device, access.Pasid) && told.World.ActiveAssociationOf(access.Device, access.Pasid) is not { Guest: not null };

    private static bool IsPassing(Told told) => told.Operation is DeviceAccess { IsStray: false, IsPrivileged: false } access && told.World.PassesThrough(access.Device, access.Pasid);

    private static bool IsDirect(Told told) => told.Operation is DeviceAccess access && !told.World.ModelOf(access.Device).IsTranslated;

    private static bool IsMessage(Told told) => told.Operation is DeviceAccess { Pasid: null } access && told.World.Iommu.Untranslated.Any(range => range.Contains(access.Address));

    private static Translation? Meaning(Told told) => told.Operation is DeviceAccess access ? told.World.Sees(access.Device, access.Address, access.Pasid) : null;

    private static ulong? OtherPage(Told told)
    {
        var access = (DeviceAccess)told.Operation;
        if (told.Seen.Reached is not { } reached || Meaning(told) is null || told.World.ActiveVcmOf(access.Device, access.Pasid) is not { } vcm) return null;
        return told.World.MappingsOf(vcm).Select(static mapping => (ulong?)mapping.Translation.Target)
            .FirstOrDefault(target => target / World.PageBytes != reached / World.PageBytes && target != told.World.StaleAt(access.Device, access.Address, access.Pasid)?.Target);
    }

    private static ulong? Before(Told told)
    {
        var access = (DeviceAccess)told.Operation;
        if (told.Seen.Outcome != Outcome.Fault || access.IsPrivileged || IsMessage(told) || told.World.StaleAt(access.Device, access.Address, access.Pasid) is not null) return null;
        return told.World.Former.Where(former => former.Device == access.Device && former.Pasid == access.Pasid && former.Mapping.Range.Contains(access.Address))
            .Select(former => former.Mapping.At(access.Address)).Where(then => then.Grants(access.Kind)).Select(static then => (ulong?)then.Target).FirstOrDefault();
    }

    /// <summary>Memory that was allocated, and that the device's region does not map.</summary>
    private static ulong? Foreign(Told told)
    {
        var access = (DeviceAccess)told.Operation;
        ObjectId? vcm = told.World.ActiveVcmOf(access.Device, access.Pasid);
        HashSet<ulong> own = [.. vcm is { } active ? told.World.MappingsOf(active).Select(static mapping => mapping.Translation.Target) : []];
        if (IsMessage(told) || told.World.StaleAt(access.Device, access.Address, access.Pasid) is not null) return null;
        return told.World.Memories.Values.Where(static memory => !memory.IsFreed).SelectMany(static memory => memory.Segments)
            .Where(segment => !own.Contains(segment.First)).Select(static segment => (ulong?)segment.First).FirstOrDefault();
    }
}

namespace Vcmm.Spec;

/// <summary>
/// An access of a guest's device that reached memory, and what can have led it there, for the predicates: from what the region maps and what the guest has
/// written, not from how accesses are judged.
/// </summary>
internal sealed class NestedAccess
{
    private readonly AssociationState _association;
    private readonly GuestState _guest;
    private readonly List<Mapping> _behind;
    private readonly List<GuestEntry> _said = [];

    private NestedAccess(World world, DeviceAccess access, AssociationState association, ulong reached)
    {
        (_association, Access, Reached) = (association, access, reached);
        _guest = world.Guests[association.Guest!.Value];
        _behind = [.. world.MappingsOf(association.Vcm), .. world.StaleOf(association.Vcm)];
        if (access.Address is < World.GuestFirst or >= World.GuestFirst + (World.GuestPages * World.PageBytes)) return;
        int page = (int)((access.Address - World.GuestFirst) / World.PageBytes);
        if (_guest.Entries[page] is { } now) _said.Add(now);
        foreach (UntoldEntry untold in association.Untold)
        {
            if (untold.Page == page && untold.Entry is { } then) _said.Add(then);
        }
    }

    /// <summary>The access.</summary>
    public DeviceAccess Access { get; }

    /// <summary>Where it got to.</summary>
    public ulong Reached { get; }

    /// <summary>Whether the region maps each page of the guest's tables where the guest has written it, or did and it waits for a flush.</summary>
    public bool HasTables => Enumerable.Range(0, _guest.Frames.Length).All(table => _behind.Exists(mapping => LeadsTo(mapping, _guest.Root + ((ulong)table * World.PageBytes), _guest.Frames[table])));

    /// <summary>Whether what it reached is memory that the region maps, or did and it waits for a flush.</summary>
    public bool IsBehindRegion => _behind.Exists(mapping => Reached >= mapping.Translation.Target && Reached - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First);

    /// <summary>Whether something that the guest's table says, or has said and not told, leads to where the region has nothing.</summary>
    public bool LeadsToNothing => _said.Exists(entry => !_behind.Exists(mapping => mapping.Range.Contains(TargetOf(entry))));

    /// <summary>Whether something of that leads to what it reached.</summary>
    public bool IsLedThere => _said.Exists(entry => _behind.Exists(mapping => LeadsTo(mapping, TargetOf(entry), Reached)));

    /// <summary>Whether both tables on such a way grant it.</summary>
    public bool IsGranted => _said.Exists(entry => (entry.MayWrite || Access.Kind == Permissions.Read)
        && _behind.Exists(mapping => LeadsTo(mapping, TargetOf(entry), Reached) && mapping.Translation.Grants(Access.Kind)));

    /// <summary>Of a step; null: it is none.</summary>
    public static NestedAccess? Of(WorldStep step) => step is { Operation: DeviceAccess access, Seen.Reached: { } reached } && step.Before.ActiveAssociationOf(access.Device, access.Pasid) is { Guest: not null } association
        ? new(step.Before, access, association, reached)
        : null;

    /// <summary><c>d0 Read 0x5a5a40204000 through g1's table reached 0x1000000</c>.</summary>
    public override string ToString() => $"{Access.Device} {Access.Kind} 0x{Access.Address:x} through {_association.Guest}'s table reached 0x{Reached:x}";

    private ulong TargetOf(GuestEntry entry) => entry.Target + (Access.Address % World.PageBytes);

    private static bool LeadsTo(Mapping mapping, ulong address, ulong target) => mapping.Range.Contains(address) && mapping.At(address).Target == target;
}

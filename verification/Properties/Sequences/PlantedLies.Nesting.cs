using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Accesses through guests' tables that came elsewhere, or to nothing.</summary>
internal static class NestingLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("an access through a guest's table that is blocked though both tables grant it", Invariant.TablesAreTruth, "'s table and was blocked; ",
            static told => OfNested(told) is { } association && told.IsDone && MustGrant(told, association) ? new(Outcome.Fault) : null),
        new("a write through a guest's table to what may only be read", Invariant.Permission, "'s table and reached 0x",
            static told => OfNested(told) is { Untold.IsEmpty: true } && told is { World.Quarantine.IsEmpty: true, Seen.Outcome: Outcome.Fault, Operation: DeviceAccess { IsPrivileged: false, Kind: Permissions.Write } access } && told.World.Sees(access.Device, access.Address, access.Pasid) is { Write: false } meaning ? new(Outcome.None) { Reached = meaning.Target } : null)
        {
            // Where it was granted once.
            OrElse = Invariant.NoStaleAccess,
        },
        new("an access through a guest's table to memory of nobody's", Invariant.Isolation, "'s table and reached 0x", static told => OfNested(told) is { } association && IsBeside(told, association) ? new(Outcome.None) { Reached = Nowhere } : null),
        new("an access through a guest's table that reaches where no data is", Invariant.Isolation, "'s table and was let through to no memory", static told => OfNested(told) is not null && told.IsDone ? new(Outcome.None) : null),
        new("an access through a guest's table that waits", Invariant.FaultExact, "; it cannot wait there", static told => OfNested(told) is not null && told.Seen.Outcome == Outcome.Fault ? new(Outcome.Waits) : null),
    ];

    // Behind all memory of every machine.
    private const ulong Nowhere = 0xFFFF_F000_0000;

    private static AssociationState? OfNested(Told told) =>
        told.Operation is DeviceAccess { IsStray: false } access && told.World.ActiveAssociationOf(access.Device, access.Pasid) is { Guest: not null } association ? association : null;

    private static bool IsBeside(Told told, AssociationState association) => told.Operation is DeviceAccess access && told.World.SeenThroughGuest(association, access.Address).All(static seen => seen.Target != Nowhere);

    /// <summary>Nothing that was so before may be kept, and the hardware can set its flags.</summary>
    private static bool MustGrant(Told told, AssociationState association)
    {
        GuestState guest = told.World.Guests[association.Guest!.Value];
        return association.Untold.IsEmpty && told.World.Quarantine.IsEmpty
            && Enumerable.Range(0, World.GuestTables).All(table => told.World.MeaningOf(association.Vcm, guest.Root + ((ulong)table * World.PageBytes)) is { Read: true, Write: true });
    }
}

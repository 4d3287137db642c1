using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Models that let one thing pass of guests that they must not.</summary>
internal static class PlantedGuestModels
{
    private static readonly Scope Small = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 0, Guests = 1 };

    public static IReadOnlyList<PlantedModel> All { get; } =
    [
        new("a guest's device that has the region's addresses", Invariant.TablesAreTruth, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; read d0 0x0", Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) => world.MeaningOf(association.Vcm, access.Address)?.Target == reached)),
        new("a guest's table that is outside the region", Invariant.TablesAreTruth, "v1 = vcm 0x1000000-0x103ffff one-to-one; a1 = associate v1 d0 nested g0", Small with { OneToOne = true }, static (world, operation, seen, surroundings) =>
            PlantedModels.Lets<Associate>(world, operation, seen, surroundings, associate => associate.Guest is not null && !world.Vcms[associate.Vcm].IsFreed ? Joined(world, associate, TableKind.SecondStage) : null)),
        new("a guest's table that is nested in tables of the first stage", Invariant.SharedTable, "v1 = vcm 0x0-0xfff; a1 = associate v1 d0 first-stage nested g0", Small with { Formats = 2 }, static (world, operation, seen, surroundings) =>
            PlantedModels.Lets<Associate>(world, operation, seen, surroundings, associate => associate is { Guest: not null, Kind: { } kind } && !world.Vcms[associate.Vcm].IsFreed ? Joined(world, associate, kind) : null)),
        new("a device that joins a guest's others and has kept nothing that they have", Invariant.SharedTable, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; a2 = associate v1 d1 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; guest-map g1 page 0 to 0x0 rw; activate a2", Small with { Devices = 2 }, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is Activate activate
                ? Verdict<World>.Accept(next with { Associations = next.Associations.SetItem(activate.Association, next.Associations[activate.Association] with { Untold = [] }) })
                : world.Judge(operation, seen, surroundings)),
        new("a guest's device that goes on where the region has taken the table away", Invariant.NoStaleAccess, "v1 = vcm 0x0-0xfff; a1 = associate v1 d0 nested g0; activate a1; read d0 0x5a5a40204000", Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, _, association, _) => world.MeaningOf(association.Vcm, world.Guests[association.Guest!.Value].Root) is null)),
        new("what the region has taken away and is seen through a guest's table", Invariant.NoStaleAccess, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x1000 r; read d0 0x5a5a40204000", Small with { Granules = 2 }, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { } entry && world.MeaningOf(association.Vcm, entry.Target) is null && reached == Scope.Foreign.First)),
        new("an invalidation after which a device has kept what it was told of", Invariant.NoStaleAccess, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; guest-map g1 page 0 to 0x0 rw; invalidate a1 0x5a5a40204000-0x5a5a40204fff", Small, static (world, operation, seen, surroundings) =>
            operation is GuestInvalidate && world.Judge(operation, seen, surroundings).IsAccepted ? Verdict<World>.Accept(world) : world.Judge(operation, seen, surroundings)),
        new("an invalidation that only the association's own device has heard", Invariant.NoStaleAccess, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; a2 = associate v1 d1 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; guest-map g1 page 0 to 0x0 rw; invalidate a2 0x5a5a40204000-0x5a5a40204fff", Small with { Devices = 2 }, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is GuestInvalidate told
                ? Verdict<World>.Accept(next with { Associations = world.Associations.SetItem(told.Association, next.Associations[told.Association]) })
                : world.Judge(operation, seen, surroundings)),
        new("an entry that is kept with more rights than it had", Invariant.NoStaleAccess, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; guest-unmap g1 page 0", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is GuestUnmap
                ? Verdict<World>.Accept(next with { Associations = Each(next, static association => association with { Untold = [.. association.Untold.Select(static untold => untold with { Entry = untold.Entry is { } entry ? entry with { MayWrite = true } : null })] }) })
                : world.Judge(operation, seen, surroundings)),
        new("a deactivation that keeps what a guest has said", Invariant.NoStaleAccess, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; guest-map g1 page 0 to 0x0 rw; deactivate a1", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is Deactivate deactivate
                ? Verdict<World>.Accept(next with { Associations = next.Associations.SetItem(deactivate.Association, next.Associations[deactivate.Association] with { Untold = world.Associations[deactivate.Association].Untold }) })
                : world.Judge(operation, seen, surroundings)),
        new("an unback that clears what a guest's table says", Invariant.Conservation, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; guest-map g1 page 0 to 0x0 r; unback r1", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is Unback && seen.Outcome == Outcome.None && world.Guests.Values.Any(static guest => guest.Entries[0] is not null)
                ? Verdict<World>.Accept(next with { Guests = ObjectMap<GuestState>.Of(next.Guests.Select(static guest => KeyValuePair.Create(guest.Key, guest.Value with { Entries = new GuestState(guest.Value.Vcm, 0, [], []).Entries }))) })
                : world.Judge(operation, seen, surroundings)),
        new("a write that the region grants and the guest's table does not", Invariant.Permission, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; write d0 0x5a5a40204000", Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { MayWrite: false } entry && world.MeaningOf(association.Vcm, entry.Target) is { Write: true } meaning && meaning.Target == reached)),
        new("a write that a guest's table grants and the region does not", Invariant.Permission, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; protect r1 r; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 rw; write d0 0x5a5a40204000", Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { MayWrite: true } entry && world.MeaningOf(association.Vcm, entry.Target) is { Write: false } meaning && meaning.Target == reached)),
        new("a guest's device that reaches nobody's memory", Invariant.Isolation, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; g1 = guest r1 one-page; a1 = associate v1 d0 nested g1; activate a1; guest-map g1 page 0 to 0x0 r; read d0 0x5a5a40204000", Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) => EntryOf(world, association, access) is not null && reached == Scope.Foreign.First && world.MappingsOf(association.Vcm).All(mapping => mapping.Translation.Target != reached))),
    ];

    /// <summary>What of an access through a guest's table the model refuses is let pass, where that is so.</summary>
    private static Verdict<World> LetsReach(World world, Operation operation, Observation seen, Surroundings surroundings, Func<World, DeviceAccess, AssociationState, ulong, bool> mayReach) =>
        PlantedModels.Lets<DeviceAccess>(world, operation, seen, surroundings, access =>
            seen.Reached is { } reached && world.ActiveAssociationOf(access.Device, null) is { Guest: not null } association && mayReach(world, access, association, reached) ? world : null);

    /// <summary>What the guest's table says of an address; null: nothing, or it is none of its devices'.</summary>
    private static GuestEntry? EntryOf(World world, AssociationState association, DeviceAccess access) =>
        access.Address < World.GuestFirst || world.MeaningOf(association.Vcm, world.Guests[association.Guest!.Value].Root) is null ? null : world.Guests[association.Guest!.Value].Entries[(int)((access.Address - World.GuestFirst) / World.PageBytes)];

    private static World Joined(World world, Associate associate, TableKind kind) =>
        world with { Associations = world.Associations.Add(associate.Association, new(associate.Vcm, associate.Device) { Kind = kind, Guest = associate.Guest }) };

    private static ObjectMap<AssociationState> Each(World world, Func<AssociationState, AssociationState> change) =>
        ObjectMap<AssociationState>.Of(world.Associations.Select(pair => KeyValuePair.Create(pair.Key, change(pair.Value))));
}

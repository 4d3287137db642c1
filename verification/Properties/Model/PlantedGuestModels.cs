using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Models that let one thing pass of guests that they must not.</summary>
internal static class PlantedGuestModels
{
    private static readonly Scope Small = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 0, Guests = 1 };

    public static IReadOnlyList<PlantedModel> All { get; } =
    [
        new("a guest's device that has the region's addresses", Invariant.TablesAreTruth, 6, Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) => world.MeaningOf(association.Vcm, access.Address)?.Target == reached)),
        new("a guest's table that is outside the region", Invariant.TablesAreTruth, 2, Small with { OneToOne = true }, static (world, operation, seen, surroundings) =>
            PlantedModels.Lets<Associate>(world, operation, seen, surroundings, associate => associate.Guest is not null && !world.Vcms[associate.Vcm].IsFreed ? Joined(world, associate, TableKind.SecondStage) : null)),
        new("a guest's table that is nested in tables of the first stage", Invariant.SharedTable, 2, Small with { Formats = 2 }, static (world, operation, seen, surroundings) =>
            PlantedModels.Lets<Associate>(world, operation, seen, surroundings, associate => associate is { Guest: not null, Kind: { } kind } && !world.Vcms[associate.Vcm].IsFreed ? Joined(world, associate, kind) : null)),
        new("a device that joins a guest's others and has kept nothing that they have", Invariant.SharedTable, 9, Small with { Devices = 2 }, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is Activate activate
                ? Verdict<World>.Accept(next with { Associations = next.Associations.SetItem(activate.Association, next.Associations[activate.Association] with { Untold = [] }) })
                : world.Judge(operation, seen, surroundings)),
        new("a guest's device that goes on where the region has taken the table away", Invariant.NoStaleAccess, 4, Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, _, association, _) => world.MeaningOf(association.Vcm, world.Guests[association.Guest!.Value].Root) is null)),
        new("what the region has taken away and is seen through a guest's table", Invariant.NoStaleAccess, 7, Small with { Granules = 2 }, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { } entry && world.MeaningOf(association.Vcm, entry.Target) is null && reached == Scope.Foreign.First)),
        new("an invalidation after which a device has kept what it was told of", Invariant.NoStaleAccess, 8, Small, static (world, operation, seen, surroundings) =>
            operation is GuestInvalidate && world.Judge(operation, seen, surroundings).IsAccepted ? Verdict<World>.Accept(world) : world.Judge(operation, seen, surroundings)),
        new("an invalidation that only the association's own device has heard", Invariant.NoStaleAccess, 9, Small with { Devices = 2 }, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is GuestInvalidate told
                ? Verdict<World>.Accept(next with { Associations = world.Associations.SetItem(told.Association, next.Associations[told.Association]) })
                : world.Judge(operation, seen, surroundings)),
        new("an entry that is kept with more rights than it had", Invariant.NoStaleAccess, 7, Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is GuestUnmap
                ? Verdict<World>.Accept(next with { Associations = Each(next, static association => association with { Untold = [.. association.Untold.Select(static untold => untold with { Entry = untold.Entry is { } entry ? entry with { MayWrite = true } : null })] }) })
                : world.Judge(operation, seen, surroundings)),
        new("a deactivation that keeps what a guest has said", Invariant.NoStaleAccess, 8, Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && seen.Outcome == Outcome.None && operation is Deactivate deactivate
                ? Verdict<World>.Accept(next with { Associations = next.Associations.SetItem(deactivate.Association, next.Associations[deactivate.Association] with { Untold = world.Associations[deactivate.Association].Untold }) })
                : world.Judge(operation, seen, surroundings)),
        new("an unback that clears what a guest's table says", Invariant.Conservation, 5, Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is Unback && seen.Outcome == Outcome.None && world.Guests.Values.Any(static guest => guest.Entries[0] is not null)
                ? Verdict<World>.Accept(next with { Guests = ObjectMap<GuestState>.Of(next.Guests.Select(static guest => KeyValuePair.Create(guest.Key, guest.Value with { Entries = new GuestState(guest.Value.Vcm, 0, [], []).Entries }))) })
                : world.Judge(operation, seen, surroundings)),
        new("a write that the region grants and the guest's table does not", Invariant.Permission, 7, Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { MayWrite: false } entry && world.MeaningOf(association.Vcm, entry.Target) is { Write: true } meaning && meaning.Target == reached)),
        new("a write that a guest's table grants and the region does not", Invariant.Permission, 8, Small, static (world, operation, seen, surroundings) =>
            LetsReach(world, operation, seen, surroundings, static (world, access, association, reached) =>
                EntryOf(world, association, access) is { MayWrite: true } entry && world.MeaningOf(association.Vcm, entry.Target) is { Write: false } meaning && meaning.Target == reached)),
        new("a guest's device that reaches nobody's memory", Invariant.Isolation, 7, Small, static (world, operation, seen, surroundings) =>
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

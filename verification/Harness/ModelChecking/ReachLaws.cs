using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>Something that must happen somewhere in a search, or the search has shown less than it seems to.</summary>
/// <param name="Name">What.</param>
/// <param name="OfStep">Whether a step is it; null: it is one of worlds.</param>
/// <param name="OfWorld">Whether a world is it; null: it is one of steps.</param>
public sealed record ReachLaw(string Name, Func<WorldStep, bool>? OfStep, Func<World, bool>? OfWorld)
{
    private ReachLaw(string name, Func<WorldStep, bool> ofStep)
        : this(name, ofStep, null)
    {
    }

    private ReachLaw(string name, Func<World, bool> ofWorld)
        : this(name, null, ofWorld)
    {
    }

    /// <summary>Those that a scope has room for.</summary>
    public static ImmutableArray<ReachLaw> For(Scope scope) =>
    [
        .. from outcome in (Outcome[])[Outcome.Invalid, Outcome.Busy, Outcome.NoSpace, Outcome.NoMemory, Outcome.NotFound, Outcome.HardwareFailure, Outcome.Fault]
           where outcome != Outcome.Fault || scope.Faults != 0
           select new ReachLaw($"something came to {outcome}", (WorldStep step) => step.Seen.Outcome == outcome),
        .. Where(scope.Devices >= 3, new ReachLaw("three devices had one table", static (World world) => MostOfOneTable(world) >= 3)),
        .. Where(scope.Formats == 2 && scope.Devices >= 2, new ReachLaw("a region had tables of two formats, and devices in both", HasTwoFormats)),
        .. Where(scope.Vcms >= 2 && scope.Devices >= 2, new ReachLaw("devices of two regions saw the same memory", SeenTwice)),
        .. Where(scope.Vcms >= 2, new ReachLaw("a region that maps was cloned", static (WorldStep step) => step is { Operation: CloneVcm clone, Seen.Outcome: Outcome.None } && step.Before.MappingsOf(clone.Source).Any())),
        new ReachLaw("a device was active", static (World world) => world.Associations.Values.Any(static association => association.IsActive)),
        new ReachLaw("a device read and wrote memory", static (WorldStep step) => step is { Operation: DeviceAccess { Kind: Permissions.Write }, Seen.Reached: not null }),
        new ReachLaw("attributes were narrowed under a device", static (WorldStep step) => step is { Operation: SetAttributes { Attributes.Permissions: Permissions.Read } set, Seen.Outcome: Outcome.None }
            && step.Before.Reservations[set.Reservation] is { IsBacked: true } reservation && step.Before.Associations.Values.Any(association => association.IsActive && association.Vcm == reservation.Vcm)),
        .. Where(
            scope.Quarantine != 0,
            new ReachLaw("what was unbacked was seen", static (WorldStep step) => step is { Operation: DeviceAccess access, Seen.Reached: { } reached } && step.Before.Sees(access.Device, access.Address)?.Target != reached),
            new ReachLaw("what was unbacked was not seen, and waited for a flush", static (WorldStep step) => step is { Operation: DeviceAccess access, Seen.Outcome: Outcome.Fault or Outcome.Waits } && step.Before.StaleAt(access.Device, access.Address) is not null),
            new ReachLaw("memory that was freed waited for a flush", static (World world) => world.Memories.Keys.Any(world.IsInQuarantine)),
            new ReachLaw("a region that was freed waited for a flush", static (World world) => world.Quarantine.Exists(waiting => world.Vcms[world.Reservations[waiting.Reservation].Vcm].IsFreed)),
            new ReachLaw("a flush came before it was due", static (WorldStep step) => step.Operation is Acquire && step.After.Quarantine.Count < step.Before.Quarantine.Count)),
        .. Where(scope.Quarantine > 1, new ReachLaw("nothing more could wait for a flush", (World world) => world.Quarantine.Count == scope.Quarantine)),
        .. Where(
            scope.Faults != 0,
            new ReachLaw("a hook was given a fault", static (WorldStep step) => !step.Seen.Faults.IsEmpty),
            new ReachLaw("a fault was lost", static (WorldStep step) => step.Seen.FaultsLost)),
        .. Where(
            scope.Waiting != 0,
            new ReachLaw("an access waited for a page", static (WorldStep step) => step.Seen.Outcome == Outcome.Waits),
            new ReachLaw("an access that had waited reached memory", static (WorldStep step) => step.Seen.Ended.Any(static end => end.Outcome == Outcome.None)),
            new ReachLaw("a hook put memory behind what an access waited for", static (WorldStep step) => !step.Seen.Acts.IsEmpty && step.Seen.Ended.Any(static end => end.Outcome == Outcome.None)),
            new ReachLaw("an access that had waited was refused", static (WorldStep step) => step is { Operation: DispatchFaults } && step.Seen.Ended.Any(static end => end.Outcome == Outcome.Fault)),
            new ReachLaw("the end of an address space ended what waited in it", static (WorldStep step) => step is { Operation: Deactivate } && !step.Seen.Ended.IsEmpty),
            new ReachLaw("nobody knew whether an access still waited", static (World world) => world.Waiting.Exists(static waiting => waiting.MayBeOver))),
        .. Where(
            scope.OneToOne,
            new ReachLaw("a device reached memory at the memory's own address", static (WorldStep step) => step is { Operation: DeviceAccess access, Seen.Reached: { } reached } && reached == access.Address)),
        .. Where(
            scope.Guests != 0,
            new ReachLaw("a device reached memory through a guest's table", static (WorldStep step) => NestedBy(step) is not null && step.Seen.Reached is { } reached && SaidNow(step, reached)),
            new ReachLaw("what a guest had said was seen after it said otherwise", static (WorldStep step) => NestedBy(step) is { Untold.IsEmpty: false } && step.Seen.Reached is { } reached && !SaidNow(step, reached)),
            new ReachLaw("a guest has told, and what it had said was seen no more", static (WorldStep step) => step is { Operation: GuestInvalidate told, Seen.Outcome: Outcome.None }
                && !step.Before.Associations[told.Association].Untold.IsEmpty && step.After.Associations[told.Association].Untold.IsEmpty)),
        .. Where(
            scope.Guests != 0 && scope.Faults != 0,
            new ReachLaw("a guest's device was blocked since the region has taken the guest's table away", static (WorldStep step) => NestedBy(step) is { } association && step.Seen.Outcome == Outcome.Fault && HasTakenAway(step.Before, association))),
        .. Where(scope.Bounds != 0, new ReachLaw("something was reserved in a bound", static (WorldStep step) => step is { Operation: Reserve { In.Kind: ObjectKind.Bound }, Seen.Outcome: Outcome.None })),
        .. Where(scope.Owners > 1, new ReachLaw("a reservation had two owners", static (World world) => world.Reservations.Values.Any(static reservation => reservation is { IsEnded: false, OwnerCount: > 1 }))),
    ];

    /// <summary>The association of an access that goes through a guest's table; null: it is another operation.</summary>
    private static AssociationState? NestedBy(WorldStep step) =>
        step.Operation is DeviceAccess access && step.Before.ActiveAssociationOf(access.Device, access.Pasid) is { Guest: not null } association ? association : null;

    private static bool SaidNow(WorldStep step, ulong reached) => step.Operation is DeviceAccess access && step.Before.Sees(access.Device, access.Address, access.Pasid)?.Target == reached;

    private static bool HasTakenAway(World world, AssociationState association)
    {
        GuestState guest = world.Guests[association.Guest!.Value];
        return guest.Vcm == association.Vcm && guest.Entries[0] is { } entry && world.MeaningOf(association.Vcm, guest.Root) is null && (entry.Target == guest.Root || world.MeaningOf(association.Vcm, entry.Target) is not null);
    }

    private static ImmutableArray<ReachLaw> Where(bool isThere, params ImmutableArray<ReachLaw> laws) => isThere ? laws : [];

    private static int MostOfOneTable(World world) => world.Associations.Values.Where(static association => association.IsActive)
        .GroupBy(static association => (association.Vcm, association.Kind)).Select(static table => table.Count()).DefaultIfEmpty().Max();

    private static bool HasTwoFormats(World world) => world.Associations.Values.Where(static association => association.IsActive)
        .GroupBy(static association => association.Vcm).Any(static region => region.Select(static association => association.Kind).Distinct().Count() > 1);

    private static bool SeenTwice(World world)
    {
        ObjectId[] active = [.. world.Associations.Values.Where(static association => association.IsActive).Select(association => world.OwnerOf(association.Vcm)).Distinct()];
        return active.Length > 1 && active.SelectMany(vcm => world.MappingsOf(vcm).Select(static mapping => mapping.Translation.Target).Distinct()).GroupBy(static frame => frame).Any(static frame => frame.Count() > 1);
    }
}

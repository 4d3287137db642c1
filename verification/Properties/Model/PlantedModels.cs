using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>A model with one mistake in it.</summary>
/// <param name="Name">The mistake.</param>
/// <param name="Broken">The invariant that is broken by it.</param>
/// <param name="Way">By which operations: the first of the shortest that a search comes to.</param>
/// <param name="Scope">In which small world.</param>
/// <param name="Judge">The model.</param>
internal sealed record PlantedModel(string Name, Invariant Broken, string Way, Scope Scope, Judge Judge);

/// <summary>Models that let one thing pass that they must not.</summary>
public static class PlantedModels
{
    private static readonly Scope Small = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 2, Frames = 1, Bounds = 1, Owners = 1, Quarantine = 1, Faults = 1 };

    private static readonly PlantedModel[] Models =
    [
        new("two reservations at one place", Invariant.NoOverlap, "v1 = vcm 0x0-0x1fff; b1 = bound v1 4K align 4K; r1 = reserve-at v1 0x0 4K r", Small, static (world, operation, seen, surroundings) =>
            Lets<ReserveAt>(world, operation, seen, surroundings, reserve => world.Vcms.TryGetValue(reserve.In, out VcmState? vcm) && !vcm.IsFreed && vcm.Range.Contains(seen.Ranges[0]) && reserve.Attributes.Permissions == Permissions.Read
                ? world with { Reservations = world.Reservations.Add(reserve.Reservation, new(reserve.In, seen.Ranges[0], reserve.Attributes)) }
                : null)),
        new("one address that means two things", Invariant.TablesAreTruth, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; back r1 m1", Small, static (world, operation, seen, surroundings) =>
            Lets<Back>(world, operation, seen, surroundings, back => world.Reservations[back.Reservation] is { IsBacked: true, IsEnded: false } reservation && !world.Memories[back.Memory].IsFreed
                ? world with { Reservations = world.Reservations.SetItem(back.Reservation, reservation with { Parts = [.. reservation.Parts, new(0, back.Memory, 0, reservation.ByteCount)] }) }
                : null)),
        new("attributes that a table cannot say", Invariant.SharedTable, "v1 = vcm 0x0-0x1fff; r1 = reserve v1 4K r align 4K; a1 = associate v1 d0; protect r1 x", Small, static (world, operation, seen, surroundings) =>
            Lets<SetAttributes>(world, operation, seen, surroundings, set => world.Reservations[set.Reservation] is { IsEnded: false } reservation
                ? world with { Reservations = world.Reservations.SetItem(set.Reservation, reservation with { Attributes = set.Attributes }) }
                : null)),
        new("addresses that are backed again before the flush", Invariant.NoStaleAccess, "v1 = vcm 0x0-0x1fff deferred; r1 m1 = bind v1 4K rw of 4K scattered; a1 = associate v1 d0; activate a1; unback r1; back r1 m1", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is Bind or Map or Back && seen.Outcome == Outcome.None && !world.Quarantine.IsEmpty
                ? Verdict<World>.Accept(next with { Quarantine = world.Quarantine })
                : world.Judge(operation, seen, surroundings)),
        new("a strict region that waits for a flush", Invariant.NoStaleAccess, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; a1 = associate v1 d0; activate a1; unmap r1", Small, static (world, operation, seen, surroundings) =>
            // As if the region were deferred.
            operation is Unmap && seen.Outcome == Outcome.None ? (world with { Vcms = ObjectMap<VcmState>.Of(world.Vcms.Select(static vcm => KeyValuePair.Create(vcm.Key, vcm.Value with { IsDeferred = true }))) })
                .Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } ? Verdict<World>.Accept(next with { Vcms = world.Vcms }) : world.Judge(operation, seen, surroundings) : world.Judge(operation, seen, surroundings)),
        new("memory that is freed while it is mapped", Invariant.FrameSafety, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; free m1", Small, static (world, operation, seen, surroundings) =>
            Lets<FreeMemory>(world, operation, seen, surroundings, free => world.Memories[free.Memory] is { IsFreed: false } memory
                ? world with { Memories = world.Memories.SetItem(free.Memory, memory with { IsFreed = true }) }
                : null)),
        new("memory that is given to two", Invariant.FrameSafety, "m1 = allocate 4K of 4K scattered; m2 = allocate 4K of 4K scattered", Small, static (world, operation, seen, surroundings) =>
            Lets<AllocateMemory>(world, operation, seen, surroundings, allocate => seen.Ranges is [var chunk] && chunk.Last - chunk.First + 1 == allocate.ByteCount
                ? world with { Memories = world.Memories.Add(allocate.Memory, new(allocate.ByteCount, seen.Ranges)) }
                : null)),
        new("memory that is given before the flush", Invariant.FrameSafety, "v1 = vcm 0x0-0x1fff deferred; r1 m1 = bind v1 4K rw of 4K scattered; a1 = associate v1 d0; activate a1; unbind v1 r1 m1; m2 = allocate 4K of 4K scattered", Small, static (world, operation, seen, surroundings) =>
            Lets<AllocateMemory>(world, operation, seen, surroundings with { FreeBytes = surroundings.FreeBytes + World.PageBytes }, allocate =>
                seen.Ranges is [var chunk] && chunk.Last - chunk.First + 1 == allocate.ByteCount && !world.Memories.Values.Any(memory => !memory.IsFreed && memory.Segments.Any(chunk.Overlaps))
                ? world with { Memories = world.Memories.Add(allocate.Memory, new(allocate.ByteCount, seen.Ranges)) }
                : null)),
        new("an unback that fails and unmaps", Invariant.Conservation, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; unback r1", Small, static (world, operation, seen, surroundings) =>
            operation is Unback unback && seen.Outcome == Outcome.HardwareFailure && world.Reservations[unback.Reservation].IsBacked
                ? Verdict<World>.Accept(world with { Reservations = world.Reservations.SetItem(unback.Reservation, world.Reservations[unback.Reservation] with { Parts = [] }) })
                : world.Judge(operation, seen, surroundings)),
        new("a region that ends with a bound in it", Invariant.Conservation, "v1 = vcm 0x0-0x1fff; b1 = bound v1 4K align 4K; free v1", Small, static (world, operation, seen, surroundings) =>
            Lets<FreeVcm>(world, operation, seen, surroundings, free => world.Vcms[free.Vcm] is { IsFreed: false } vcm && world.BoundsOf(free.Vcm).Any()
                ? world with { Vcms = world.Vcms.SetItem(free.Vcm, vcm with { IsFreed = true }) }
                : null)),
        new("a write where only reads are granted", Invariant.Permission, "v1 = vcm 0x0-0x1fff; r1 m1 = bind v1 4K rw of 4K scattered; protect r1 r; a1 = associate v1 d0; activate a1; write d0 0x0", Small, static (world, operation, seen, surroundings) =>
            operation is DeviceAccess { Kind: Permissions.Write } access ? world.Judge(access with { Kind = Permissions.Read }, seen, surroundings) : world.Judge(operation, seen, surroundings)),
        new("a device that is active nowhere", Invariant.Isolation, "read d0 0x0", Small, static (world, operation, seen, surroundings) =>
            Lets<DeviceAccess>(world, operation, seen, surroundings, access => world.ActiveVcmOf(access.Device) is null ? world : null)),
        new("an address space that is two regions", Invariant.Isolation, "v1 = vcm 0x0-0xfff; v2 = vcm 0x0-0xfff; a1 = associate v1 d0; a2 = associate v2 d0; activate a1; activate a2", Small with { Vcms = 2, Granules = 1 }, static (world, operation, seen, surroundings) =>
            Lets<Activate>(world, operation, seen, surroundings, activate => world.Associations[activate.Association] is { IsDropped: false, IsActive: false } association
                ? world with { Associations = world.Associations.SetItem(activate.Association, association with { IsActive = true }) }
                : null)),
        new("an address space that is a region and let through", Invariant.Isolation, "v1 = vcm 0x0-0xfff; a1 = associate v1 d0; pass-through d0; activate a1", Small with { Granules = 1, Bounds = 0, Quarantine = 0, Faults = 0, PassThrough = true }, static (world, operation, seen, surroundings) =>
            Lets<Activate>(world, operation, seen, surroundings, activate => world.Associations[activate.Association] is { IsDropped: false, IsActive: false } association
                ? world with { Associations = world.Associations.SetItem(activate.Association, association with { IsActive = true }) }
                : null)),
        new("a device that is let through and goes elsewhere", Invariant.Isolation, "pass-through d0; read d0 0x1000000", Small with { Granules = 1, Frames = 2, Bounds = 0, Quarantine = 0, Faults = 0, PassThrough = true }, static (world, operation, seen, surroundings) =>
            Lets<DeviceAccess>(world, operation, seen, surroundings, access => world.PassesThrough(access.Device, null) ? world : null)),
        new("a flush that is never due", Invariant.Progress, "v1 = vcm 0x0-0x1fff deferred; r1 m1 = bind v1 4K rw of 4K scattered; r2 = map v1 m1 rw align 4K; a1 = associate v1 d0; activate a1; unback r1; unback r2", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings with { HardwareFails = true }) is { IsAccepted: true, Next: var next } && !surroundings.HardwareFails
                ? Verdict<World>.Accept(next with { FlushFailedAt = null })
                : world.Judge(operation, seen, surroundings)),
        new("a fault that nobody is told", Invariant.FaultExact, "read d0 0x0", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is DeviceAccess
                ? Verdict<World>.Accept(next with { Faults = world.Faults })
                : world.Judge(operation, seen, surroundings)),
        new("faults that are told again and again", Invariant.FaultExact, "read d0 0x0; dispatch", Small, static (world, operation, seen, surroundings) =>
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is DispatchFaults
                ? Verdict<World>.Accept(next with { Faults = world.Faults })
                : world.Judge(operation, seen, surroundings)),
        new("a place that means other memory at once", Invariant.BreakBeforeMake, "v1 = vcm 0x0-0x1fff; m1 = wrap 0x3800000-0x3800fff; r1 m2 = bind v1 4K rw of 4K scattered; back r1 m1", Small, static (world, operation, seen, surroundings) =>
            Lets<Back>(world, operation, seen, surroundings, back =>
                world.Reservations[back.Reservation] is { IsBacked: true } reservation && world.Memories[back.Memory] is { IsFreed: false } memory && memory.ByteCount == reservation.ByteCount
                ? world with { Reservations = world.Reservations.SetItem(back.Reservation, reservation with { Parts = [new(0, back.Memory, 0, memory.ByteCount)] }) }
                : null)),
        new("an unback that changes what a process sees and is said to cost nothing", Invariant.OneSided, "v1 = vcm 0x0-0xfff; r1 m1 = bind v1 4K rw of 4K scattered; v2 = clone v1; a1 = associate v1 p0; activate a1; unback r1@v2", Small with { Vcms = 2, Granules = 1, Bounds = 0, Quarantine = 0, Faults = 0, Processes = 1 }, static (world, operation, seen, surroundings) =>
            // Of two regions that have the same reservation, the one that the process has loses its backing, too.
            world.Judge(operation, seen, surroundings) is { IsAccepted: true, Next: var next } && operation is Unback && seen.Outcome == Outcome.None
                ? Verdict<World>.Accept(next with { Reservations = ObjectMap<ReservationState>.Of(next.Reservations.Select(static one => KeyValuePair.Create(one.Key, one.Value with { Parts = [] }))) })
                : world.Judge(operation, seen, surroundings)),
        new("an access that waits on in an address space that has ended", Invariant.Progress, "v1 = vcm 0x0-0xfff; a1 = associate v1 d0; activate a1; read d0 0x0; deactivate a1", Small with { Granules = 1, Bounds = 0, Quarantine = 0, Waiting = 1 }, static (world, operation, seen, surroundings) =>
            Lets<Deactivate>(world, operation, seen, surroundings, deactivate => world.Associations[deactivate.Association] is { IsActive: true } association
                ? world with { Associations = world.Associations.SetItem(deactivate.Association, association with { IsActive = false }) }
                : null)),
        new("a one-to-one region that maps elsewhere", Invariant.TablesAreTruth, "v1 = vcm 0x1000000-0x103ffff one-to-one; r1 = reserve v1 4K r align 4K; m1 = wrap 0x3800000-0x3800fff; back r1 m1", Small with { Granules = 1, Bounds = 0, Quarantine = 0, Faults = 0, OneToOne = true }, static (world, operation, seen, surroundings) =>
            Lets<Back>(world, operation, seen, surroundings, back =>
                world.Reservations[back.Reservation] is { IsBacked: false, IsEnded: false } reservation && world.Memories[back.Memory] is { IsFreed: false } memory && memory.ByteCount == reservation.ByteCount
                ? world with { Reservations = world.Reservations.SetItem(back.Reservation, reservation with { Parts = [new(0, back.Memory, 0, memory.ByteCount)] }) }
                : null)),
        .. PlantedGuestModels.All,
    ];

    /// <summary>All of them.</summary>
    public static TheoryData<string, Invariant> All
    {
        get
        {
            var all = new TheoryData<string, Invariant>();
            foreach (PlantedModel model in Models) all.Add(model.Name, model.Broken);
            return all;
        }
    }

    internal static PlantedModel Named(string name) => Models.Single(model => model.Name == name);

    /// <summary>What the model refuses is let pass, where there is a world for it.</summary>
    internal static Verdict<World> Lets<T>(World world, Operation operation, Observation seen, Surroundings surroundings, Func<T, World?> pass)
        where T : Operation
    {
        Verdict<World> verdict = world.Judge(operation, seen, surroundings);
        return !verdict.IsAccepted && seen.Outcome == Outcome.None && operation is T chosen && pass(chosen) is { } next ? Verdict<World>.Accept(next) : verdict;
    }
}

using Vcmm.Spec;

namespace Harness.Coverage;

/// <summary>
/// What an operation meets, as far as it can matter to what it comes to: of each object that it works on, how it stands to others; and what waits. How many
/// objects there are and where they lie is left out, so that a small world and a large one have the same classes.
/// </summary>
/// <param name="Bits">The traits of what waits, and of up to three objects.</param>
public readonly record struct StateClass(ulong Bits)
{
    private const int TraitBits = 16, MostObjects = 3;

    /// <summary>The class of a world, as an operation meets it.</summary>
    /// <param name="world">The world before the operation.</param>
    /// <param name="operation">Its objects are known.</param>
    public static StateClass Of(World world, Operation operation)
    {
        ulong bits = (ulong)OfWhatWaits(world);
        int count = 0;
        foreach (ObjectId id in operation.Uses)
        {
            if (count == MostObjects) break;
            bits |= (ulong)Of(world, id) << (++count * TraitBits);
        }

        return new(bits);
    }

    /// <summary><c>Backed, Active; Used</c>, and after a bar what waits. Of the last objects nothing is said if there is nothing.</summary>
    public override string ToString()
    {
        var objects = new List<string>();
        for (ulong left = Bits >> TraitBits; left != 0; left >>= TraitBits) objects.Add(((Traits)(ushort)(left & ushort.MaxValue)).ToString());
        var waiting = (Traits)(ushort)(Bits & ushort.MaxValue);
        return waiting == Traits.None ? string.Join("; ", objects) : $"{string.Join("; ", objects)} | {waiting}";
    }

    private static Traits OfWhatWaits(World world)
    {
        if (world.Quarantine.IsEmpty) return Traits.None;
        return world.Quarantine.Count == world.Setup.Flush.Capacity - 1 ? Traits.Waiting | Traits.Full : Traits.Waiting;
    }

    private static Traits Of(World world, ObjectId id) => id.Kind switch
    {
        ObjectKind.Vcm => OfRegion(world, id),
        ObjectKind.Bound => OfBound(world, id),
        ObjectKind.Reservation => OfReservation(world, id),
        ObjectKind.Memory => OfMemory(world, id),
        ObjectKind.Association => OfAssociation(world, id),
        ObjectKind.Guest => OfGuest(world, id),
        ObjectKind.Device or ObjectKind.Process => OfDevice(world, id),
        _ => Traits.None,
    };

    private static Traits OfRegion(World world, ObjectId id)
    {
        VcmState vcm = world.Vcms[id];
        if (vcm.IsFreed) return Traits.Ended;
        Traits traits = OfPlace(world, id, vcm);
        foreach (ReservationState reservation in world.Reservations.Values)
        {
            if (reservation.Vcm == id && !reservation.IsEnded) return traits | Traits.Used;
        }

        return traits;
    }

    /// <summary>What a region is to what lies in it.</summary>
    private static Traits OfPlace(World world, ObjectId id, VcmState vcm)
    {
        Traits traits = If(vcm.IsDeferred, Traits.Deferred) | If(vcm.Kind == VcmKind.OneToOne, Traits.OneToOne) | If(vcm.Adopted is not null, Traits.Prebuilt);
        TableKind? first = null;
        foreach (AssociationState association in world.Associations.Values)
        {
            if (association.Vcm != id || association.IsDropped) continue;
            traits |= Traits.Joined | If(association.IsActive, Traits.Active) | If(first is { } other && other != association.Kind, Traits.ManyFormats);
            first ??= association.Kind;
        }

        return traits;
    }

    private static Traits OfBound(World world, ObjectId id)
    {
        BoundState bound = world.Bounds[id];
        if (bound.IsFreed) return Traits.Ended;
        foreach (ReservationState reservation in world.Reservations.Values)
        {
            if (reservation.Bound == id && !reservation.IsEnded) return Traits.Used;
        }

        return Traits.None;
    }

    private static Traits OfReservation(World world, ObjectId id)
    {
        ReservationState reservation = world.Reservations[id];
        if (reservation.IsEnded) return Traits.Ended;
        ulong backed = reservation.BackedBytes(0, reservation.ByteCount);
        return OfPlace(world, reservation.Vcm, world.Vcms[reservation.Vcm])
            | (backed == 0 ? Traits.None : backed == reservation.ByteCount ? Traits.Backed : Traits.PartlyBacked)
            | If(reservation.OwnerCount > 1, Traits.Shared)
            | If(reservation.Bound is not null, Traits.Given)
            | If(world.Quarantine.Exists(waiting => waiting.Reservation == id), Traits.Waiting);
    }

    private static Traits OfMemory(World world, ObjectId id)
    {
        MemoryState memory = world.Memories[id];
        Traits traits = If(memory.IsWrapped, Traits.Given) | If(world.IsInQuarantine(id), Traits.Waiting);
        if (memory.IsFreed) return traits | Traits.Ended;
        foreach (ReservationState reservation in world.Reservations.Values)
        {
            foreach (BackedPart part in reservation.Parts)
            {
                if (part.Memory != id) continue;
                traits |= traits.HasFlag(Traits.Used) ? Traits.Shared : Traits.Used;
            }
        }

        return traits;
    }

    private static Traits OfAssociation(World world, ObjectId id)
    {
        AssociationState association = world.Associations[id];
        if (association.IsDropped) return Traits.Ended;
        return (OfDevice(world, association.Device) & (Traits.Hooked | Traits.Special))
            | If(association.IsActive, Traits.Active)
            | If(association.Pasid is not null, Traits.Joined)
            | If(!association.IsActive && (world.ActiveVcmOf(association.Device, association.Pasid) is not null || world.PassesThrough(association.Device, association.Pasid)), Traits.Used)
            | If(association.Kind != TableKind.SecondStage, Traits.ManyFormats)
            | If(association.Guest is not null, Traits.Given)
            | If(!association.Untold.IsEmpty, Traits.Waiting);
    }

    private static Traits OfGuest(World world, ObjectId id)
    {
        GuestState guest = world.Guests[id];
        if (guest.Memories.Any(memory => world.Memories[memory].IsFreed)) return Traits.Ended;
        int there = Enumerable.Range(0, World.GuestTables).Count(table => world.MeaningOf(guest.Vcm, guest.Root + ((ulong)table * World.PageBytes)) is not null);
        Traits traits = there == World.GuestTables ? Traits.Backed : there == 0 ? Traits.None : Traits.PartlyBacked;
        foreach (AssociationState association in world.Associations.Values)
        {
            if (association.Guest != id || association.IsDropped) continue;
            traits |= Traits.Joined | If(association.IsActive, Traits.Active) | If(!association.Untold.IsEmpty, Traits.Waiting);
        }

        return traits;
    }

    private static Traits OfDevice(World world, ObjectId id)
    {
        DeviceModel model = world.ModelOf(id);
        Traits traits = If(world.Hooked.Contains(id), Traits.Hooked) | If(model.HasTlb || !model.IsTranslated, Traits.Special) | If(world.Passing.Exists(space => space.Device == id), Traits.Used);
        foreach (PendingFault fault in world.Faults)
        {
            if (fault.Device == id) traits |= Traits.Waiting;
        }

        foreach (AssociationState association in world.Associations.Values)
        {
            if (association.Device == id && !association.IsDropped) traits |= Traits.Joined | If(association.IsActive, Traits.Active);
        }

        return traits;
    }

    private static Traits If(bool holds, Traits trait) => holds ? trait : Traits.None;
}

namespace Vcmm.Spec;

/// <summary>I3: every table that a region has can say what the region maps; who is active in it sees the same, or through the table of a guest what that leads to.</summary>
internal static class SharedTable
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (association.IsDropped) continue;
            VcmState vcm = world.Vcms[association.Vcm];
            TableModel table = world.TableModelOf(association.Kind);
            if (vcm.Range.Last > table.LastAddress) return $"{id}: {association.Vcm} reaches beyond what {association.Kind} translates";
            if (vcm.Adopted is { } adopted && adopted.Kind != association.Kind) return $"{id}: {association.Vcm} is of {adopted.Kind}, and {association.Kind} is walked";
            foreach ((ObjectId reservationId, ReservationState reservation) in world.Reservations)
            {
                if (reservation.Vcm != association.Vcm || reservation.IsEnded) continue;
                if (!table.Protects(reservation.Attributes)) return $"{reservationId} has {reservation.Attributes}, which {association.Kind} cannot say, and {id} has it";
            }

            if (association.Guest is not null && WhyNotNested(world, id, association) is { } wrong) return wrong;
            foreach (Mapping mapping in world.MappingsOf(association.Vcm))
            {
                if (mapping.Translation.Target > table.LastTarget) return $"{id}: {mapping} leads beyond what {association.Kind} can";
                if (association is { IsActive: true, Guest: null } && world.Sees(association.Device, mapping.Range.First, association.Pasid) != mapping.Translation) return $"{association.Device} does not see at 0x{mapping.Range.First:x} what {association.Vcm} maps there";
            }
        }

        return null;
    }

    private static string? WhyNotNested(World world, ObjectId id, AssociationState association)
    {
        if (!world.Iommu.Nests || association.Kind != TableKind.SecondStage) return $"{id}: {association.Guest}'s table is nested in {association.Kind}";
        if (!association.IsActive) return null;
        GuestState guest = world.Guests[association.Guest!.Value];
        foreach ((ObjectId otherId, AssociationState other) in world.Associations)
        {
            // They walk one table under one domain id, so that what hardware has kept for one it has for the other.
            bool isOne = other.IsActive && other.Vcm == association.Vcm && other.Guest == association.Guest;
            if (isOne && other.Untold.Any(untold => guest.Entries[untold.Page] != untold.Entry && !association.Untold.Contains(untold))) return $"{id} and {otherId} have one table of {association.Guest}, and have kept different things";
        }

        if (world.Quarantine.IsEmpty && WhyNotSeen(world, association, guest) is { } sentence) return sentence;
        foreach (Mapping mapping in world.MappingsOf(association.Vcm))
        {
            if (world.Sees(association.Device, mapping.Range.First, association.Pasid) is { } seen) return $"{association.Device} sees {seen} at 0x{mapping.Range.First:x}; that is an address of {association.Vcm}, and it has {association.Guest}'s";
        }

        return null;
    }

    /// <summary>Whether a device sees through a guest's table what that and the region say: the rights of both.</summary>
    private static string? WhyNotSeen(World world, AssociationState association, GuestState guest)
    {
        Mapping[] mappings = [.. world.MappingsOf(association.Vcm)];
        bool hasTables = guest.Memories.All(memory => !world.Memories[memory].IsFreed) && guest.Frames.Select((frame, table) => At(guest.Root + ((ulong)table * World.PageBytes)) is { Read: true } there && there.Target == frame).All(static isThere => isThere);
        for (int page = 0; page < World.GuestPages; page++)
        {
            ulong address = World.GuestFirst + ((ulong)page * World.PageBytes);
            Translation? meaning = hasTables && guest.Entries[page] is { } entry && At(entry.Target) is { } there ? there with { Write = there.Write && entry.MayWrite } : null;
            if (world.Sees(association.Device, address, association.Pasid) is var seen && seen != meaning) return $"{association.Device} sees {seen?.ToString() ?? "nothing"} at 0x{address:x}; its guest and {association.Vcm} say {meaning?.ToString() ?? "nothing"}";
        }

        return null;

        Translation? At(ulong address)
        {
            int index = Array.FindIndex(mappings, mapping => mapping.Range.Contains(address));
            return index < 0 ? null : mappings[index].At(address);
        }
    }
}

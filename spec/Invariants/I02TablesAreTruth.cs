namespace Vcmm.Spec;

/// <summary>I2: an address of a region means one thing at most, and that is memory that somebody has.</summary>
internal static class TablesAreTruth
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, ReservationState reservation) in world.Reservations)
        {
            if (reservation.IsEnded && reservation.IsBacked) return $"{id} has ended and is backed";
            ulong next = 0;
            foreach (BackedPart part in reservation.Parts)
            {
                if (part.ByteCount == 0 || part.Offset < next || part.End > reservation.ByteCount) return $"{id}: {part} is out of order, or of the reservation";
                next = part.End;
                MemoryState memory = world.Memories[part.Memory];
                if (part.MemoryOffset > memory.ByteCount || part.ByteCount > memory.ByteCount - part.MemoryOffset) return $"{id}: {part} reaches beyond {part.Memory}";
            }
        }

        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (association.IsDropped || association.Guest is not { } guest) continue;
            if (!world.Vcms[association.Vcm].Range.Contains(world.Guests[guest].Root)) return $"{id}: the table of {guest} is not in {association.Vcm}";
        }

        foreach ((ObjectId id, VcmState vcm) in world.Vcms)
        {
            if (vcm.IsFreed) continue;
            ulong? last = null;
            foreach (Mapping mapping in world.MappingsOf(id))
            {
                if (mapping.Range.First <= last) return $"{id}: 0x{mapping.Range.First:x} means two things";
                last = mapping.Range.Last;
                if (world.MeaningOf(id, mapping.Range.First) != mapping.Translation) return $"{id}: 0x{mapping.Range.First:x} is mapped to {mapping.Translation} and means {world.MeaningOf(id, mapping.Range.First)}";
                if (vcm.Kind == VcmKind.OneToOne && mapping.Translation.Target != mapping.Range.First) return $"{id} is one-to-one, and 0x{mapping.Range.First:x} means {mapping.Translation}";
            }
        }

        return null;
    }

    public static string? OfStep(WorldStep step)
    {
        // Where the region has no such tables, or no such memory, it is another invariant.
        if (NestedAccess.Of(step) is { } nested) return nested is { HasTables: true, IsBehindRegion: true, IsLedThere: false } ? $"{nested}, to which neither what that says nor what it has said leads" : null;
        if (step.Operation is not DeviceAccess access || step.Seen.Reached is not { } reached || step.Before.ActiveVcmOf(access.Device, access.Pasid) is null) return null;
        bool isThere = step.Before.Sees(access.Device, access.Address, access.Pasid)?.Target == reached || step.Before.StaleAt(access.Device, access.Address, access.Pasid)?.Target == reached;
        return isThere ? null : $"{access} reached 0x{reached:x}, which is not what the address means";
    }
}

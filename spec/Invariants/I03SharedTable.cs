namespace Vcmm.Spec;

/// <summary>I3: every table that a region has can say what the region maps; who is active in it sees the same.</summary>
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

            foreach (Mapping mapping in world.MappingsOf(association.Vcm))
            {
                if (mapping.Translation.Target > table.LastTarget) return $"{id}: {mapping} leads beyond what {association.Kind} can";
                if (association.IsActive && world.Sees(association.Device, mapping.Range.First, association.Pasid) != mapping.Translation) return $"{association.Device} does not see at 0x{mapping.Range.First:x} what {association.Vcm} maps there";
            }
        }

        return null;
    }
}

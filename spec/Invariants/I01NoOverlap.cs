namespace Vcmm.Spec;

/// <summary>I1: what is taken of a region, or of a bound, lies in it, in whole pages, and apart.</summary>
internal static class NoOverlap
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, BoundState bound) in world.Bounds)
        {
            if (bound.IsFreed) continue;
            if (!world.Vcms[bound.Vcm].Range.Contains(bound.Range)) return $"{id} is {bound.Range}, outside of {bound.Vcm}";
            foreach ((ObjectId otherId, BoundState other) in world.Bounds)
            {
                if (otherId.CompareTo(id) > 0 && !other.IsFreed && other.Vcm == bound.Vcm && other.Range.Overlaps(bound.Range)) return $"{id} {bound.Range} and {otherId} {other.Range} overlap";
            }
        }

        foreach ((ObjectId id, ReservationState reservation) in world.Reservations)
        {
            if (reservation.IsEnded) continue;
            AddressRange whole = reservation.Bound is { } within ? world.Bounds[within].Range : world.Vcms[reservation.Vcm].Range;
            if (!whole.Contains(reservation.Range)) return $"{id} is {reservation.Range}, outside of {whole}";
            if (reservation.Range.First % World.PageBytes != 0 || reservation.ByteCount % World.PageBytes != 0) return $"{id} is {reservation.Range}, which is not made of whole pages";
            foreach ((ObjectId otherId, BoundState bound) in world.Bounds)
            {
                if (!bound.IsFreed && bound.Vcm == reservation.Vcm && otherId != reservation.Bound && bound.Range.Overlaps(reservation.Range)) return $"{id} {reservation.Range} lies in {otherId} {bound.Range}, which it is not of";
            }

            foreach ((ObjectId otherId, ReservationState other) in world.Reservations)
            {
                if (otherId.CompareTo(id) > 0 && !other.IsEnded && other.Vcm == reservation.Vcm && other.Range.Overlaps(reservation.Range)) return $"{id} {reservation.Range} and {otherId} {other.Range} overlap";
            }
        }

        return null;
    }
}

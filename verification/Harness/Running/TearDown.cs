using Vcmm.Spec;

namespace Harness.Running;

/// <summary>What ends everything that is there.</summary>
public static class TearDown
{
    /// <summary>The operations, in order; each can be done.</summary>
    public static IEnumerable<Operation> Of(World world)
    {
        foreach (DeviceSpace space in world.Passing) yield return new EndPassThrough(space.Device) { Pasid = space.Pasid };

        // Prebuilt regions first: the tables that they have end with the associations of others.
        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (association.IsDropped || world.Vcms[association.Vcm].Adopted is null) continue;
            if (association.IsActive) yield return new Deactivate(id);
            yield return new Deassociate(id);
        }

        foreach ((ObjectId id, VcmState vcm) in world.Vcms)
        {
            if (!vcm.IsFreed && vcm.Adopted is not null) yield return new FreeVcm(id);
        }

        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (association.IsDropped || world.Vcms[association.Vcm].Adopted is not null) continue;
            if (association.IsActive) yield return new Deactivate(id);
            yield return new Deassociate(id);
        }

        foreach ((ObjectId id, ReservationState reservation) in world.Reservations)
        {
            if (reservation.IsEnded) continue;
            for (int owner = 1; owner < reservation.OwnerCount; owner++) yield return new Release(id);
            if (reservation.IsBacked) yield return new Unback(id);
            yield return new Unreserve(id);
        }

        foreach ((ObjectId id, BoundState bound) in world.Bounds)
        {
            if (!bound.IsFreed) yield return new FreeBound(id);
        }

        foreach ((ObjectId id, MemoryState memory) in world.Memories)
        {
            if (!memory.IsFreed) yield return new FreeMemory(id);
        }

        foreach ((ObjectId id, VcmState vcm) in world.Vcms)
        {
            if (!vcm.IsFreed && vcm.Adopted is null) yield return new FreeVcm(id);
        }

        // A region may end before its quarantine does. With nobody active nothing more comes into it.
        if (!world.Quarantine.IsEmpty) yield return new Flush(world.Vcms.First(vcm => vcm.Value.IsDeferred).Key);
    }
}

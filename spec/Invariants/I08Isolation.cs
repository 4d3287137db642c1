namespace Vcmm.Spec;

/// <summary>
/// I8: an address space of a device is one region at most, and the device reaches only what that maps, or may still be seen in it; or it is no region and is let
/// through, and the device reaches the address that it names.
/// </summary>
internal static class Isolation
{
    public static string? OfWorld(World world)
    {
        foreach ((ObjectId id, AssociationState association) in world.Associations)
        {
            if (association.IsDropped)
            {
                if (association.IsActive) return $"{id} is dropped and active";
                continue;
            }

            if (world.Vcms[association.Vcm].IsFreed) return $"{id} has not ended, and {association.Vcm} was freed";
            foreach ((ObjectId otherId, AssociationState other) in world.Associations)
            {
                if (otherId.CompareTo(id) <= 0 || other.IsDropped || other.Device != association.Device || other.Pasid != association.Pasid) continue;
                if (other.IsActive && association.IsActive) return $"{id} and {otherId} are active in one address space of {association.Device}";
                if (other.Vcm == association.Vcm) return $"{id} and {otherId} join the same two";
            }
        }

        foreach (DeviceSpace space in world.Passing)
        {
            if (world.ModelOf(space.Device) is not { IsTranslated: true, HasTlb: false } || !world.Iommu.PassesThrough) return $"{space} is let through, and cannot be";
            if (world.ActiveVcmOf(space.Device, space.Pasid) is { } vcm) return $"{space} is let through, and active in {vcm}";
            if (world.Passing.Count(space.Equals) > 1) return $"{space} is let through twice";
        }

        return null;
    }

    public static string? OfStep(WorldStep step)
    {
        if (step.Operation is not DeviceAccess access || step.Seen.Reached is not { } reached || !step.Before.ModelOf(access.Device).IsTranslated) return null;
        if (!access.IsStray && step.Before.PassesThrough(access.Device, access.Pasid)) return reached == access.Address ? null : $"{access} reached 0x{reached:x}; the device is let through untranslated";
        if (step.Before.ActiveVcmOf(access.Device, access.Pasid) is not { } vcm) return $"{access} reached 0x{reached:x}; the device is active nowhere";
        foreach (Mapping mapping in step.Before.MappingsOf(vcm).Concat(step.Before.StaleOf(vcm)))
        {
            if (reached >= mapping.Translation.Target && reached - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First) return null;
        }

        return $"{access} reached 0x{reached:x}, which is not behind {vcm}";
    }
}

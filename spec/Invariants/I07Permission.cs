namespace Vcmm.Spec;

/// <summary>I7: an access that reaches what is mapped there, or was and can still be seen, is one that is granted there, or was; through a guest's table, by both.</summary>
internal static class Permission
{
    public static string? OfStep(WorldStep step)
    {
        if (step.Operation is not DeviceAccess access || step.Seen.Reached is not { } reached || !step.Before.ModelOf(access.Device).IsTranslated) return null;
        if (access.IsPrivileged) return $"{access} was let through; no device has supervisor privilege";
        if (NestedAccess.Of(step) is { } nested) return nested is { IsLedThere: true, IsGranted: false } ? $"{nested}; that and the region do not both grant it" : null;
        Translation? meaning = step.Before.Sees(access.Device, access.Address, access.Pasid), stale = step.Before.StaleAt(access.Device, access.Address, access.Pasid);
        bool isThere = meaning?.Target == reached || stale?.Target == reached;
        bool isGranted = (meaning is { } now && now.Target == reached && now.Grants(access.Kind)) || (stale is { } then && then.Target == reached && then.Grants(access.Kind));
        return isThere && !isGranted ? $"{access} reached 0x{reached:x}; that is not granted" : null;
    }
}

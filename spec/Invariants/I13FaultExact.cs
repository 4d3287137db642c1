namespace Vcmm.Spec;

/// <summary>I13: an access that is blocked is one fault that somebody is to be told, once.</summary>
internal static class FaultExact
{
    public static string? OfWorld(World world)
    {
        foreach (PendingFault fault in world.Faults)
        {
            if (!world.ModelOf(fault.Device).IsTranslated) return $"{fault} is told of a device that nothing stops";
            if (fault.Page % World.PageBytes != 0) return $"{fault} names no page";
            if (fault.Causes == FaultCauses.None) return $"{fault} has no cause";
        }

        return null;
    }

    public static string? OfStep(WorldStep step)
    {
        (World before, Operation operation, Observation seen, World after) = step;
        if (operation is DispatchFaults) return after.Faults.IsEmpty ? null : $"{after.Faults.Count} faults are left after all were given";
        int more = after.Faults.Count - before.Faults.Count;
        if (operation is CrossingAccess crossing) return more == (seen.Outcome == Outcome.Fault ? 1 : 0) ? null : $"{crossing} came to {seen.Outcome}, and {more} faults are told of it";
        if (operation is Deactivate { Meanwhile: not null }) return more == seen.Meanwhile.Count(static made => made.Outcome == Outcome.Fault) ? null : $"{operation} has made {more} faults";
        // A page fault of a core is the operating system's, and is told to no hook.
        if (operation is not DeviceAccess access) return more == 0 || !seen.Ended.IsEmpty ? null : $"{operation} has made {more} faults";
        bool isBlocked = seen.Outcome == Outcome.Fault && before.ModelOf(access.Device).IsTranslated;
        // What a device with a TLB may not reach is answered to it.
        if (isBlocked && !before.ModelOf(access.Device).HasTlb && more != 1) return $"{access} was blocked, and {more} faults are told of it";
        return !isBlocked && more != 0 ? $"{access} was not blocked, and {more} faults are told of it" : null;
    }
}

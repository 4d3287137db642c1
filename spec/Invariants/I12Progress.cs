namespace Vcmm.Spec;

/// <summary>I12: whatever waits, waits for something that can come: an access for an answer in an address space that is there, an unback for a flush that has room.</summary>
internal static class Progress
{
    public static string? OfWorld(World world)
    {
        if (world.Quarantine.Count > world.Setup.Flush.Capacity) return $"{world.Quarantine.Count} unbacks wait for a flush; there is room for {world.Setup.Flush.Capacity}";
        bool isDue = world.Quarantine.Count >= world.Setup.Flush.FlushAtCount && world.FlushFailedAt is null;
        if (isDue) return $"{world.Quarantine.Count} unbacks wait for a flush that is due with {world.Setup.Flush.FlushAtCount}, and none has failed";
        foreach (WaitingAccess waiting in world.Waiting)
        {
            if (!world.ModelOf(waiting.Access.Device).AsksForPages) return $"{waiting} waits, and its device does not ask for pages";
            if (world.ActiveVcmOf(waiting.Access.Device, waiting.Access.Pasid) is null && !waiting.MayBeOver) return $"{waiting} waits in an address space that has ended";
        }

        return null;
    }
}

using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Flushes that did not come, and unbacks that never were.</summary>
internal static class FlushLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("more waits for a flush than was unbacked", Invariant.Conservation, " were put there", static told => told.Seen.Quarantined is { } waiting ? told.Seen with { Quarantined = waiting + told.World.Setup.Flush.Capacity } : null),
        new("a flush on demand that does not come", Invariant.Conservation, "; it is due, so 0 may",
            static told => told.Operation is Flush flush && told.World.Vcms[flush.Vcm].IsDeferred ? StillWaiting(told) : null),
        new("a flush that does not come before addresses are backed again", Invariant.Conservation, "; it is due, so 0 may",
            static told => told.Operation is Back or BackPart && told.World.Quarantine.Exists(waiting => told.Operation.Uses.Contains(waiting.Reservation)) ? StillWaiting(told) : null),
        new("a flush by age that does not come", Invariant.Conservation, "; it is due, so 0 may", static told => told.Operation is PollFlush && IsOld(told.World) ? StillWaiting(told) : null),
        new("a flush by count that does not come", Invariant.Conservation, "; it is due, so 0 may",
            static told => told.Operation is Unback or UnbackPart or Unmap or Unbind && told.World.FlushFailedAt is null && told.World.Quarantine.Count + 1 == told.World.Setup.Flush.FlushAtCount && told.Seen.Quarantined == 0
                && told.World.Vcms[told.World.Reservations[told.Operation.Uses.First(static id => id.Kind == ObjectKind.Reservation)].Vcm].IsDeferred
                    ? StillWaiting(told, 1) : null),
    ];

    private static Observation? StillWaiting(Told told, int more = 0) => told.IsDone && !told.World.Quarantine.IsEmpty && !told.Surroundings.HardwareFails
        ? told.Seen with { Quarantined = told.World.Quarantine.Count + more }
        : null;

    private static bool IsOld(World world) => !world.Quarantine.IsEmpty && world.Now - (world.FlushFailedAt ?? world.Quarantine[0].Since) >= world.Setup.Flush.FlushAtMilliseconds;
}

using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Faults that were not told, or not so, and accesses that waited for something else.</summary>
internal static class FaultLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("a fault that is counted and was none", Invariant.FaultExact, "it counted", static told => told.Operation is DispatchFaults ? told.Seen with { FaultCount = told.World.Faults.Count + told.World.Waiting.Count + 1 } : null),
        new("a fault that was none and is given", Invariant.FaultExact, "no such access was blocked since",
            static told => told.Operation is DispatchFaults ? told.Seen with { Faults = told.Seen.Faults.Add(new(told.World.Devices[0], told.World.Devices[0], ulong.MaxValue & ~(World.PageBytes - 1), Permissions.Write)) } : null),
        new("a fault that is told for another cause", Invariant.FaultExact, "blocked for another cause",
            static told => told is { Operation: DispatchFaults, Seen.FaultsLost: false } && told.World.Setup.FaultsAreExact && told.World.Faults.All(static fault => fault.IsCertain) && told.Seen.Faults.Any(static fault => !fault.Waits)
                ? told.Seen with { Faults = [.. told.Seen.Faults.Select(static fault => fault.Waits ? fault : fault with { Cause = ~fault.Cause & (FaultCauses.NotAttached | FaultCauses.OutOfRange) })] } : null),
        new("a page request that is told for a cause", Invariant.FaultExact, " waits and is not there",
            static told => told.Operation is DispatchFaults && told.Seen.Faults.Any(static fault => fault.Waits) && told.World.Waiting.All(static waiting => !waiting.MayBeOver)
                ? told.Seen with { Faults = [.. told.Seen.Faults.Select(static fault => fault.Waits ? fault with { Cause = FaultCauses.NotMapped } : fault)] } : null),
        new("a page request that is blocked at once", Invariant.FaultExact, "it asks for the page, and waits", static told => told is { Operation: DeviceAccess, Seen.Outcome: Outcome.Waits } && MustWait(told) ? new(Outcome.Fault) : null),
        new("an access that waits and cannot", Invariant.FaultExact, "it cannot wait there",
            static told => told.Operation is DeviceAccess access && told.Seen.Outcome == Outcome.Fault && !told.World.ModelOf(access.Device).AsksForPages && told.World.ModelOf(access.Device).IsTranslated && !told.World.Iommu.Untranslated.Any(range => range.Contains(access.Address))
                ? new(Outcome.Waits) : null),
        new("a page request that is not told", Invariant.FaultExact, " waits and is not there",
            static told => told.Operation is DispatchFaults && told.Seen.Faults.Any(static fault => fault.Waits) && told.World.Waiting.All(static waiting => !waiting.MayBeOver)
                ? told.Seen with { Faults = told.Seen.Faults.RemoveAll(static fault => fault.Waits) } : null),
        new("a page request that nobody made", Invariant.FaultExact, "no such access waits",
            static told => told.Operation is DispatchFaults && told.World.Waiting.IsEmpty ? told.Seen with { Faults = told.Seen.Faults.Add(new(told.World.Devices[0], told.World.Devices[0], 0, Permissions.Read) { Waits = true }) } : null),
        new("an access that had waited and ends by itself", Invariant.FaultExact, "nobody has answered it",
            static told => told.Operation is not (DispatchFaults or Deactivate) && told.World.Waiting is [{ MayBeOver: false } first, ..] && told.Seen.Ended.IsEmpty ? told.Seen with { Ended = [new(first.Number, Outcome.Fault, null)] } : null),
        new("an access that ends and never waited", Invariant.FaultExact, " that did not wait", static told => told.Operation is Reserve or Back ? told.Seen with { Ended = told.Seen.Ended.Add(new(-1, Outcome.Fault, null)) } : null),
        new("a page request that was refused and goes through", Invariant.FaultExact, "; it was refused",
            static told => told.Operation is DispatchFaults && Refused(told) is { } refused && told.World.Sees(refused.Access.Device, refused.Access.Address, refused.Access.Pasid) is { } meaning && meaning.Grants(refused.Access.Kind)
                ? told.Seen with { Ended = [.. told.Seen.Ended.Select(end => end.Number == refused.Number ? new EndedAccess(end.Number, Outcome.None, meaning.Target) : end)] } : null),
        new("a deactivation that leaves an access waiting", Invariant.Progress, "its address space has ended", static told => told is { IsDone: true, Operation: Deactivate } && !told.Seen.Ended.IsEmpty ? told.Seen with { Ended = [] } : null),
        new("a dispatch that answers nobody", Invariant.Progress, " still waits; ", static told => told.Operation is DispatchFaults && !told.Surroundings.HardwareFails && !told.Seen.Ended.IsEmpty && told.World.Waiting.All(static waiting => !waiting.MayBeOver) ? told.Seen with { Ended = [] } : null),
    ];

    /// <summary>Beyond what tables translate it may be either.</summary>
    private static bool MustWait(Told told) => told.Operation is DeviceAccess access && told.World.ActiveAssociationOf(access.Device, access.Pasid) is { } association
        && access.Address <= told.World.TableModelOf(association.Kind).LastAddress;

    private static WaitingAccess? Refused(Told told) => told.World.Waiting.Find(waiting => !waiting.MayBeOver && told.Seen.Acts.IsEmpty
        && told.Seen.Ended.Any(end => end.Number == waiting.Number && end.Outcome == Outcome.Fault));
}

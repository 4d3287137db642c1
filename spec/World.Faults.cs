using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>An access that was blocked and of which nobody was told yet.</summary>
/// <param name="Device">Who made it.</param>
/// <param name="Page">The first address of the page.</param>
/// <param name="Access">What it wanted.</param>
/// <param name="IsCertain">Whether the hardware must record it. It need not where it translates nothing.</param>
public readonly record struct PendingFault(ObjectId Device, ulong Page, Permissions Access, bool IsCertain)
{
    /// <summary>In which address space of the device; null: without a PASID.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Why, any of which the hardware may say.</summary>
    public FaultCauses Causes { get; init; }
}

/// <summary>A fault that a hook was given.</summary>
/// <param name="Hook">Whose hook.</param>
/// <param name="Device">Whose access it was said to be.</param>
/// <param name="Page">The first address of the page.</param>
/// <param name="Access">What it wanted.</param>
public readonly record struct GivenFault(ObjectId Hook, ObjectId Device, ulong Page, Permissions Access)
{
    /// <summary>In which address space of the device; null: without a PASID.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Why it was blocked; of one that waits nobody says.</summary>
    public FaultCauses Cause { get; init; }

    /// <summary>Whether the access waits.</summary>
    public bool Waits { get; init; }

    /// <summary>Whether the hook wants one that waits tried again.</summary>
    public bool IsRetried { get; init; }

    /// <summary><c>d0 Read 0x1000 NotMapped</c>.</summary>
    public override string ToString() =>
        $"{(Hook == Device ? "" : $"{Hook} was given ")}{Device} {(Pasid is { } pasid ? $"pasid {pasid} " : "")}{Access} 0x{Page:x}{(Waits ? IsRetried ? " (again)" : " (refused)" : $" {Cause}")}";

    /// <summary>Whether it tells of that access, whatever it says why.</summary>
    internal bool IsOf(PendingFault pending) => Hook == pending.Device && Device == pending.Device && Page == pending.Page && Access == pending.Access && Pasid == pending.Pasid;

    /// <summary>Whether it tells of that access, and names one of its causes.</summary>
    internal bool Tells(PendingFault pending) => IsOf(pending) && Cause != FaultCauses.None && (Cause & ~pending.Causes) == FaultCauses.None;
}

// Faults: each blocked access gives one, to the hook of its device; hardware that has no room for it says so.
public sealed partial record World
{
    /// <summary>The faults that the hardware may have, in the order of the accesses.</summary>
    public ImmutableList<PendingFault> Faults { get; internal init; } = [];

    /// <summary>The devices that have a hook.</summary>
    public ImmutableSortedSet<ObjectId> Hooked { get; internal init; } = [];

    /// <summary>The world in which an access was blocked.</summary>
    /// <param name="access">The access.</param>
    /// <param name="besides">Causes that the hardware may name besides those that this world has.</param>
    public World Blocked(DeviceAccess access, FaultCauses besides = FaultCauses.None)
    {
        access = Sent(access);
        bool? isAnswered = IsAnswered(access);
        if (isAnswered == true) return this;
        bool isTranslated = access.Pasid is not null || !Iommu.Untranslated.Any(range => range.Contains(access.Address));
        // A device with a TLB asks for the translation first, which is a read.
        Permissions kind = isTranslated && ModelOf(access.Device).HasTlb ? Permissions.Read : access.Kind;
        var fault = new PendingFault(access.Device, access.Address & ~(PageBytes - 1), kind, isTranslated && isAnswered == false)
        {
            Pasid = access.Pasid,
            Causes = besides | (isTranslated ? CausesOf(access) : FaultCauses.NotAttached | FaultCauses.NotPermitted),
        };
        return this with { Faults = Faults.Add(fault) };
    }

    /// <summary>Why hardware may say that it blocks an access that it translates.</summary>
    private FaultCauses CausesOf(DeviceAccess access)
    {
        if (IsPassing(access)) return FaultCauses.NotPermitted;
        if (ActiveAssociationOf(access.Device, access.Pasid) is not { } association) return FaultCauses.NotAttached;
        TableModel table = FirstTableOf(association);
        // What is absent, and what was found absent though it is mapped by now.
        FaultCauses absent = table.TellsAbsent ? FaultCauses.NotMapped : FaultCauses.NotPermitted;
        // A privilege that no device has may be refused before the address is looked at.
        FaultCauses causes = access.IsPrivileged ? FaultCauses.NotPermitted : FaultCauses.None;
        // Some addresses that no region has are looked up all the same.
        if (access.Address > table.LastAddress) return causes | FaultCauses.OutOfRange | absent;
        // The guest's table or the region's, or that the guest's is not there.
        if (association.Guest is { } guest) return FaultCauses.NotMapped | FaultCauses.NotPermitted | (TablesIn(association.Vcm, Guests[guest]).AreCertain ? FaultCauses.None : FaultCauses.Misprogrammed);
        // What is not forgotten yet may be what refuses.
        if (StaleAt(access.Device, access.Address, access.Pasid) is not null) causes |= FaultCauses.NotPermitted;
        bool isMappedWithout = Sees(access.Device, access.Address, access.Pasid) is { } meaning && !meaning.Grants(access.Kind);
        return causes | (isMappedWithout ? FaultCauses.NotPermitted : absent);
    }

    private Verdict<World> Judge(SetFaultHook set, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(this with { Hooked = set.Kind == FaultHookKind.None ? Hooked.Remove(set.Device) : Hooked.Add(set.Device) });

    private Verdict<World> Judge(DispatchFaults _, Observation seen, Surroundings surroundings)
    {
        GivenFault[] told = [.. seen.Faults.Where(static fault => !fault.Waits)];
        // What was lost, because there was no room for it, is not given.
        bool mustBeAll = Setup.FaultsAreExact && !seen.FaultsLost;
        // Of accesses that are alike and need not all be told any may be the one that was: so every count of what may have been given by now.
        ImmutableSortedSet<int> counts = [0];
        foreach (PendingFault pending in Faults.Where(fault => Hooked.Contains(fault.Device)))
        {
            IEnumerable<int> after = counts.Where(count => count < told.Length && Tells(told[count], pending)).Select(static count => count + 1);
            ImmutableSortedSet<int> next = [.. mustBeAll && pending.IsCertain ? after : counts.Concat(after)];
            if (next.IsEmpty) return RefuseTold(pending, counts.Max < told.Length ? told[counts.Max] : null, seen);
            counts = next;
        }

        int given = counts.Max;
        if (given != told.Length) return Refuse(Invariant.FaultExact, $"it gave {told[given]}; no such access was blocked since, or its device has no hook", Untold(seen));
        int least = (mustBeAll ? Faults.Count(static fault => fault.IsCertain) : given) + Waiting.Count(static waiting => !waiting.MayBeOver), most = Faults.Count + Waiting.Count;
        return seen.FaultCount >= least && seen.FaultCount <= most
            ? (this with { Faults = [] }).JudgeTold(seen, surroundings.HardwareFails)
            : Refuse(Invariant.FaultExact, $"it counted {seen.FaultCount} faults; {least} to {most} accesses were blocked or wait", Untold(seen));
    }

    /// <summary>Whether a fault tells of an access. What stops a request for the page does not say whether that was to read or to write.</summary>
    private bool Tells(GivenFault fault, PendingFault pending) => fault.Tells(pending)
        || (fault.Access == Permissions.None && !pending.IsCertain && ModelOf(pending.Device).AsksForPages && (fault with { Access = pending.Access }).Tells(pending));

    /// <summary>The world in which nobody is owed what was blocked; null: what waits, or what a hook has done, is not known either.</summary>
    private World? Untold(Observation seen) => Waiting.IsEmpty && seen.Acts.IsEmpty ? WithoutFaults() : null;

    private Verdict<World> RefuseTold(PendingFault pending, GivenFault? given, Observation seen) => given is { } fault && fault.IsOf(pending)
        ? Refuse(Invariant.FaultExact, $"it gave {fault}; the access was blocked for another cause: {pending.Causes}", Untold(seen))
        : Refuse(Invariant.FaultExact, $"it gave [{string.Join(", ", seen.Faults)}]; {pending.Device} {pending.Access} 0x{pending.Page:x} was blocked and is not there, and nothing was lost", Untold(seen));
}

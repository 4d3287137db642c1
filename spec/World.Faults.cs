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

    /// <summary>Whether the access waits.</summary>
    public bool Waits { get; init; }

    /// <summary>Whether the hook wants one that waits tried again.</summary>
    public bool IsRetried { get; init; }

    /// <summary><c>d0 Read 0x1000</c>.</summary>
    public override string ToString() =>
        $"{(Hook == Device ? "" : $"{Hook} was given ")}{Device} {(Pasid is { } pasid ? $"pasid {pasid} " : "")}{Access} 0x{Page:x}{(Waits ? IsRetried ? " (again)" : " (refused)" : "")}";
}

// Faults: each blocked access gives one, to the hook of its device; hardware that has no room for it says so.
public sealed partial record World
{
    /// <summary>The faults that the hardware may have, in the order of the accesses.</summary>
    public ImmutableList<PendingFault> Faults { get; internal init; } = [];

    /// <summary>The devices that have a hook.</summary>
    public ImmutableSortedSet<ObjectId> Hooked { get; internal init; } = [];

    /// <summary>The world in which an access was blocked.</summary>
    public World Blocked(DeviceAccess access)
    {
        access = Sent(access);
        bool? isAnswered = IsAnswered(access);
        if (isAnswered == true) return this;
        bool isTranslated = access.Pasid is not null || !Iommu.Untranslated.Any(range => range.Contains(access.Address));
        // A device with a TLB asks for the translation first, which is a read.
        Permissions kind = isTranslated && ModelOf(access.Device).HasTlb ? Permissions.Read : access.Kind;
        return this with { Faults = Faults.Add(new(access.Device, access.Address & ~(PageBytes - 1), kind, isTranslated && isAnswered == false) { Pasid = access.Pasid }) };
    }

    private Verdict<World> Judge(SetFaultHook set, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(this with { Hooked = set.Kind == FaultHookKind.None ? Hooked.Remove(set.Device) : Hooked.Add(set.Device) });

    private Verdict<World> Judge(DispatchFaults _, Observation seen, Surroundings surroundings)
    {
        GivenFault[] told = [.. seen.Faults.Where(static fault => !fault.Waits)];
        // What was lost, because there was no room for it, is not given.
        bool mustBeAll = Setup.FaultsAreExact && !seen.FaultsLost;
        int given = 0;
        foreach (PendingFault pending in Faults.Where(fault => Hooked.Contains(fault.Device)))
        {
            if (given < told.Length && told[given] == new GivenFault(pending.Device, pending.Device, pending.Page, pending.Access) { Pasid = pending.Pasid }) given++;
            else if (mustBeAll && pending.IsCertain) return Refuse(Invariant.FaultExact, $"it gave [{string.Join(", ", seen.Faults)}]; {pending.Device} {pending.Access} 0x{pending.Page:x} was blocked and is not there, and nothing was lost");
        }

        if (given != told.Length) return Refuse(Invariant.FaultExact, $"it gave {told[given]}; no such access was blocked since, or its device has no hook");
        int least = (mustBeAll ? Faults.Count(static fault => fault.IsCertain) : given) + Waiting.Count(static waiting => !waiting.MayBeOver), most = Faults.Count + Waiting.Count;
        return seen.FaultCount >= least && seen.FaultCount <= most
            ? (this with { Faults = [] }).JudgeTold(seen, surroundings.HardwareFails)
            : Refuse(Invariant.FaultExact, $"it counted {seen.FaultCount} faults; {least} to {most} accesses were blocked or wait");
    }
}

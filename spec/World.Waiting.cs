using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>An access that waits for a page.</summary>
/// <param name="Number">Of all that ever waited: 0 ….</param>
/// <param name="Access">The access.</param>
public sealed record WaitingAccess(int Number, DeviceAccess Access)
{
    /// <summary>Whether the hardware failed when it was to be answered, so that nobody knows whether it waits.</summary>
    public bool MayBeOver { get; init; }

    /// <summary><c>d0 Read 0x1000</c>.</summary>
    public override string ToString() => $"{Access.Device} {(Access.Pasid is { } pasid ? $"pasid {pasid} " : "")}{Access.Kind} 0x{Access.Address:x}";
}

/// <summary>A waiting access that is over.</summary>
/// <param name="Number">Which: <see cref="WaitingAccess.Number"/>.</param>
/// <param name="Outcome"><see cref="Outcome.None"/> or <see cref="Outcome.Fault"/>.</param>
/// <param name="Reached">As <see cref="Observation.Reached"/>.</param>
public readonly record struct EndedAccess(int Number, Outcome Outcome, ulong? Reached)
{
    /// <summary><c>0x100000</c>, or <c>Fault</c>.</summary>
    public override string ToString() => Outcome == Outcome.None ? $"0x{Reached:x}" : Outcome.ToString();
}

/// <summary>An operation that a hook did while a fault was told.</summary>
/// <param name="Fault">Which of <see cref="Observation.Faults"/> it did it for.</param>
/// <param name="Operation">What it did.</param>
/// <param name="Seen">What was seen of that.</param>
/// <param name="Surroundings">What excuses its failure.</param>
public sealed record HookAct(int Fault, Operation Operation, Observation Seen, Surroundings Surroundings);

// Devices that ask for pages: an access to what is not mapped, or not so, waits until it is told to a hook and answered. It is then
// tried again, or fails. The end of its address space ends it. Nothing else does, and no access waits for ever (I12).
public sealed partial record World
{
    // So that neither device nor queue makes one wait its turn.
    private const int MostThatWait = 8;

    internal int NextWaiting { get; init; }

    /// <summary>The accesses that wait, in the order in which they asked.</summary>
    public ImmutableList<WaitingAccess> Waiting { get; internal init; } = [];

    /// <summary>The world in which an access waits.</summary>
    public World Asks(DeviceAccess access) => this with { Waiting = Waiting.Add(new(NextWaiting, access)), NextWaiting = NextWaiting + 1 };

    /// <summary>
    /// Whether an access that is not let through is answered to the device, and not recorded: so it is of one with a TLB, in an address
    /// space that it has. Null: it may be either, beyond the addresses that tables translate, and in an address space that is not there
    /// while the device has another.
    /// </summary>
    private bool? IsAnswered(DeviceAccess access)
    {
        bool isAsked = ModelOf(access.Device).HasTlb && (access.Pasid is not null || !Iommu.Untranslated.Any(range => range.Contains(access.Address)));
        if (!isAsked) return false;
        if (ActiveAssociationOf(access.Device, access.Pasid) is not { } association)
            return Associations.Values.Any(other => other.IsActive && other.Device == access.Device) ? null : false;
        return access.Address <= FirstTableOf(association).LastAddress ? true : null;
    }

    /// <summary>Whether that is what an access comes to that is not let through.</summary>
    private bool IsDenial(DeviceAccess access, Outcome outcome)
    {
        bool asks = ModelOf(access.Device).AsksForPages && access.MayAsk;
        return IsAnswered(access) switch
        {
            true => outcome == (asks ? Outcome.Waits : Outcome.Fault),
            false => outcome == Outcome.Fault,
            null => outcome == Outcome.Fault || (asks && outcome == Outcome.Waits && ActiveAssociationOf(access.Device, access.Pasid) is not null),
        };
    }

    private bool HasRoom(DeviceAccess access) =>
        !access.MayAsk || !ModelOf(access.Device).AsksForPages || Waiting.Count(waiting => waiting.Access.Device == access.Device) < MostThatWait;

    /// <summary>This is the world after a call that tells no faults: what waits goes on to wait, but where the call ends its address space.</summary>
    private Verdict<World> JudgeWaiting(Operation operation, Observation seen)
    {
        AssociationState? ended = operation is Deactivate deactivate ? Associations[deactivate.Association] : null;
        World next = this with { Waiting = [] };
        foreach (WaitingAccess waiting in Waiting)
        {
            bool isOfEnded = ended is not null && waiting.Access.Device == ended.Device && waiting.Access.Pasid == ended.Pasid;
            bool mustBeOver = isOfEnded && seen.Outcome == Outcome.None;
            bool mayBeOver = mustBeOver || waiting.MayBeOver || (isOfEnded && seen.Outcome == Outcome.HardwareFailure);
            if (Find(seen, waiting) is { } end)
            {
                if (!mayBeOver) return Refuse(Invariant.FaultExact, $"{waiting} came to {end} and had waited; nobody has answered it");
                Verdict<World> verdict = next.JudgeEnd(waiting, end);
                if (!verdict.IsAccepted) return verdict;
                next = verdict.Next;
            }
            else if (mustBeOver)
            {
                return Refuse(Invariant.Progress, $"{waiting} still waits; its address space has ended");
            }
            else
            {
                next = next with { Waiting = next.Waiting.Add(waiting with { MayBeOver = mayBeOver }) };
            }
        }

        return WhyNotWaited(seen) is { } wrong ? wrong : Accept(next);
    }

    /// <summary>An access that had waited is over: it has failed, or reaches what it may.</summary>
    private Verdict<World> JudgeEnd(WaitingAccess waiting, EndedAccess end) =>
        end.Outcome == Outcome.None ? Judge(waiting.Access, new(Outcome.None) { Reached = end.Reached }) : Accept(this);

    /// <summary>
    /// Every access that waits is told to the hook of its device, in order. One that is to be tried again is, after what the hook did;
    /// one that is refused, or that no hook is told, has failed when the call returns.
    /// </summary>
    private Verdict<World> JudgeTold(Observation seen, bool hardwareFails)
    {
        Verdict<World> verdict = (this with { Waiting = [] }).JudgeTold(seen, hardwareFails, Waiting, toldLast: -1);
        return verdict.IsAccepted && WhyNotWaited(seen) is { } wrong ? wrong : verdict;
    }

    /// <param name="seen">What was seen of the call.</param>
    /// <param name="hardwareFails">Whether that excuses that something was not answered.</param>
    /// <param name="waiting">Those of which this world does not say yet what came of them.</param>
    /// <param name="toldLast">Which of the faults was the last that was one of the others'.</param>
    private Verdict<World> JudgeTold(Observation seen, bool hardwareFails, ImmutableList<WaitingAccess> waiting, int toldLast)
    {
        if (waiting.IsEmpty) return WhyTooMany(seen, toldLast) ?? Accept(this);
        WaitingAccess first = waiting[0];
        bool isHooked = Hooked.Contains(first.Access.Device);
        int candidate = toldLast + 1;
        while (candidate < seen.Faults.Length && !seen.Faults[candidate].Waits) candidate++;
        if (!isHooked || candidate == seen.Faults.Length || !Tells(seen.Faults[candidate], first.Access))
        {
            return isHooked && !first.MayBeOver
                ? Refuse(Invariant.FaultExact, $"it gave [{string.Join(", ", seen.Faults)}]; {first} waits and is not there")
                : GoOn(JudgeAnswer(first, Find(seen, first), isRetried: false, hardwareFails || first.MayBeOver), toldLast);
        }

        Verdict<World> acted = JudgeActs(seen, candidate);
        Verdict<World> told = acted.IsAccepted ? GoOn(acted.Next.JudgeAnswer(first, Find(seen, first), seen.Faults[candidate].IsRetried, hardwareFails), candidate) : acted;
        if (told.IsAccepted || !first.MayBeOver) return told;
        // What was told is perhaps another that is alike, and this one is over.
        Verdict<World> other = GoOn(JudgeAnswer(first, Find(seen, first), isRetried: false, isUncertain: true), toldLast);
        return other.IsAccepted ? other : told;

        Verdict<World> GoOn(Verdict<World> verdict, int last) => verdict.IsAccepted ? verdict.Next.JudgeTold(seen, hardwareFails, waiting.RemoveAt(0), last) : verdict;
    }

    /// <summary>What is wrong with what was told behind that; null: nothing.</summary>
    private Verdict<World>? WhyTooMany(Observation seen, int toldLast)
    {
        for (int i = toldLast + 1; i < seen.Faults.Length; i++)
        {
            if (seen.Faults[i].Waits) return Refuse(Invariant.FaultExact, $"it gave {seen.Faults[i]}; no such access waits, or its device has no hook");
        }

        return null;
    }

    private Verdict<World> JudgeActs(Observation seen, int fault)
    {
        World next = this;
        foreach (HookAct act in seen.Acts)
        {
            if (act.Fault != fault) continue;
            Verdict<World> verdict = next.Judge(act.Operation, act.Seen, act.Surroundings);
            if (!verdict.IsAccepted) return verdict;
            next = verdict.Next;
        }

        return Accept(next);
    }

    private Verdict<World> JudgeAnswer(WaitingAccess waiting, EndedAccess? end, bool isRetried, bool isUncertain)
    {
        World goesOn = this with { Waiting = Waiting.Add(waiting with { MayBeOver = isUncertain }) };
        if (isUncertain) return end is { } over ? JudgeEnd(waiting, over) : Accept(goesOn);
        if (!isRetried)
        {
            if (end is not { } refused) return Refuse(Invariant.Progress, $"{waiting} still waits; it was refused");
            return refused.Outcome == Outcome.Fault ? Accept(this) : Judge(waiting.Access, new(Outcome.None) { Reached = refused.Reached }) is { IsAccepted: false } wrong
                ? wrong
                : Refuse(Invariant.FaultExact, $"{waiting} came to {refused}; it was refused");
        }

        bool isLetThrough = Sees(waiting.Access.Device, waiting.Access.Address, waiting.Access.Pasid) is { } meaning && meaning.Grants(waiting.Access.Kind);
        if (end is { } now)
        {
            return now.Outcome == Outcome.None || isLetThrough
                ? Judge(waiting.Access, new(now.Outcome) { Reached = now.Reached })
                : Refuse(Invariant.FaultExact, $"{waiting} has failed; it was to be tried again, and asks again");
        }

        return isLetThrough ? Refuse(Invariant.Progress, $"{waiting} still waits; it was to be tried again, and what it wants is mapped") : Accept(goesOn);
    }

    private static bool Tells(GivenFault given, DeviceAccess access) =>
        given.Hook == access.Device && given.Device == access.Device && given.Page == (access.Address & ~(PageBytes - 1)) && given.Access == access.Kind && given.Pasid == access.Pasid && given.Cause == FaultCauses.None;

    private static EndedAccess? Find(Observation seen, WaitingAccess waiting)
    {
        foreach (EndedAccess end in seen.Ended)
        {
            if (end.Number == waiting.Number) return end;
        }

        return null;
    }

    /// <summary>What is wrong with what is said to have ended; null: nothing.</summary>
    private Verdict<World>? WhyNotWaited(Observation seen)
    {
        foreach (EndedAccess end in seen.Ended)
        {
            if (!Waiting.Exists(waiting => waiting.Number == end.Number)) return Refuse(Invariant.FaultExact, $"an access came to {end} that did not wait");
        }

        return null;
    }
}

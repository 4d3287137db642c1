namespace Vcmm.Spec;

// A transfer across the end of a page: the bus carries it as two requests, and a device stops at the first that is refused.
public sealed partial record World
{
    private bool IsDefined(CrossingAccess access)
    {
        DeviceModel device = ModelOf(access.Device);
        return device is { IsTranslated: true, HasTlb: false } && IsDefinedThroughGuest(access.First) && !PassesThrough(access.Device, access.Pasid) && (access.Pasid is not null || !Iommu.Untranslated.Any(range => range.Contains(access.First.Address) || range.Contains(access.Second.Address)));
    }

    private Verdict<World> Judge(CrossingAccess access, Observation seen)
    {
        bool stoppedAtOnce = seen.Outcome == Outcome.Fault && seen.Reached is null;
        Verdict<World> verdict = Judge(access.First, new Observation(stoppedAtOnce ? Outcome.Fault : Outcome.None) { Reached = seen.Reached });
        if (!verdict.IsAccepted || (stoppedAtOnce && seen.ReachedNext is null)) return verdict;
        return stoppedAtOnce
            ? Refuse(Invariant.FaultExact, $"{access.Device} was refused at 0x{access.First.Address:x} and reached 0x{seen.ReachedNext:x} in the page after it; it stops where it is refused", verdict.Next)
            : verdict.Next.Judge(access.Second, new Observation(seen.Outcome) { Reached = seen.ReachedNext });
    }

    /// <summary>A write whose halves were seen at two places, or of which the first was done and the second refused: each is one of its own.</summary>
    private Verdict<World> JudgeHalves(DeviceAccess write, Observation seen)
    {
        Verdict<World> first = JudgeUndivided(write, new Observation(Outcome.None) { Reached = seen.Reached });
        return first.IsAccepted ? first.Next.JudgeUndivided(write, new Observation(seen.Outcome) { Reached = seen.ReachedNext }) : first;
    }
}

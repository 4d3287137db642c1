namespace Vcmm.Spec;

/// <summary>The reasons for which a call must, or may, be refused.</summary>
internal sealed class Refusals
{
    private readonly List<(Outcome Outcome, Invariant Guards, string Why)> _must = [];
    private readonly List<Outcome> _may = [];

    /// <summary>The call must be refused if <paramref name="applies"/>; doing it all the same breaks <paramref name="guards"/>.</summary>
    public Refusals Must(Outcome outcome, bool applies, Invariant guards, string why)
    {
        if (applies) _must.Add((outcome, guards, why));
        return this;
    }

    /// <summary>And what <paramref name="more"/> adds.</summary>
    public Refusals With(Func<Refusals, Refusals> more) => more(this);

    /// <summary>The call may be refused if <paramref name="applies"/>.</summary>
    public Refusals May(Outcome outcome, bool applies)
    {
        if (applies) _may.Add(outcome);
        return this;
    }

    /// <summary>Accepts a lawful refusal, with <paramref name="world"/> as it was; asks <paramref name="done"/> about a call that was done.</summary>
    public Verdict<World> Judge(World world, Outcome seen, Func<Verdict<World>> done)
    {
        if (seen == Outcome.None)
        {
            if (_must.Count == 0) return done();
            (Outcome outcome, Invariant guards, string why) = _must[0];
            return Verdict<World>.Refuse(guards, $"it was done; it must be refused with {outcome}: {why}");
        }

        if (_must.Exists(reason => reason.Outcome == seen) || _may.Contains(seen)) return Verdict<World>.Accept(world);
        string expected = _must.Count == 0 ? "nothing speaks against it" : string.Join("; ", _must.Select(reason => $"{reason.Outcome}: {reason.Why}"));
        // Hardware that was not made to fail is usable.
        return Verdict<World>.Refuse(seen == Outcome.HardwareFailure ? Invariant.Progress : Invariant.Linearizable, $"it was refused with {seen}; {expected}");
    }
}

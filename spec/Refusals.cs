namespace Vcmm.Spec;

/// <summary>The reasons for which a call must, or may, be refused.</summary>
internal sealed class Refusals
{
    // Most calls have none, and few have several.
    private List<(Outcome Outcome, Invariant Guards, string Why)>? _must;
    private ulong _may;

    /// <summary>The call must be refused if <paramref name="applies"/>; doing it all the same breaks <paramref name="guards"/>.</summary>
    public Refusals Must(Outcome outcome, bool applies, Invariant guards, string why)
    {
        if (applies) (_must ??= []).Add((outcome, guards, why));
        return this;
    }

    /// <summary>And what <paramref name="more"/> adds.</summary>
    public Refusals With(Func<Refusals, Refusals> more) => more(this);

    /// <summary>The call may be refused if <paramref name="applies"/>.</summary>
    public Refusals May(Outcome outcome, bool applies)
    {
        if (applies) _may |= 1UL << (int)outcome;
        return this;
    }

    /// <summary>Accepts a lawful refusal, with <paramref name="world"/> as it was; asks <paramref name="done"/> about a call that was done.</summary>
    public Verdict<World> Judge(World world, Outcome seen, Func<Verdict<World>> done)
    {
        if (seen == Outcome.None)
        {
            if (_must is not [var first, ..]) return done();
            return Verdict<World>.RefuseLazily(first.Guards, $"it was done; it must be refused with {first.Outcome}: {first.Why}");
        }

        if (IsLawful(seen)) return Verdict<World>.Accept(world);
        // Hardware that was not made to fail is usable.
        return Verdict<World>.RefuseLazily(seen == Outcome.HardwareFailure ? Invariant.Progress : Invariant.Linearizable, $"it was refused with {seen}; {this}");
    }

    private bool IsLawful(Outcome seen) => (seen <= Outcome.Fault && (_may >> (int)seen & 1) != 0) || (_must?.Exists(reason => reason.Outcome == seen) ?? false);

    /// <summary>The reasons for which it must be refused.</summary>
    public override string ToString() => _must is null ? "nothing speaks against it" : string.Join("; ", _must.Select(static reason => $"{reason.Outcome}: {reason.Why}"));
}

namespace Vcmm.Spec;

/// <summary>The reasons for which a call must, or may, be refused.</summary>
internal sealed class Refusals
{
    // Most calls have none, and few have several.
    private Reason? _first;
    private List<Reason>? _others;
    private ulong _may;

    /// <summary>The call must be refused if <paramref name="applies"/>; doing it all the same breaks <paramref name="guards"/>.</summary>
    public Refusals Must(Outcome outcome, bool applies, Invariant guards, string why)
    {
        if (!applies) return this;
        var reason = new Reason(outcome, guards, why);
        if (_first is null) _first = reason;
        else (_others ??= []).Add(reason);
        return this;
    }

    /// <summary>The call may be refused if <paramref name="applies"/>.</summary>
    public Refusals May(Outcome outcome, bool applies)
    {
        if (applies) _may |= 1UL << (int)outcome;
        return this;
    }

    /// <summary>What they decide: that a refusal was lawful, and <paramref name="world"/> is as it was, or was not; that the call must not have been done.</summary>
    /// <returns>Null: it was done, and nothing speaks against that.</returns>
    public Verdict<World>? Decide(World world, Outcome seen)
    {
        if (seen == Outcome.None) return _first is null || world.Overlooked.Contains(_first.Guards) ? null : Verdict<World>.RefuseLazily(_first.Guards, new Sentence(this, seen));
        if (IsLawful(seen)) return Verdict<World>.Accept(world);
        // Hardware that was not made to fail is usable.
        Invariant broken = seen == Outcome.HardwareFailure ? Invariant.Progress : Invariant.Linearizable;
        return world.Overlooked.Contains(broken) ? Verdict<World>.Accept(world) : Verdict<World>.RefuseLazily(broken, new Sentence(this, seen));
    }

    private bool IsLawful(Outcome seen) =>
        (seen <= Outcome.Fault && (_may >> (int)seen & 1) != 0) || _first?.Outcome == seen || (_others?.Exists(reason => reason.Outcome == seen) ?? false);

    /// <summary>The reasons for which it must be refused.</summary>
    public override string ToString() => _first is null ? "nothing speaks against it" : string.Join("; ", _others is null ? [_first] : [_first, .. _others]);

    private string WhyNot(Outcome seen)
    {
        if (seen == Outcome.None) return FormattableString.Invariant($"it was done; it must be refused with {_first}");
        return FormattableString.Invariant($"it was refused with {seen}; {this}");
    }

    private sealed record Reason(Outcome Outcome, Invariant Guards, string Why)
    {
        public override string ToString() => $"{Outcome}: {Why}";
    }

    /// <summary>What is said of a call, put together when somebody reads it.</summary>
    private sealed class Sentence(Refusals refusals, Outcome seen)
    {
        public override string ToString() => refusals.WhyNot(seen);
    }
}

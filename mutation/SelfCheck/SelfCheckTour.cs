using System.Collections.Immutable;
using Harness.Schedules;
using Mutation.Hunting;
using Mutation.Schema;
using Vcmm.Spec;

namespace Mutation.SelfCheck;

/// <summary>Runs the hunts that show that each oracle is needed.</summary>
/// <param name="hunter">Runs the engines.</param>
/// <param name="library">The library with all patches in it.</param>
/// <param name="time">The clock.</param>
/// <param name="lanes">How many hunts run beside each other.</param>
/// <param name="stop">Set when the user wants to stop.</param>
public sealed class SelfCheckTour(Hunter hunter, MutatedLibrary library, TimeProvider time, int lanes, CancellationToken stop)
{
    // What is counted ends by its count; this is for what hangs.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly ImmutableDictionary<int, string> _broken = library.Broken;
    private readonly Dictionary<string, int> _numbers = library.Mutants.Select(static (mutant, i) => (mutant.Name, Number: i + 1)).ToDictionary(static pair => pair.Name, static pair => pair.Number);

    /// <summary>Hunts each witness of an invariant twice: with all invariants, and with this one muted.</summary>
    /// <param name="witnesses">The witnesses.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time, when one is over.</param>
    public IReadOnlyList<InvariantOutcome> Run(IReadOnlyList<InvariantWitness> witnesses, Action<InvariantOutcome> told)
    {
        var outcomes = new InvariantOutcome[witnesses.Count];
        Lanes.Run(lanes, witnesses.Count, stop, (i, lane) =>
        {
            outcomes[i] = OutcomeOf(witnesses[i], lane);
            lock (outcomes) told(outcomes[i]);
        });
        return outcomes;
    }

    /// <summary>Hunts each witness of an engine by it and by the others.</summary>
    /// <param name="witnesses">The witnesses.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time, when one is over.</param>
    public IReadOnlyList<EngineVerdict> Run(IReadOnlyList<EngineWitness> witnesses, Action<EngineVerdict> told)
    {
        var outcomes = new EngineVerdict[witnesses.Count];
        Lanes.Run(lanes, witnesses.Count, stop, (i, lane) =>
        {
            EngineWitness witness = witnesses[i];
            outcomes[i] = witness is { Planted: { } planted, Hunt: { } hunt }
                ? new(witness, HuntOf(planted, hunt, InvariantSet.None, lane), [.. witness.Others.Select(other => (other, HuntOf(planted, other, InvariantSet.None, lane)))])
                : new(witness, null, []);
            lock (outcomes) told(outcomes[i]);
        });
        return outcomes;
    }

    private InvariantOutcome OutcomeOf(InvariantWitness witness, int lane)
    {
        if (witness is not { Planted: { } planted, Hunt: { } hunt }) return new(witness, null, null);
        Hunt all = HuntOf(planted, hunt, InvariantSet.None, lane);
        return new(witness, all, all.End == HuntEnd.Found ? HuntOf(planted, hunt, InvariantSet.Of(witness.Names), lane) : null);
    }

    private Hunt HuntOf(Planted planted, HuntPlan plan, InvariantSet muted, int lane)
    {
        if (planted.Trace is { } edit) return EditedTrace.Judge(edit, muted, time, stop);
        int number = planted.Patch is { } patch ? _numbers[patch] : 0;
        if (_broken.GetValueOrDefault(number) is { } why) return new(HuntEnd.Broke, 0, TimeSpan.Zero) { Report = $"it does not compile: {why}" };
        return plan.Engine switch
        {
            "schedules" => hunter.Schedules(
                number,
                new(plan.Seed)
                {
                    Scenario = plan.Scenario ?? "all",
                    Fault = planted.Fault ?? "none",
                    Schedules = plan.Count,
                    Muted = muted,
                    Workers = 1,
                    FirstProcessor = lane,
                    Budget = Patience,
                    IsBrief = true,
                    StopsAtFailure = true,
                },
                stop),
            "tests" => hunter.TestsIn(plan.Class!, number, stop),
            "model" => hunter.Exhaust(number, plan.Count, Patience, stop),
            _ => hunter.Stage(number, plan.Engine, plan.Seed, Patience, plan.Count, muted, isBrief: true, stop),
        };
    }
}

/// <summary>What became of the witness of an invariant.</summary>
/// <param name="Witness">The witness.</param>
/// <param name="All">The hunt with all invariants; null: there is no witness.</param>
/// <param name="Muted">The hunt with this one muted; null: there was none.</param>
public sealed record InvariantOutcome(InvariantWitness Witness, Hunt? All, Hunt? Muted)
{
    /// <summary>Whether this invariant names it, and nothing else sees it; or it is written down that nothing shows that.</summary>
    public bool IsRight => Witness.Why is not null || (All is { End: HuntEnd.Found } && All.Named == Witness.Names && Muted is { End: HuntEnd.NotFound, Muted: > 0 });
}

/// <summary>What became of the witness of an engine.</summary>
/// <param name="Witness">The witness.</param>
/// <param name="Own">The engine's hunt; null: there is no witness.</param>
/// <param name="Others">Those of the others.</param>
public sealed record EngineVerdict(EngineWitness Witness, Hunt? Own, IReadOnlyList<(HuntPlan Plan, Hunt Hunt)> Others)
{
    /// <summary>Whether this engine finds it and no other does; or it is written down that nothing shows that.</summary>
    public bool IsRight => Witness.Why is not null || (Own is { End: HuntEnd.Found } && Others.All(static other => other.Hunt.End == HuntEnd.NotFound));
}

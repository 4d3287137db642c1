using System.Collections.Immutable;
using Harness.Coverage;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>Finds the shortest ways to states that a search has seen, of which it keeps the fingerprints alone.</summary>
/// <remarks>The steps of a way have the same names from the first to the last. One thread at a time.</remarks>
internal sealed class PathFinder
{
    private readonly Judge _judge;
    private readonly StateTable _states;
    private readonly Behaviours _behaviours;
    private readonly CanonicalForm _form;
    private readonly Dictionary<int, Way> _known = [];

    public PathFinder(Scope scope, Judge judge, StateTable states)
    {
        (_judge, _states, _behaviours) = (judge, states, new(scope));
        World blank = scope.Blank();
        _form = new(blank, scope.LikeFrames);
        _known.Add(0, new(blank, [.. scope.Prologue().Select(done => new Behaviour(done.Operation, done.Seen, new(scope.FreeBytes(blank))))]));
    }

    /// <summary>The way to a state, and a step from it that breaks an invariant.</summary>
    public ImmutableArray<Behaviour> ToBroken(int state, Invariant broken)
    {
        (World world, ImmutableArray<Behaviour> steps) = To(state);
        return steps.Add(BreakingStep(world, broken));
    }

    /// <summary>The way to a state, and the first step from it that is such a situation.</summary>
    public ImmutableArray<Behaviour> Into(int state, Situation situation)
    {
        (World world, ImmutableArray<Behaviour> steps) = To(state);
        return steps.Add(_behaviours.Of(world).First(behaviour =>
            behaviour.Seen.Outcome == situation.Outcome && behaviour.Operation.GetType() == situation.Operation
            && Situation.Of(world, behaviour.Operation, behaviour.Seen.Outcome) == situation && Follow(world, behaviour).Any()));
    }

    private Way To(int state)
    {
        if (_known.TryGetValue(state, out Way? known)) return known;
        (World world, ImmutableArray<Behaviour> steps) = To(_states.ParentOf(state));
        (Behaviour behaviour, World next) = StepTo(world, _states.FingerprintOf(state));
        Way way = new(next, steps.Add(behaviour));
        _known.Add(state, way);
        return way;
    }

    /// <summary>The first step from a world that breaks an invariant, or leads to a world that does.</summary>
    private Behaviour BreakingStep(World world, Invariant broken)
    {
        foreach (Behaviour behaviour in _behaviours.Of(world))
        {
            foreach ((Behaviour one, World next) in Follow(world, behaviour))
            {
                var step = new WorldStep(world, one.Operation, one.Seen, next);
                if ((InvariantPredicate.WhyBroken(step) ?? InvariantPredicate.WhyBroken(next))?.Broken == broken) return one;
            }
        }

        throw new InvalidOperationException($"the step that breaks {broken.Label()} cannot be found again");
    }

    private (Behaviour Behaviour, World World) StepTo(World world, ulong fingerprint)
    {
        foreach (Behaviour behaviour in _behaviours.Of(world))
        {
            foreach ((Behaviour one, World next) in Follow(world, behaviour))
            {
                if (ModelSearch.Fingerprint(_form.Of(next)) == fingerprint) return (one, next);
            }
        }

        throw new InvalidOperationException("a state that was reached cannot be reached");
    }

    private IEnumerable<(Behaviour Behaviour, World Next)> Follow(World world, Behaviour behaviour)
    {
        Verdict<World> verdict = _judge(world, behaviour.Operation, behaviour.Seen, behaviour.Surroundings);
        if (!verdict.IsAccepted) yield break;
        yield return (behaviour, verdict.Next);
        for (int left = verdict.Next.Quarantine.Count - 1; left >= 0; left--)
        {
            Behaviour earlier = behaviour with { Seen = behaviour.Seen with { Quarantined = left } };
            Verdict<World> early = _judge(world, earlier.Operation, earlier.Seen, earlier.Surroundings);
            if (early.IsAccepted) yield return (earlier, early.Next);
        }
    }

    /// <summary>A world, and the steps that lead to it.</summary>
    private sealed record Way(World World, ImmutableArray<Behaviour> Steps);
}

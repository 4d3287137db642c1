using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>Finds the steps on a way of which only the fingerprints are known.</summary>
internal sealed class PathFinder(Scope scope, Judge judge)
{
    private readonly Behaviours _behaviours = new(scope);

    /// <summary>The steps, with the same names from the first to the last.</summary>
    /// <param name="chain">The fingerprints of the states on the way, the first one's too.</param>
    /// <param name="broken">What a step from the last of them breaks.</param>
    public ImmutableArray<Behaviour> Find(List<ulong> chain, Invariant broken)
    {
        World blank = scope.Blank();
        var form = new CanonicalForm(blank, scope.LikeFrames);
        var steps = ImmutableArray.CreateBuilder<Behaviour>();
        World world = blank;
        foreach ((Operation operation, Observation seen) in scope.Prologue()) steps.Add(new(operation, seen, new(scope.FreeBytes(blank))));
        foreach (ulong fingerprint in chain.Skip(1))
        {
            (Behaviour behaviour, world) = StepTo(world, fingerprint, form);
            steps.Add(behaviour);
        }

        steps.Add(BreakingStep(world, broken));
        return steps.ToImmutable();
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

    private (Behaviour Behaviour, World World) StepTo(World world, ulong fingerprint, CanonicalForm form)
    {
        foreach (Behaviour behaviour in _behaviours.Of(world))
        {
            foreach ((Behaviour one, World next) in Follow(world, behaviour))
            {
                if (ModelSearch.Fingerprint(form.Of(next)) == fingerprint) return (one, next);
            }
        }

        throw new InvalidOperationException("a state that was reached cannot be reached");
    }

    private IEnumerable<(Behaviour Behaviour, World Next)> Follow(World world, Behaviour behaviour)
    {
        Verdict<World> verdict = judge(world, behaviour.Operation, behaviour.Seen, behaviour.Surroundings);
        if (!verdict.IsAccepted) yield break;
        yield return (behaviour, verdict.Next);
        for (int left = verdict.Next.Quarantine.Count - 1; left >= 0; left--)
        {
            Behaviour earlier = behaviour with { Seen = behaviour.Seen with { Quarantined = left } };
            Verdict<World> early = judge(world, earlier.Operation, earlier.Seen, earlier.Surroundings);
            if (early.IsAccepted) yield return (earlier, early.Next);
        }
    }
}

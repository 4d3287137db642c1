using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>
/// An invariant as a predicate: of every world that can be, and of every step that the model accepts. <see cref="World.Judge(Operation, Observation, Surroundings)"/>
/// says of one call at a time what it may come to; the predicates say what that adds up to. So the one is held to the other, and a search over all
/// that the model accepts shows that the judge never lets an invariant be broken.
/// </summary>
/// <param name="Invariant">Which.</param>
/// <param name="OfWorld">What is wrong with a world; null: nothing, or the predicate is none of worlds.</param>
/// <param name="OfStep">What is wrong with a step; null: nothing, or it is none of steps.</param>
public sealed record InvariantPredicate(Invariant Invariant, Func<World, string?>? OfWorld, Func<WorldStep, string?>? OfStep)
{
    /// <summary>All of them, in order. Two are of another kind: I10 is of histories, and I11 of what a call costs.</summary>
    public static ImmutableArray<InvariantPredicate> All { get; } =
    [
        new(Invariant.NoOverlap, NoOverlap.OfWorld, null),
        new(Invariant.TablesAreTruth, TablesAreTruth.OfWorld, TablesAreTruth.OfStep),
        new(Invariant.SharedTable, SharedTable.OfWorld, null),
        new(Invariant.NoStaleAccess, NoStaleAccess.OfWorld, NoStaleAccess.OfStep),
        new(Invariant.FrameSafety, FrameSafety.OfWorld, null),
        new(Invariant.Conservation, Conservation.OfWorld, Conservation.OfStep),
        new(Invariant.Permission, null, Permission.OfStep),
        new(Invariant.Isolation, Isolation.OfWorld, Isolation.OfStep),
        new(Invariant.OneSided, null, OneSided.OfStep),
        new(Invariant.Progress, Progress.OfWorld, null),
        new(Invariant.FaultExact, FaultExact.OfWorld, FaultExact.OfStep),
        new(Invariant.BreakBeforeMake, null, BreakBeforeMake.OfStep),
    ];

    /// <summary>The first that a world breaks; null: none.</summary>
    /// <param name="world">The world.</param>
    public static (Invariant Broken, string Sentence)? WhyBroken(World world)
    {
        foreach (InvariantPredicate predicate in All)
        {
            if (predicate.OfWorld?.Invoke(world) is { } sentence) return (predicate.Invariant, sentence);
        }

        return null;
    }

    /// <summary>The first that a step breaks; null: none.</summary>
    /// <param name="step">The step.</param>
    public static (Invariant Broken, string Sentence)? WhyBroken(WorldStep step)
    {
        foreach (InvariantPredicate predicate in All)
        {
            if (predicate.OfStep?.Invoke(step) is { } sentence) return (predicate.Invariant, sentence);
        }

        return null;
    }
}

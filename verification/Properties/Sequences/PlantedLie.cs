using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What the model is told of an operation.</summary>
/// <param name="World">The world before.</param>
/// <param name="Operation">The operation.</param>
/// <param name="Seen">What was seen of it.</param>
/// <param name="Surroundings">What excuses its failure.</param>
public sealed record Told(World World, Operation Operation, Observation Seen, Surroundings Surroundings)
{
    private readonly Lazy<Verdict<World>> _ifDone = new(() => World.Judge(Operation, Seen with { Outcome = Outcome.None }, Surroundings));

    /// <summary>Whether it was done.</summary>
    public bool IsDone => Seen.Outcome == Outcome.None;

    /// <summary>What the model answers if it is said to be done.</summary>
    public Verdict<World> IfDone => _ifDone.Value;
}

/// <summary>A library that does the right thing and says something else, so that it can be seen that the model takes nobody's word for it.</summary>
/// <param name="Name">What it says.</param>
/// <param name="CaughtBy">The invariant that names it.</param>
/// <param name="Sentence">Words of the sentence that the model answers with.</param>
/// <param name="Tell">What is said instead of what was seen; null: the truth.</param>
public sealed record PlantedLie(string Name, Invariant CaughtBy, string Sentence, Func<Told, Observation?> Tell)
{
    /// <summary>All there are: one for each reason for which the model wants a call refused, and those that are written by hand.</summary>
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        .. RefusalRule.All.Select(Done),
        .. AnswerLies.All,
        .. SpaceLies.All,
        .. MemoryLies.All,
        .. FlushLies.All,
        .. AccessLies.All,
        .. NestingLies.All,
        .. FaultLies.All,
    ];

    /// <summary>What else names it, rightly, in some scenarios; null: nothing.</summary>
    public Invariant? OrElse { get; init; }

    public override string ToString() => Name;

    /// <summary>A call that was refused for the reason, before all others, is said to be done.</summary>
    private static PlantedLie Done(RefusalRule rule) => new(
        $"done though {rule.Why}", rule.Guards, $": {rule.Why}",
        told => told.Seen.Outcome is not (Outcome.None or Outcome.Waits) && IsReason(told, rule) ? told.Seen with { Outcome = Outcome.None } : null);

    private static bool IsReason(Told told, RefusalRule rule)
    {
        Verdict<World> verdict = told.IfDone;
        return !verdict.IsAccepted && verdict.Broken == rule.Guards && verdict.Sentence.EndsWith($": {rule.Why}", StringComparison.Ordinal);
    }
}

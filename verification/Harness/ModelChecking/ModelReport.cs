using System.Collections.Immutable;
using Harness.Coverage;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>How far a search is.</summary>
/// <param name="Depth">The operations on the way to the states that it is at.</param>
/// <param name="States">Distinct states so far.</param>
/// <param name="Expanded">Those of which everything has been tried.</param>
/// <param name="Elapsed">The time since it began.</param>
public readonly record struct ModelProgress(int Depth, int States, long Expanded, TimeSpan Elapsed);

/// <summary>Whether something that must happen did.</summary>
/// <param name="Name">What.</param>
/// <param name="Depth">After so many operations at least; -1: it did not.</param>
public readonly record struct ReachedLaw(string Name, int Depth);

/// <summary>What a search has come to.</summary>
public sealed record ModelReport
{
    /// <summary>The small world.</summary>
    public required Scope Scope { get; init; }

    /// <summary>Distinct states, up to names.</summary>
    public required int States { get; init; }

    /// <summary>Those of which everything has been tried.</summary>
    public required long Expanded { get; init; }

    /// <summary>Steps that the model accepted.</summary>
    public required long Steps { get; init; }

    /// <summary>Behaviours that it was asked about, without those that differ in what was flushed.</summary>
    public required long Tried { get; init; }

    /// <summary>How many states are so many operations away, from 0 on.</summary>
    public required ImmutableArray<int> StatesByDepth { get; init; }

    /// <summary>Why it did not come to the end; null: it did, or an invariant is broken.</summary>
    public required string? CutOff { get; init; }

    /// <summary>How long it took.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>Bytes that the table of states took.</summary>
    public required long ByteCount { get; init; }

    /// <summary>What must happen.</summary>
    public required IReadOnlyList<ReachedLaw> Laws { get; init; }

    /// <summary>How often each operation came to what, by what it met.</summary>
    public required IReadOnlyDictionary<Situation, long> Coverage { get; init; }

    /// <summary>
    /// Ways into one of the situations of <see cref="Coverage"/>, the shortest first: each ends with a step that is such a one, and begins with what was done first. One
    /// thread at a time.
    /// </summary>
    public required Func<Situation, IEnumerable<ImmutableArray<Behaviour>>> WaysInto { get; init; }

    /// <summary>What a breadth-first walk does that finds each state's successors written down.</summary>
    public required double BareStatesPerSecond { get; init; }

    /// <summary>What it has found; null: no invariant is broken.</summary>
    public required Counterexample? Counterexample { get; init; }

    /// <summary>Distinct states a second.</summary>
    public double StatesPerSecond => States / Elapsed.TotalSeconds;
}

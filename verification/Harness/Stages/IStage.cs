using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>One stage of <c>verify run</c>: something that can be run for a budget and reports what it did.</summary>
public interface IStage
{
    /// <summary>One word, as shown in the table and accepted on the command line.</summary>
    string Name { get; }

    /// <summary>Null if the stage can run here; otherwise one line: what is missing and how to get it.</summary>
    string? Missing { get; }

    /// <summary>Runs until the budget is spent, the stage has no more to do, or <see cref="StageContext.Stop"/> is set.</summary>
    StageReport Run(StageContext context);
}

/// <summary>What a stage is given.</summary>
/// <param name="Seed">Every random choice of the stage comes from it.</param>
/// <param name="Budget">How long the stage should take; work that has begun is finished.</param>
/// <param name="Time">The clock by which the budget is measured.</param>
/// <param name="Progress">Told from time to time how far the stage is; called on the stage's thread.</param>
/// <param name="Stop">Set when the user wants to stop; the stage then returns within a second with what it has.</param>
public sealed record StageContext(ulong Seed, TimeSpan Budget, TimeProvider Time, Action<StageProgress> Progress, CancellationToken Stop)
{
    /// <summary>How many sequences, schedules, cases or units it may have; null: as many as there is time for.</summary>
    public long? Most { get; init; }

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Whether a failure is told as it was found: nothing smaller is looked for that fails as well.</summary>
    public bool IsBrief { get; init; }
}

/// <summary>How far a stage is.</summary>
/// <param name="Fraction">0 … 1.</param>
/// <param name="Text">A few words: what is being done.</param>
public readonly record struct StageProgress(double Fraction, string Text);

/// <summary>What a stage did.</summary>
public sealed record StageReport
{
    /// <summary>The stage's name.</summary>
    public required string Name { get; init; }

    /// <summary>How long it took.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>What ran, in the order to show: "sequences", "operations", "schedules", "device accesses", …</summary>
    public required IReadOnlyList<(string What, long Count)> Ran { get; init; }

    /// <summary>How often each invariant was checked.</summary>
    public required IReadOnlyDictionary<Invariant, long> Checks { get; init; }

    /// <summary>How often each muted invariant was found broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted { get; init; } = new Dictionary<Invariant, long>();

    /// <summary>What failed; empty if nothing did.</summary>
    public required IReadOnlyList<StageFailure> Failures { get; init; }
}

/// <summary>A violation that a stage found.</summary>
/// <param name="Invariant">Which invariant is broken.</param>
/// <param name="Summary">One line: what was observed and what was expected.</param>
/// <param name="Report">The whole counterexample, as printed for a person.</param>
/// <param name="FileContent">The failure file that <c>verify replay</c> reads, or null if the failure is its own input (a trace).</param>
public sealed record StageFailure(Invariant Invariant, string Summary, string Report, string? FileContent);

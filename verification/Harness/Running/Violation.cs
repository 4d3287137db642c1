using Vcmm.Spec;

namespace Harness.Running;

/// <summary>A broken invariant.</summary>
/// <param name="Invariant">Which.</param>
/// <param name="Observed">What was seen, on one line.</param>
/// <param name="Expected">What may be seen, on one line.</param>
public sealed record Violation(Invariant Invariant, string Observed, string Expected)
{
    /// <summary>What the model refused. Its sentence says what was seen and, after a semicolon, what may be seen.</summary>
    public static Violation Of(string what, Verdict<World> refusal)
    {
        string[] parts = refusal.Sentence.Split("; ", 2);
        return new(refusal.Broken, $"{what}: {parts[0]}", parts[^1]);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Invariant.Label()}: {Observed}; expected: {Expected}";
}

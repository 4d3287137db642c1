using Vcmm.Spec;

namespace Harness.Running;

/// <summary>A broken invariant.</summary>
/// <param name="Invariant">Which.</param>
/// <param name="Observed">What was seen, on one line.</param>
/// <param name="Expected">What may be seen, on one line.</param>
public sealed record Violation(Invariant Invariant, string Observed, string Expected)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Invariant.Label()}: {Observed}; expected: {Expected}";
}

using Vcmm.Spec;

namespace Harness.Operations;

/// <summary>An operation, and what is made to go wrong meanwhile.</summary>
/// <param name="Operation">The operation.</param>
/// <param name="Mishap">What goes wrong; null: nothing.</param>
public sealed record Step(Operation Operation, Mishap? Mishap = null)
{
    /// <summary>The step on one line, which <see cref="OperationText.Parse"/> reads.</summary>
    public override string ToString() => OperationText.Write(this);
}

using Vcmm.Spec;

namespace Harness.Coverage;

/// <summary>An operation, what it met, and what it came to.</summary>
/// <param name="Operation">The type of the operation.</param>
/// <param name="Class">What it met.</param>
/// <param name="Outcome">What it came to.</param>
public readonly record struct Situation(Type Operation, StateClass Class, Outcome Outcome)
{
    /// <summary>The situation of a step.</summary>
    /// <param name="before">The world before the operation.</param>
    /// <param name="operation">The operation; its objects are known.</param>
    /// <param name="outcome">What it came to.</param>
    public static Situation Of(World before, Operation operation, Outcome outcome) => new(operation.GetType(), StateClass.Of(before, operation), outcome);

    /// <summary><c>Unback Backed, Active: done</c>.</summary>
    public override string ToString() => $"{Operation.Name}{(Class == default ? "" : $" {Class}")}: {(Outcome == Outcome.None ? "done" : Outcome)}";
}

namespace Vcmm.Spec;

/// <summary>A step that the model accepts.</summary>
/// <param name="Before">The world that was.</param>
/// <param name="Operation">What was done.</param>
/// <param name="Seen">What was seen of it.</param>
/// <param name="After">The world that follows.</param>
public readonly record struct WorldStep(World Before, Operation Operation, Observation Seen, World After);

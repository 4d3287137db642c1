using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>Something that may be done, what may be seen of it, and what excuses that. Whether it may, the model says.</summary>
/// <param name="Operation">What is done.</param>
/// <param name="Seen">What is seen of it.</param>
/// <param name="Surroundings">What excuses a failure.</param>
public readonly record struct Behaviour(Operation Operation, Observation Seen, Surroundings Surroundings);

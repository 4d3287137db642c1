using Harness.Running;

namespace Harness.Oracles;

/// <summary>Holds the machine, between two operations, to the model.</summary>
public interface IOracle
{
    /// <summary>Looks.</summary>
    /// <returns>What is wrong; null: nothing.</returns>
    Violation? Check(Look look);
}

using Harness.Running;

namespace Harness.Oracles;

/// <summary>Holds the machine, between two operations, to the model.</summary>
public interface IOracle
{
    /// <summary>Looks.</summary>
    /// <returns>What is wrong, one after the other. Whoever takes the first looks no further.</returns>
    IEnumerable<Violation> Check(Look look);
}

using Harness.Generating;
using Harness.Running;
using Harness.Shrinking;

namespace Properties.Sequences;

/// <summary>What a test says of a sequence that fails.</summary>
internal static class ShortReport
{
    /// <summary>The report of the shrunk sequence; under mutation, where nobody reads it, of the sequence as it is.</summary>
    public static string Of(SequenceRunner runner, RunResult failed) => (UnderMutation.IsOn ? failed : new ScenarioShrinker(runner.Run).Shrink(failed, CancellationToken.None)).Report();
}

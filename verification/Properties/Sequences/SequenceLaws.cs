using CsCheck;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;

namespace Properties.Sequences;

/// <summary>Generated sequences on the library over the simulator.</summary>
[Collection(QuickFirst.Last + nameof(SequenceLaws))]
public sealed class SequenceLaws
{
    private static readonly ScenarioGen Scenarios = new(ScenarioShape.Any);

    [Fact]
    public void What_the_library_does_is_what_the_model_accepts()
    {
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        Scenarios.ForAll(
            300,
            scenario =>
            {
                RunResult result = runner.Run(scenario);
                if (result.Violation is null) return;
                Assert.Fail(ShortReport.Of(runner, result));
            });
    }
}

using Harness.Failures;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;

namespace Harness.Stages;

/// <summary>Generated sequences of operations, run on the library over the simulator and held to the model.</summary>
public sealed class SequenceStage : ITopologyStage, IReplayer
{
    private readonly ScenarioGen _scenarios;
    private readonly SubjectParts _parts;

    /// <summary>The stage for the library, or for parts of it that stand in.</summary>
    public SequenceStage(SubjectParts? parts = null)
        : this(parts ?? SubjectParts.Own, ScenarioShape.Any)
    {
    }

    private SequenceStage(SubjectParts parts, ScenarioShape shape)
    {
        _parts = parts;
        _scenarios = new(shape);
    }

    /// <inheritdoc/>
    public string Name => "sequences";

    /// <inheritdoc/>
    public string? Missing => null;

    /// <inheritdoc/>
    public IStage On(Topology topology) => new SequenceStage(_parts, ScenarioShape.Any with { Topology = topology });

    /// <inheritdoc/>
    public StageReport Run(StageContext context)
    {
        using var bench = new SimulatorBench();
        return SequenceLoop.Run(Name, context, _scenarios, new(bench, _parts), static () => []);
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        Scenario scenario = SequenceLoop.Read(file);
        using var bench = new SimulatorBench();
        return SequenceLoop.Describe(Name, new SequenceRunner(bench, _parts).Run(scenario));
    }
}

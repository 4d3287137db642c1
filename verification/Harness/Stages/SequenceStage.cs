using Harness.Failures;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>Generated sequences of operations, run on the library over the simulator and held to the model.</summary>
public sealed class SequenceStage : ITopologyStage, IReplayer
{
    /// <summary>The name, which a failure file has.</summary>
    public const string StageName = "sequences";

    // One of so many has a CPU; the others are what they are without those.
    private const uint Turn = 4;

    private readonly Topology? _topology;
    private readonly ScenarioGen _scenarios;
    private readonly ScenarioGen _withCpu = new(ScenarioShape.WithCpu with { VariesEagerness = true });
    private readonly SubjectParts _parts;

    /// <summary>The stage for the library, or for parts of it that stand in.</summary>
    public SequenceStage(SubjectParts? parts = null)
        : this(parts ?? SubjectParts.Own, topology: null)
    {
    }

    private SequenceStage(SubjectParts parts, Topology? topology)
    {
        _parts = parts;
        _topology = topology;
        _scenarios = new(ScenarioShape.Any with { Topology = topology, VariesEagerness = true });
    }

    /// <inheritdoc/>
    public string Name => StageName;

    /// <inheritdoc/>
    public string? Missing => null;

    /// <summary>Told of each operation, and of each access of a device: the world before, and what was seen.</summary>
    public Action<World, Operation, Observation>? Judging { get; init; }

    /// <inheritdoc/>
    public IStage On(Topology topology) => new SequenceStage(_parts, topology);

    /// <inheritdoc/>
    public StageReport Run(StageContext context)
    {
        using var bench = new SimulatorBench();
        return SequenceLoop.Run(Name, context, Generate, variesMachine: _topology is null, new(bench, _parts with { Muted = context.Muted }) { Judging = (before, operation, seen, _) => Judging?.Invoke(before, operation, seen) }, static () => []);
    }

    private Scenario Generate(ulong seed, uint index)
    {
        if (_topology is not null) return _scenarios.Generate(seed, index);
        return index % Turn == Turn - 1 ? _withCpu.Generate(seed, index / Turn) : _scenarios.Generate(seed, index - index / Turn);
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        Scenario scenario = SequenceLoop.Read(file);
        using var bench = new SimulatorBench();
        return SequenceLoop.Describe(Name, new SequenceRunner(bench, _parts with { Muted = file.MutedSet }).Run(scenario), file.MutedSet);
    }
}

using Harness.Failures;
using Harness.Foreign;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;

namespace Harness.Stages;

/// <summary>The same generated scenarios, with the same driver, on QEMU's own VT-d: real DMA of a device through tables that the library wrote.</summary>
public sealed class ForeignStage : IStage, IReplayer
{
    private readonly ScenarioGen _scenarios =
        new(ScenarioShape.Any with { Topology = QemuBench.Topology, VariesSetup = true, LargeChunks = false, MaxSteps = 40, HardwareFails = false });

    private readonly SubjectParts _parts;

    /// <summary>The stage for the library, or for parts of it that stand in.</summary>
    public ForeignStage(SubjectParts? parts = null) => _parts = parts ?? SubjectParts.Own;

    /// <inheritdoc/>
    public string Name => "foreign";

    /// <inheritdoc/>
    public string? Missing => QemuVtd.Missing;

    /// <inheritdoc/>
    public StageReport Run(StageContext context)
    {
        using var bench = new QemuBench();
        return SequenceLoop.Run(
            Name, context, _scenarios.Generate, variesMachine: false, new(bench, _parts), () => [("DMA transfers", bench.Counts.Transfers), ("qtest commands", bench.Counts.Commands)]);
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        Scenario scenario = SequenceLoop.Read(file);
        using var bench = new QemuBench();
        return SequenceLoop.Describe(Name, new SequenceRunner(bench, _parts).Run(scenario));
    }
}

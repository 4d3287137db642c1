using Harness.Failures;
using Harness.Foreign;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;

namespace Harness.Stages;

/// <summary>The same generated scenarios, with the same driver, on QEMU's own VT-d: real DMA of a device through tables that the library wrote.</summary>
public sealed class ForeignStage : IStage, IReplayer
{
    // One of so many is in scalable mode; the others are what they are without those.
    private const uint Turn = 4;

    private static readonly ScenarioShape Shape =
        ScenarioShape.Any with { Topology = QemuBench.Topology, VariesSetup = true, LargeChunks = false, MaxSteps = 40, HardwareFails = false };

    private static readonly ScenarioGen Legacy = new(Shape);
    private static readonly ScenarioGen Scalable = new(Shape with { Topology = QemuBench.ScalableTopology });

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
        long scalable = 0;
        return SequenceLoop.Run(
            Name, context, Next, variesMachine: false, new(bench, _parts with { Muted = context.Muted }),
            () => [("sequences in scalable mode", scalable), ("DMA transfers", bench.Counts.Transfers), ("qtest commands", bench.Counts.Commands)]);

        Scenario Next(ulong seed, uint index)
        {
            Scenario scenario = Generate(seed, index);
            if (scenario.Topology.IsScalable) scalable++;
            return scenario;
        }
    }

    /// <summary>The scenario of that number.</summary>
    internal static Scenario Generate(ulong seed, uint index) =>
        index % Turn == Turn - 1 ? Scalable.Generate(seed, index / Turn) : Legacy.Generate(seed, index - index / Turn);

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        Scenario scenario = SequenceLoop.Read(file);
        using var bench = new QemuBench();
        return SequenceLoop.Describe(Name, new SequenceRunner(bench, _parts with { Muted = file.MutedSet }).Run(scenario), file.MutedSet);
    }
}

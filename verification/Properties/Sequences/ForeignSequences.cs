using Conformance;
using Harness.Failures;
using Harness.Running;
using Harness.Stages;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>The generated sequences on QEMU's VT-d: the same driver, hardware that nobody here wrote.</summary>
[Trait("Category", "Qemu")]
public sealed class ForeignSequences(ITestOutputHelper output)
{
    private const ulong Seed = 1;

    [QemuFact]
    public void What_the_library_does_on_QEMU_is_what_the_model_accepts()
    {
        StageReport report = RunUntil(new ForeignStage(), sequences: 17);
        Assert.True(report.Failures.Count == 0, report.Failures.FirstOrDefault()?.Report);
        Assert.InRange(report.Ran.Single(ran => ran.What == "DMA transfers").Count, 500, long.MaxValue);
    }

    /// <summary>Nobody can look into QEMU's IOTLB: it is a device that finds out.</summary>
    [QemuFact]
    public void An_unback_that_does_not_invalidate_is_found_by_a_device_of_QEMU() => IsFoundByADevice("an unback that does not invalidate");

    [QemuFact]
    public void A_narrowing_that_does_not_invalidate_is_found_by_a_device_of_QEMU() => IsFoundByADevice("a narrowing that does not invalidate");

    private void IsFoundByADevice(string name)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        var stage = new ForeignStage(fault.Parts);
        StageFailure found = Assert.Single(RunUntil(stage, sequences: 33).Failures);
        output.WriteLine(found.Report);
        Assert.Equal(Invariant.NoStaleAccess, found.Invariant);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
        Assert.Null(new ForeignStage().Replay(file));
    }

    private static StageReport RunUntil(ForeignStage stage, int sequences)
    {
        using var stop = new CancellationTokenSource();
        int told = 0;
        return stage.Run(new(Seed, TimeSpan.MaxValue, TimeProvider.System, _ =>
        {
            // Told once in 16 sequences.
            if (told++ * 16 >= sequences - 1) stop.Cancel();
        }, stop.Token));
    }
}

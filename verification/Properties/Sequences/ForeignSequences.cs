using Conformance;
using Harness.Failures;
using Harness.Foreign;
using Harness.Generating;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
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
        Assert.InRange(report.Ran.Single(ran => ran.What == "sequences in scalable mode").Count, 4, long.MaxValue);
    }

    /// <summary>In scalable mode a device finds its table through a directory of PASIDs, with commands of 256 bits; QEMU walks second-stage tables there.</summary>
    [QemuFact]
    public void What_the_library_does_in_QEMUs_scalable_mode_is_what_the_model_accepts()
    {
        var scenarios = new ScenarioGen(ScenarioShape.Any with { Topology = QemuBench.ScalableTopology, VariesSetup = true, LargeChunks = false, MaxSteps = 40, HardwareFails = false });
        using var bench = new QemuBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        for (uint index = 0; index < 36; index++)
        {
            RunResult result = runner.Run(scenarios.Generate(Seed, index));
            Assert.True(result.Violation is null, result.Report());
        }

        (string State, int Least)[] sometimes =
        [
            ("DeviceAccess done", 3), ("DeviceAccess refused: Fault", 3), ("Unback done", 5), ("Activate done", 12), ("Deactivate done", 3), ("two devices share a table", 3),
            // What this unit has not.
            ("Associate refused: Invalid", 1),
        ];
        foreach ((string state, int least) in sometimes)
        {
            long times = runner.Counts.Sometimes.GetValueOrDefault(state);
            output.WriteLine($"{times,6} {state}");
            Assert.True(times >= least, $"\"{state}\" was reached {times} times; at least {least} were expected");
        }
    }

    [QemuFact]
    public void An_unback_that_does_not_invalidate_is_found_in_QEMUs_scalable_mode()
    {
        string[] steps =
        [
            "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0", "activate a0", "r0 = reserve-at v0 0x0 4K rw", "m0 = allocate 4K of 4K", "back r0 m0", "read d0 0x0", "unback r0", "read d0 0x0",
        ];
        var scenario = new Scenario(QemuBench.ScalableTopology, [.. steps.Select(OperationText.Parse)]);
        using var bench = new QemuBench();
        Assert.Null(new SequenceRunner(bench, SubjectParts.Own).Run(scenario).Violation);
        PlantedFault fault = PlantedFault.All.Single(static candidate => candidate.Name == "an unback that does not invalidate");
        RunResult found = new SequenceRunner(bench, fault.Parts).Run(scenario);
        output.WriteLine(found.Report());
        Assert.Equal(Invariant.NoStaleAccess, found.Violation?.Invariant);
    }

    /// <summary>Nobody can look into QEMU's IOTLB: it is a device that finds out.</summary>
    [QemuFact]
    public void An_unback_that_does_not_invalidate_is_found_by_a_device_of_QEMU() => IsFoundByADevice("an unback that does not invalidate");

    [QemuFact]
    public void A_narrowing_that_does_not_invalidate_is_found_by_a_device_of_QEMU() => IsFoundByADevice("a narrowing that does not invalidate");

    [QemuFact]
    public void A_bank_that_is_not_asked_is_found_on_QEMU() => IsFound("memory that comes from any bank, whichever was asked for", Invariant.Conservation);

    /// <summary>What is flushed late, placed from the top, taken from a bank and blocked: QEMU's hardware sees the old translation until the flush.</summary>
    [QemuFact]
    public void A_deferred_region_is_seen_late_on_QEMU()
    {
        string[] steps =
        [
            "v0 = vcm 0x0-0xffff deferred top-down", "a0 = associate v0 d0", "activate a0", "hook d0 refuse", "hook d1 retry", "m0 = allocate 8K of 4K bank 1",
            "r0 = reserve v0 8K rw align 4K", "back r0 m0", "dispatch", "unback r0", "free m0", "unreserve r0", "r1 = reserve v0 8K rw align 4K", "read d0 0xe000",
            "advance 10ms", "poll", "r2 = reserve v0 8K rw align 4K", "read d0 0xe000", "dispatch",
        ];
        Topology topology = QemuBench.Topology with { RangeCache = false, Banks = new(new BankShape(1), new BankShape(2, Type: 1)), FlushCapacity = 4, FlushAtCount = 3 };
        using var bench = new QemuBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        RunResult result = runner.Run(new(topology, [.. steps.Select(OperationText.Parse)]));
        output.WriteLine(result.Report());
        Assert.Null(result.Violation);
        string Seen(int line) => result.Lines[line].Seen;
        Assert.Equal(("0xe000-0xffff", "0xc000-0xdfff", "0xe000-0xffff"), (Seen(6), Seen(12), Seen(16)));
        // The frame that was behind it, until the flush.
        Assert.Equal((Seen(5).Split(", ")[0].Split('-')[0], "Fault"), (Seen(13), Seen(17)));
        Assert.InRange(runner.Counts.Sometimes.GetValueOrDefault("a device reached what waits for a flush"), 1, long.MaxValue);
        Assert.InRange(runner.Counts.Sometimes.GetValueOrDefault("a hook was given a fault"), 1, long.MaxValue);
    }

    private void IsFoundByADevice(string name) => IsFound(name, Invariant.NoStaleAccess);

    private void IsFound(string name, Invariant invariant)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        var stage = new ForeignStage(fault.Parts);
        StageFailure found = Assert.Single(RunUntil(stage, sequences: 33).Failures);
        output.WriteLine(found.Report);
        Assert.Equal(invariant, found.Invariant);
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

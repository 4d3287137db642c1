using Harness.Differential;
using Harness.Failures;
using Harness.Foreign;
using Harness.Stages;
using IommuSim;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Conformance.Foreign;

/// <summary>The differential stage: that both machines agree, and that it would be seen if they did not.</summary>
public sealed class DifferentialTests(ITestOutputHelper output)
{
    private const ulong Seed = 1;

    [QemuFact]
    public void QEMU_and_the_simulator_do_the_same_but_for_what_is_listed()
    {
        var total = new CaseResult();
        StageReport report = new DifferentialStage().Run(Context(), 150, total);
        output.WriteLine($"QEMU {QemuVtd.Version}: {string.Join(", ", report.Ran.Select(ran => $"{ran.Count} {ran.What}"))}");
        foreach ((string name, int count) in total.Explained.OrderBy(pair => pair.Key, StringComparer.Ordinal)) output.WriteLine($"{count} of: {name}");
        output.WriteLine(string.Join(' ', total.Reasons.OrderBy(pair => pair.Key).Select(pair => $"0x{pair.Key:x}={pair.Value}")));
        Assert.True(report.Failures.Count == 0, report.Failures.FirstOrDefault()?.Report);

        // Sometimes: everything that can be met was.
        Assert.Subset(QemuDeviations.All.Select(known => known.Name).ToHashSet(), total.Explained.Keys.ToHashSet());
        Assert.Empty(((byte[])[0, 1, 2, 3, 4, 5, 6, 7, 8, 0xB, 0xC]).Except(total.Reasons.Keys));
        if (QemuVtd.KnowsFirstStage) Assert.Empty(((byte[])[0x70, 0x71, 0x72, 0x80, 0x81, 0x85]).Except(total.Reasons.Keys));
        Assert.InRange(total.Transfers, total.Accesses / 5, total.Accesses);
        Assert.InRange(total.Faults, total.Accesses / 10, total.Accesses);
        Assert.InRange(total.Open, 0, total.Accesses / 4);
        Assert.InRange(total.Unsettled, 20, total.Accesses);
        Assert.InRange(total.QueueErrors, 10, total.Commands);
    }

    /// <summary>Seeds other than that of a run without options, less far.</summary>
    [QemuTheory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(11)]
    public void Other_seeds_find_nothing_either(ulong seed)
    {
        var total = new CaseResult();
        StageReport report = new DifferentialStage().Run(Context(seed), 30, total);
        Assert.True(report.Failures.Count == 0, report.Failures.FirstOrDefault()?.Report);
        Assert.InRange(total.Accesses, 1000, int.MaxValue);
    }

    public static TheoryData<string> UnitNames => new(Units.Keys);

    private static Dictionary<string, (Invariant Broken, Func<VtdOptions, VtdOptions> Make)> Units => new()
    {
        ["a wider host"] = (Invariant.FaultExact, options => options with { HostAddressWidth = 49 }),
        ["no pages of 2 MiB"] = (Invariant.FaultExact, options => options with { Pages2M = false }),
        ["a smaller address mask"] = (Invariant.Progress, options => options with { MaximumAddressMask = 17 }),
    };

    [QemuTheory]
    [MemberData(nameof(UnitNames))]
    public void A_unit_that_is_made_otherwise_is_found_shrunk_and_shown_again(string name)
    {
        (Invariant broken, Func<VtdOptions, VtdOptions> make) = Units[name];
        var stage = new DifferentialStage { Otherwise = make };
        StageFailure found = Assert.Single(stage.Run(Context(), 90, new()).Failures);
        output.WriteLine(found.Report);
        Assert.Equal(broken, found.Invariant);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.InRange(FuzzCase.FromJson(file.Scenario).Steps.Length, 1, 12);
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
        Assert.Null(new DifferentialStage().Replay(file));
    }

    [QemuFact]
    public void A_brief_stage_tells_a_case_as_it_was_found()
    {
        var stage = new DifferentialStage { Otherwise = Units["no pages of 2 MiB"].Make };
        StageFailure found = Assert.Single(stage.Run(Context() with { IsBrief = true }, 90, new()).Failures);
        output.WriteLine(found.Report);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.InRange(FuzzCase.FromJson(file.Scenario).Steps.Length, 13, int.MaxValue);
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
    }

    [QemuFact]
    public void A_muted_invariant_is_counted_and_not_told()
    {
        (Invariant broken, Func<VtdOptions, VtdOptions> make) = Units["a smaller address mask"];
        StageReport report = new DifferentialStage { Otherwise = make }.Run(Context() with { Muted = InvariantSet.Of(broken) }, 90, new());
        Assert.DoesNotContain(report.Failures, failure => failure.Invariant == broken);
        Assert.InRange(report.Muted[broken], 1, long.MaxValue);
    }

    /// <summary>Where QEMU has first-stage tables: as the tables of the other stage, they are judged with what was invalidated.</summary>
    [QemuFact]
    public void Software_that_does_not_invalidate_first_stage_tables_is_found()
    {
        var stage = new DifferentialStage
        {
            Rewrite = fuzzed => !fuzzed.HasFirstStage ? fuzzed
                : fuzzed with { Steps = [.. fuzzed.Steps.Select(step => step is FuzzStep.Cover { Changed: [>= Ground.Level4 and < Ground.Directories] } cover ? cover with { Words = [] } : step)] },
        };
        if (!QemuVtd.KnowsFirstStage)
        {
            output.WriteLine($"QEMU {QemuVtd.Version} has none");
            return;
        }

        StageReport report = stage.Run(Context(), 300, new());

        StageFailure found = Assert.Single(report.Failures);
        output.WriteLine(found.Report);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.True(FuzzCase.FromJson(file.Scenario).HasFirstStage);
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
    }

    /// <summary>A reserved bit of the half of the root entry that the device does not use: QEMU blocks the write, the simulator does not.</summary>
    [QemuFact]
    public void A_write_that_one_machine_blocks_for_a_listed_reason_leaves_memory_alike()
    {
        string[] steps =
        [
            "set 0x1010ff8 0x1019003", "set 0x1019000 0x1023003", "set 0x1023008 0x1200003", "set 0x1000000 0x1001009", "set 0x1000008 0x1002001",
            "set 0x1030000 0x1038001", "set 0x1038040 0x1010085", "set 0x1002000 0x1030001", "set 0x1002008 0x1", "settle", "write d4 0x7fc0001000",
        ];
        var fuzzed = new FuzzCase(IsScalable: true, new(1, 4, 4, 4, 4), [.. steps.Select(FuzzStep.Parse)]);
        using var bench = new DifferentialBench(isScalable: true);
        CaseResult result = new CaseRunner(bench, fuzzed).Run(looksAtAll: true);
        Assert.Null(result.Difference);
        Assert.Contains(QemuDeviations.EitherHalf.Name, result.Explained.Keys);
    }

    /// <summary>What software must invalidate after one change is what the cases say, and no machine makes up for it.</summary>
    [QemuFact]
    public void Software_that_does_not_invalidate_is_found()
    {
        var stage = new DifferentialStage
        {
            Rewrite = fuzzed => fuzzed with { Steps = [.. fuzzed.Steps.Select(step => step is FuzzStep.Cover cover ? cover with { Words = [] } : step)] },
        };
        StageFailure found = Assert.Single(stage.Run(Context(), 90, new()).Failures);
        output.WriteLine(found.Report);
        Assert.Contains(found.Invariant, (Invariant[])[Invariant.NoStaleAccess, Invariant.Isolation, Invariant.FaultExact]);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void A_case_is_its_seed_s_and_reads_back_from_its_file(bool isScalable, bool hasFirstStage)
    {
        for (uint index = 0; index < 50; index++)
        {
            FuzzCase fuzzed = CaseGen.Generate(Seed, index, isScalable, hasFirstStage), again = CaseGen.Generate(Seed, index, isScalable, hasFirstStage);
            Assert.Equal(Lines(fuzzed), Lines(again));
            FuzzCase read = FuzzCase.FromJson(fuzzed.ToJson());
            Assert.Equal(Lines(fuzzed), Lines(read));
            Assert.Equal((fuzzed.IsScalable, fuzzed.HasFirstStage, fuzzed.Caches), (read.IsScalable, read.HasFirstStage, read.Caches));
        }
    }

    [Theory]
    [InlineData("set 0x1 0x2")]
    [InlineData("read d8 0x1000")]
    [InlineData("write d0 4096")]
    [InlineData("command 0x12")]
    [InlineData("cover by 0x12:0x0")]
    [InlineData("jump")]
    public void A_step_that_is_none_is_refused(string text) => Assert.Throws<Harness.BadInputException>(() => FuzzStep.Parse(text));

    private static IEnumerable<string> Lines(FuzzCase fuzzed) => fuzzed.Steps.Select(step => step.ToString());

    private static StageContext Context(ulong seed = Seed) => new(seed, TimeSpan.MaxValue, TimeProvider.System, _ => { }, CancellationToken.None);
}

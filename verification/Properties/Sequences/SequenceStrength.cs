using Harness;
using Harness.Failures;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;
using Harness.Shrinking;
using Harness.Stages;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>That the sequences find what is wrong, reach what is interesting, and can be run again.</summary>
[Trait("Category", "Slow")]
public sealed class SequenceStrength(ITestOutputHelper output)
{
    private const ulong Seed = 1;

    private static readonly ScenarioGen Scenarios = new(ScenarioShape.Any);

    public static TheoryData<string> Faults => [.. PlantedFault.All.Select(fault => fault.Name)];

    public static TheoryData<string> FaultsOfTheLibrary => [.. PlantedFault.All.Where(fault => fault.IsOfLibrary).Select(fault => fault.Name)];

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_planted_fault_is_found_by_the_invariant_that_names_it(string name)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        using IBench bench = fault.Bench(new SimulatorBench());
        var runner = new SequenceRunner(bench, fault.Parts);
        ScenarioGen scenarios = fault.Topology is { } topology ? new(ScenarioShape.Any with { Topology = topology }) : Scenarios;
        for (uint index = 0; index < 500; index++)
        {
            RunResult found = runner.Run(scenarios.Generate(Seed, index));
            if (found.Violation is null || found.Violation.Invariant == fault.OrElse) continue;
            RunResult shrunk = new ScenarioShrinker(runner.Run).Shrink(found, CancellationToken.None);
            output.WriteLine($"{fault}: found by sequence {index}, {found.StepsRun} steps\n{shrunk.Report()}");
            Assert.Equal(fault.CaughtBy, shrunk.Violation!.Invariant);
            Assert.InRange(shrunk.Scenario.Steps.Length, 1, fault.MostSteps);
            return;
        }

        Assert.Fail($"{fault} was not found in 500 sequences");
    }

    [Theory]
    [InlineData("an unback that invalidates the first page only")]
    [InlineData("a failed allocation that keeps what it had")]
    [InlineData("one domain id for all regions")]
    public void No_step_of_a_shrunk_scenario_can_be_left_out(string name)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, fault.Parts);
        RunResult found = Enumerable.Range(0, 500).Select(index => runner.Run(Scenarios.Generate(Seed, (uint)index))).First(result => result.Violation is not null);
        RunResult shrunk = new ScenarioShrinker(runner.Run).Shrink(found, CancellationToken.None);
        Assert.Equal(found.Violation!.Invariant, shrunk.Violation!.Invariant);
        int tried = 0;
        for (int i = 0; i < shrunk.Scenario.Steps.Length; i++)
        {
            Scenario less = shrunk.Scenario with { Steps = shrunk.Scenario.Steps.RemoveAt(i) };
            try
            {
                less.Validate();
            }
            catch (BadInputException)
            {
                // Later steps use what it made.
                continue;
            }

            tried++;
            Assert.NotEqual(shrunk.Violation.Invariant, runner.Run(less).Violation?.Invariant);
        }

        Assert.InRange(tried, 1, shrunk.Scenario.Steps.Length);
    }

    [Fact]
    public void Interesting_states_are_reached_often_enough()
    {
        const uint Sequences = 2000;
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        for (uint index = 0; index < Sequences; index++)
        {
            RunResult result = runner.Run(Scenarios.Generate(Seed, index));
            if (result.Violation is not null) Assert.Fail($"sequence {index}\n{result.Report()}");
        }

        (string State, int Least)[] sometimes =
        [
            ("Back done", 200), ("Back refused: Busy", 50), ("Back refused: Invalid", 50), ("Unback done", 200), ("Unback refused: NotFound", 50),
            ("Unreserve refused: Busy", 20), ("FreeMemory refused: Busy", 20), ("FreeVcm refused: Busy", 20), ("Reserve refused: NoSpace", 20),
            ("ReserveAt refused: NoSpace", 50), ("AllocateMemory refused: NoMemory", 20), ("Activate refused: Busy", 50),
            ("Deassociate refused: Busy", 20), ("ChangeAssociation done", 300), ("ChangeAssociation refused: Busy", 120), ("ChangeAssociation refused: Invalid", 100),
            ("Associate refused: Invalid", 20), ("DeviceAccess done", 50), ("DeviceAccess refused: Fault", 200),
            ("Translate done", 10), ("the IOTLB answered", 100), ("the IOMMU was told to forget, and not more often than needed", 100), ("a large leaf is in a table", 40), ("two devices share a table", 60),
            ("memory was taken away", 20), ("the hardware was made to fail", 3),
            ("an IOMMU without a queue was told to forget", 200), ("an IOMMU without a queue did not answer", 3),
            ("a bound was reserved from", 30), ("a bound was full", 10), ("CreateBound refused: NoSpace", 10), ("FreeBound refused: Busy", 5),
            ("UnbackPart done", 100), ("BackPart done", 60), ("BackPart refused: Busy", 30), ("UnbackPart refused: NotFound", 70), ("a large leaf was split", 6),
            ("a reservation had several parts", 8), ("a narrowing met a cached translation", 10), ("a widening met a cached translation", 15),
            ("SetAttributes refused: Invalid", 15), ("a table could not grant what was reserved", 5), ("a copy overlapped", 8), ("Copy refused: Fault", 20),
            ("Copy refused: Invalid", 15), ("a clone had bounds", 15), ("a clone was backed", 20), ("an owner let go and others stayed", 30),
            ("Release refused: Busy", 30), ("memory was mapped at several places", 5), ("an address was translated into another region", 60),
            ("a one-to-one region was backed", 10), ("wrapped memory was backed", 12), ("Map done", 60), ("Map refused: NoSpace", 5), ("Unmap done", 25),
            ("Bind done", 80), ("Unbind done", 20), ("Unbind refused: Busy", 5), ("AllocateContiguous done", 50),
            ("a hook was given a fault", 30), ("several hooks were given faults", 1), ("faults were lost", 15), ("every fault was there", 60),
            ("memory of a bank was asked for", 25), ("memory of another than the first bank was asked for", 15), ("AllocateMemory refused: NotFound", 3),
            ("a range was taken from the top", 50), ("a range was taken where it had to be", 60),
            ("a flush on demand", 4), ("a flush by age", 2), ("a flush by count, or by age, in an unback", 1), ("a flush before addresses were backed again", 2),
            ("a range that waits for a flush was refused", 2), ("a device reached what waits for a flush", 60), ("a flush gave memory back", 4),
            ("a region ended before its quarantine", 5),
            ("a region had tables of several formats", 200), ("two PASIDs share a table", 50), ("a device had an address space with a PASID", 100),
            ("a supervisor-only page is in a table", 15), ("a cache policy is in a table", 60), ("a supervisor-only page kept a device out", 20),
            ("CollectUse done", 100), ("CollectUse refused: Invalid", 40), ("what was written was told", 25), ("what nobody wrote to was not told", 12),
            ("a device walked a table of another region's", 30), ("what devices of a prebuilt region had was taken away", 4),
            ("a device without an IOMMU reached memory of its region", 60), ("devices with and without an IOMMU shared memory", 40),
            ("a device without an IOMMU reached what nobody gave it", 5),
            ("an access was made under nobody's id", 20), ("a request with supervisor privilege was kept out", 10), ("a supervisor-only page kept a request with the privilege out", 10),
            ("Adopt refused: Invalid", 5), ("a device's TLB held what changed", 30), ("an access waited for a page", 35), ("an access went on that had waited", 4), ("an access was refused that had waited", 10),
            ("the IOMMU interrupted", 400), ("the IOMMU interrupted while it was seen to", 2),
            ("PassThrough done", 180), ("PassThrough refused: Busy", 60), ("PassThrough refused: NoDevice", 60), ("PassThrough refused: Invalid", 40), ("EndPassThrough done", 180),
            ("EndPassThrough refused: NotFound", 60), ("a device that is let through read data", 40), ("a device that is let through wrote data", 40),
            ("a device that is let through read what is nobody's data", 100), ("a device was blocked beside one that is let through", 100),
            ("a transfer crossed into a page that was mapped", 8), ("a transfer stopped at the end of what was mapped", 5),
            ("a device was blocked while it was being detached", 20), ("a device got through, and then no more, while it was being detached", 7),
            ("CreateGuest done", 120), ("GuestMap done", 600), ("GuestUnmap done", 60), ("GuestInvalidate done", 50), ("GuestInvalidate refused: Invalid", 12), ("a device reached memory through a guest's table", 12000), ("a device reached memory through one page that is the table of each level", 2000),
            ("a device reached what its guest, or the region, has taken away and not told of", 1000), ("a device was kept from writing by its guest's table, or the region's", 2500),
            ("a device was blocked where the region has taken its guest's tables away", 1200), ("a device was blocked where its guest maps what the region has not", 6000),
            ("an access that was tried again waits again", 3), ("a hook backed a page", 3), ("a deactivation ended what waited", 5),
        ];
        var seldom = new List<string>();
        foreach ((string state, int least) in sometimes)
        {
            long times = runner.Counts.Sometimes.GetValueOrDefault(state);
            output.WriteLine($"{times,6} {state}");
            if (times < least) seldom.Add($"\"{state}\" was reached {times} times in {Sequences} sequences; at least {least} were expected");
        }

        Assert.Empty(seldom);
    }

    [Fact]
    public void Devices_of_every_kind_are_in_the_default_mix_and_reach_memory()
    {
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        for (uint index = 0; index < 400; index++)
        {
            RunResult result = runner.Run(Scenarios.Generate(Seed, index));
            if (result.Violation is not null) Assert.Fail($"sequence {index}\n{result.Report()}");
        }

        foreach (DeviceKind kind in Enum.GetValues<DeviceKind>())
        {
            long times = runner.Counts.Sometimes.GetValueOrDefault(InterestingStates.StateOf(kind));
            output.WriteLine($"{times,6} {kind}");
            Assert.InRange(times, 20, long.MaxValue);
        }
    }

    [Fact]
    public void Every_operation_of_the_model_is_generated_written_and_run()
    {
        Type[] operations = [.. typeof(Operation).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(Operation)))];
        Assert.NotEmpty(operations);
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        for (uint index = 0; index < 150; index++) runner.Run(Scenarios.Generate(Seed, index));
        var withCpu = new ScenarioGen(ScenarioShape.WithCpu);
        for (uint index = 0; index < 30; index++) runner.Run(withCpu.Generate(Seed, index));
        foreach (Type operation in operations)
            Assert.True(runner.Counts.Sometimes.ContainsKey($"{operation.Name} done"), $"{operation.Name} was never done");
    }

    [Fact]
    public void A_run_depends_on_the_scenario_alone()
    {
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        string[] first = [.. Enumerable.Range(0, 20).Select(index => runner.Run(Scenarios.Generate(Seed, (uint)index)).Report())];
        using var other = new SimulatorBench();
        var again = new SequenceRunner(other, SubjectParts.Own);
        for (int index = first.Length - 1; index >= 0; index--)
            Assert.Equal(first[index], again.Run(Scenarios.Generate(Seed, (uint)index)).Report());
    }

    [Theory]
    [MemberData(nameof(FaultsOfTheLibrary))]
    public void A_failure_file_shows_the_same_failure_byte_for_byte(string name)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        var stage = new SequenceStage(fault.Parts);
        StageReport report = stage.Run(new(Seed, TimeSpan.MaxValue, TimeProvider.System, static _ => { }, CancellationToken.None));
        StageFailure found = Assert.Single(report.Failures);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.Equal(found.FileContent, file.ToString());
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
        Assert.Null(new SequenceStage().Replay(file));
    }

    [Fact]
    public void A_brief_stage_tells_a_failure_as_it_was_found()
    {
        var stage = new SequenceStage(PlantedFault.All.First(static fault => fault.IsOfLibrary).Parts);
        var context = new StageContext(Seed, TimeSpan.MaxValue, TimeProvider.System, static _ => { }, CancellationToken.None);
        StageFailure shrunk = Assert.Single(stage.Run(context).Failures);
        StageFailure found = Assert.Single(stage.Run(context with { IsBrief = true }).Failures);
        FailureFile file = FailureFile.Parse(found.FileContent!);
        Assert.Equal(found.Report, stage.Replay(file)!.Report);
        Assert.InRange(Scenario.FromJson(file.Scenario).Steps.Length, Scenario.FromJson(FailureFile.Parse(shrunk.FileContent!).Scenario).Steps.Length + 1, int.MaxValue);
    }

    [Fact]
    public void A_stage_stops_when_it_is_told_to()
    {
        using var stop = new CancellationTokenSource();
        int calls = 0;
        StageReport report = new SequenceStage().Run(new(Seed, TimeSpan.MaxValue, TimeProvider.System, progress =>
        {
            Assert.InRange(progress.Fraction, 0, 1);
            if (++calls == 3) stop.Cancel();
        }, stop.Token));
        Assert.Empty(report.Failures);
        Assert.Equal(33, report.Ran.Single(ran => ran.What == "sequences").Count);
    }
}

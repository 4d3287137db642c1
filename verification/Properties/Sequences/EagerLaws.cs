using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;
using Harness.Shrinking;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>Eager hardware: the library stands it, faults that only it shows are found with it, and a run depends on the scenario alone.</summary>
[Trait("Category", "Slow")]
public sealed class EagerLaws(ITestOutputHelper output) : IDisposable
{
    private const ulong Seed = 1;

    // Without eager hardware they are not found in so many times as many sequences.
    private const uint Sooner = 4;

    private const uint Most = 100;

    private static readonly ScenarioGen Scenarios = new(ScenarioShape.Any with { HardwareFails = false });

    private readonly SimulatorBench _bench = new();

    public static TheoryData<string> Faults => [.. PlantedEagerFault.All.Select(static fault => fault.Name)];

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_planted_fault_is_found_with_eager_hardware_and_without_it_much_later_or_never(string name)
    {
        PlantedEagerFault fault = PlantedEagerFault.All.Single(candidate => candidate.Name == name);
        uint with = RoundsToFind(fault, eagerness: 100, Most, out RunResult? found);
        Assert.True(found is not null, $"{fault} was not found in {Most} sequences");
        RunResult shrunk = new ScenarioShrinker(scenario => Run(fault, scenario)).Shrink(found, CancellationToken.None);
        output.WriteLine($"{fault}: found by sequence {with}\n{shrunk.Report()}");
        Assert.Equal(fault.CaughtBy, shrunk.Violation!.Invariant);
        uint without = RoundsToFind(fault, eagerness: 0, Sooner * (with + 1), out RunResult? late);
        output.WriteLine(late is null ? $"not found by {without} sequences without" : $"without found by sequence {without}\n{late.Report()}");
        Assert.Null(late);
    }

    [Fact]
    public void Nothing_fails_on_hardware_that_is_eager_at_every_step()
    {
        var runner = new SequenceRunner(_bench, SubjectParts.Own);
        var scenarios = new ScenarioGen(ScenarioShape.Any);
        for (uint index = 0; index < 150; index++)
        {
            Scenario scenario = scenarios.Generate(Seed, index);
            RunResult result = runner.Run(scenario with { Topology = scenario.Topology with { Eagerness = 100, CoherentWalk = index % 2 == 0 } });
            if (result.Violation is not null) Assert.Fail($"sequence {index}\n{result.Report()}");
        }

        Assert.InRange(runner.Counts.Sometimes.GetValueOrDefault("translations were fetched ahead"), 30, long.MaxValue);
    }

    [Fact]
    public void A_run_on_eager_hardware_depends_on_the_scenario_alone()
    {
        var runner = new SequenceRunner(_bench, SubjectParts.Own);
        Scenario[] scenarios = [.. Enumerable.Range(0, 10).Select(index => Eager(Scenarios.Generate(Seed, (uint)index), 20))];
        (string, long)[] first = [.. scenarios.Select(scenario => (runner.Run(scenario).Report(), runner.Fetched))];
        for (int index = first.Length - 1; index >= 0; index--) Assert.Equal(first[index], (runner.Run(scenarios[index]).Report(), runner.Fetched));
        Assert.Contains(first, static run => run.Item2 > 100);
    }

    /// <summary>What devices meet there is of many kinds: a device that asks for pages is refused before it could ask, and a fault is recorded that no access should give.</summary>
    [Theory]
    [InlineData("a driver that does not clean the entries that it writes", 60)]
    [InlineData("a driver that does not clean the pages that it makes", 5)]
    public void What_is_not_cleaned_is_told_as_that_whatever_devices_meet(string name, int least)
    {
        PlantedFault fault = PlantedCleaningFaults.All.Single(candidate => candidate.Name == name);
        var runner = new SequenceRunner(_bench, fault.Parts);
        int found = 0;
        for (uint index = 0; index < 120; index++)
        {
            Scenario scenario = Scenarios.Generate(Seed, index);
            Topology machine = scenario.Topology with { Eagerness = 0 };
            Assert.Null(runner.Run(scenario with { Topology = machine with { CoherentWalk = true } }).Violation);
            if (runner.Run(scenario with { Topology = machine with { CoherentWalk = false } }).Violation is not { } violation) continue;
            found++;
            Assert.True(violation is { Invariant: Vcmm.Spec.Invariant.TablesAreTruth } && violation.Observed.EndsWith("was written and not cleaned", StringComparison.Ordinal), $"sequence {index}: {violation}");
        }

        output.WriteLine($"found by {found} sequences");
        Assert.InRange(found, least, 120);
    }

    public void Dispose() => _bench.Dispose();

    private static Scenario Eager(Scenario scenario, int eagerness) => scenario with { Topology = scenario.Topology with { Eagerness = eagerness } };

    private uint RoundsToFind(PlantedEagerFault fault, int eagerness, uint most, out RunResult? found)
    {
        for (uint index = 0; index < most; index++)
        {
            Scenario scenario = Scenarios.Generate(Seed, index);
            // A device's TLB that asks again at once for what it has lost is eager in its own way.
            DeviceList devices = scenario.Topology.Devices.Replace(DeviceKind.Ats, DeviceKind.Plain).Replace(DeviceKind.Paging, DeviceKind.Plain);
            found = Run(fault, scenario with { Topology = scenario.Topology with { Devices = devices, Eagerness = eagerness, CachingMode = fault.CachingMode } });
            if (found.Violation?.Invariant == fault.CaughtBy) return index;
        }

        found = null;
        return most;
    }

    private RunResult Run(PlantedEagerFault fault, Scenario scenario) => new SequenceRunner(_bench, fault.Parts()).Run(scenario);
}

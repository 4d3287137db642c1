using Harness.Generating;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>
/// That the model takes nobody's word: whatever a library that does the right thing says instead is refused, by the invariant that names
/// it, and there is nothing that the model can say and never does.
/// </summary>
[Trait("Category", "Slow")]
public sealed class LieLaws(ITestOutputHelper output)
{
    // So often is each lie told, if there is occasion; a lie that is refused so often by luck is none.
    private const int MostTellings = 50;

    // Under mutation one that is taken for the truth is enough, and the first sequences tell most lies.
    private static readonly int MostWrong = UnderMutation.IsOn ? 1 : 20;
    private static readonly (ScenarioShape Shape, uint Count)[] Generated = UnderMutation.IsOn ? [(ScenarioShape.Any, 100), (ScenarioShape.WithCpu, 20)] : [(ScenarioShape.Any, 600), (ScenarioShape.WithCpu, 100)];

    /// <summary>What generated sequences come to seldom or never: the machine, and the steps.</summary>
    private static readonly (Topology Topology, string Steps)[] Written =
    [
        (new(), "v0 = vcm 0x0-0xffff; free v0; free v0; b0 = bound v0 4K align 4K"),
        (new(), "m0 = wrap 0x0-0xffffffffffffffff"),
        (new(), "v0 = vcm 0x0-0xffff; r0 = reserve-at v0 0x0 4K rw; a0 = associate v0 d0; m0 = wrap 0x10000000000000-0x10000000000fff; back r0 m0"),
        (new(), "v0 = vcm 0x0-0xffff; r0 = reserve-at v0 0x0 4K rw; m0 = wrap 0x10000000000-0x10000000fff; back r0 m0; copy r0 at 0 to r0 at 8 for 8"),
        (new() { Mode = RemappingMode.Scalable, Devices = new(DeviceKind.Paging) }, "v0 = vcm 0x0-0xffff; r0 = reserve-at v0 0x0 4K rw; a0 = associate v0 d0; activate a0; hook d0 refuse; read d0 0x0; m0 = allocate 4K of 4K; back r0 m0; dispatch"),
        (new() { Banks = new(new BankShape(1), new BankShape(1)) }, "v0 = vcm 0x1000000-0x3ffffff one-to-one; r0 m0 = bind v0 1536K rw of 4K"),
        (new() { Mode = RemappingMode.Scalable }, "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; activate a0; v1 = adopt v0; v2 = clone v1"),
        (new() { Mode = RemappingMode.Scalable }, "pass-through d0 pasid 0; pass-through d0 pasid 1; read d0 as-supervisor pasid 1 0x1000000"),
        (new() { Mode = RemappingMode.Scalable, Nesting = true }, "v0 = vcm 0x0-0xffff; r0 = reserve-at v0 0x0 16K rw; m0 = allocate 16K of 4K; back r0 m0; g0 = guest r0; v1 = vcm 0x10000-0x1ffff; a0 = associate v1 d0 nested g0; a1 = associate v0 d0 first-stage nested g0; a2 = associate v0 d0; invalidate a2 0x0-0xfff; change a2 nested g0; invalidate a2 0x0-0x7ff"),
    ];

    /// <summary>What the model says of no lie, in pieces, and the planted fault of which it does.</summary>
    private static readonly SortedDictionary<string, string> SaidOfFaults = new(StringComparer.Ordinal)
    {
        [" has failed; it was to be tried again, and asks again"] = "a page request that is to be tried again and fails",
        [" place that fits begins at 0x"] = "a region that is filled from the bottom though it says from the top",
        [" was blocked and is not there, and nothing was lost"] = "a fault that is given to nobody",
        ["'s, which was freed and waits for a flush"] = "memory that is freed while it waits for a flush",
        ["; that is not behind the destination"] = "a copy that goes one word too far",
        ["it changed 0x"] = "a copy that goes one word too far",
        ["it cost the CPU "] = "an unback for devices that makes cores forget",
        ["; no process is associated with what it works on, so that it costs nothing"] = "an unback for devices that makes cores forget",
    };

    [Fact]
    public void A_lie_is_refused_by_the_invariant_that_names_it()
    {
        Dictionary<PlantedLie, int> told = new(PlantedLie.All.Select(static lie => KeyValuePair.Create(lie, 0)), ReferenceEqualityComparer.Instance);
        var named = new HashSet<PlantedLie>(ReferenceEqualityComparer.Instance);
        var wrong = new List<string>();
        var said = new HashSet<string>();
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own)
        {
            Judging = (world, operation, seen, surroundings) =>
            {
                var truth = new Told(world, operation, seen, surroundings);
                foreach (PlantedLie lie in PlantedLie.All)
                {
                    if ((told[lie] >= MostTellings && named.Contains(lie)) || lie.Tell(truth) is not { } lied) continue;
                    told[lie]++;
                    Verdict<World> verdict = world.Judge(operation, lied, surroundings);
                    if (!verdict.IsAccepted) said.Add(verdict.Sentence);
                    if (verdict.IsAccepted || (verdict.Broken != lie.CaughtBy && verdict.Broken != lie.OrElse)) wrong.Add($"{lie}: {OperationText.Write(operation)}, {lied}: {verdict}");
                    else if (verdict.Broken == lie.CaughtBy && verdict.Sentence.Contains(lie.Sentence, StringComparison.Ordinal)) named.Add(lie);
                }
            },
        };
        foreach ((Topology topology, string steps) in Written) AssertRight(runner.Run(new(topology, [.. steps.Split("; ").Select(OperationText.Parse)])));
        foreach ((ScenarioShape shape, uint count) in Generated)
        {
            var scenarios = new ScenarioGen(shape);
            for (uint index = 0; index < count; index++) AssertRight(runner.Run(scenarios.Generate(1, index)));
        }

        foreach ((PlantedLie lie, int times) in told) output.WriteLine($"{times,6} {lie.CaughtBy.Id(),-3} {lie}");
        Assert.True(wrong.Count == 0, string.Join("\n", wrong));
        if (UnderMutation.IsOn) return;
        Assert.Empty(PlantedLie.All.Except(named).Select(static lie => lie.Name));
        Assert.Equal(SaidOfFaults.Keys.Order(StringComparer.Ordinal), ModelSentences.Pieces.Where(piece => !said.Any(sentence => sentence.Contains(piece, StringComparison.Ordinal))));

        void AssertRight(RunResult result)
        {
            Assert.True(result.Violation is null, result.Report());
            Assert.True(wrong.Count < MostWrong, string.Join("\n", wrong));
        }
    }

    [Fact]
    public void What_no_lie_makes_the_model_say_a_planted_fault_does() => Assert.Empty(SaidOfFaults.Values.Except(PlantedFault.All.Select(static fault => fault.Name)));

    [Fact]
    public void Names_are_told_apart() =>
        Assert.Empty(PlantedLie.All.GroupBy(static lie => (lie.Name, lie.CaughtBy)).Where(static group => group.Count() > 1).Select(static group => group.Key));
}

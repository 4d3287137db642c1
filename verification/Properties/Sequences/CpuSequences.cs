using System.Text.Json.Nodes;
using CsCheck;
using Harness.Generating;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>Regions with processes: by steps that are written down, and by those of the generated sequences that have a CPU.</summary>
[Collection(QuickFirst.Last + nameof(CpuSequences))]
public sealed class CpuSequences(ITestOutputHelper output)
{
    private const ulong Seed = 1;

    private static readonly ScenarioGen Scenarios = new(ScenarioShape.WithCpu);
    private static readonly Topology Legacy = new() { Cores = 2, Processes = 2 };
    private static readonly Topology Scalable = Legacy with { Mode = RemappingMode.Scalable };

    /// <summary>Steps, and the answer of the last.</summary>
    public static TheoryData<string, string, string> Rows => new()
    {
        {
            "a core and a device see the same memory",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw of 4K; a0 = associate v0 d0; a1 = associate v0 p0; activate a0; activate a1; write d0 0x1808; write c1 p0 0x1808; unback r0 at 4K for 4K; read c1 p0 0x1000",
            "Fault"
        },
        {
            "what one process has another has not",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 4K rw of 4K; a0 = associate v0 p0; activate a0; read c0 p0 0x0; read c0 p1 0x0",
            "Fault"
        },
        {
            "two processes have one region, and one of them goes",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 4K rw of 4K; a0 = associate v0 p0; a1 = associate v0 p1; activate a0; activate a1; read c0 p0 0x0; read c1 p1 0x0; deactivate a0; read c0 p0 0x0",
            "Fault"
        },
        {
            "a process has no PASID",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0 pasid 1",
            "Invalid"
        },
        {
            "cores walk no tables of the second stage",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0 second-stage",
            "Invalid"
        },
        {
            "a process has memory where no IOMMU translates",
            "v0 = vcm 0xfee00000-0xfee0ffff; r0 = reserve-at v0 0xfee00000 4K rw; a0 = associate v0 p0",
            "ok"
        },
        {
            "the upper half is not a region's",
            "v0 = vcm 0x7ffffffff000-0x800000000fff; a0 = associate v0 p0",
            "Invalid"
        },
        {
            "what was not granted to fetch is not fetched",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0; activate a0; r0 m0 = bind v0 4K rw of 4K; fetch c0 p0 0x0",
            "Fault"
        },
        {
            "a right to fetch can be taken away",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0; activate a0; r0 m0 = bind v0 4K rwx of 4K; fetch c0 p0 0x0; protect r0 rw; fetch c0 p0 0x0",
            "Fault"
        },
        {
            "a core that was idle has forgotten when it comes back",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0; activate a0; r0 m0 = bind v0 8K rw of 4K; read c0 p0 0x0; idle c0; unback r0 at 0 for 4K; read c0 p0 0x0",
            "Fault"
        },
    };

    /// <summary>A table that a process built serves devices under their PASIDs, and one unback of the process reaches all of them.</summary>
    public static TheoryData<string, string, string> SharedRows => new()
    {
        {
            "an unback of the process is one of its devices",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw of 4K; a0 = associate v0 p0; activate a0; v1 = adopt v0 first-stage; a1 = associate v1 d0 first-stage pasid 5; activate a1; read c0 p0 0x0; read d0 pasid 5 0x0; unback r0 at 0 for 4K; read d0 pasid 5 0x0",
            "Fault"
        },
        {
            "a process has the table that was built for a device",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw of 4K; a0 = associate v0 d0 first-stage; activate a0; v1 = adopt v0 first-stage; a1 = associate v1 p1; activate a1; read c0 p1 0x0; unback r0 at 0 for 4K; read c0 p1 0x0",
            "Fault"
        },
        {
            "a device and a process of one region have one table",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 p0; a1 = associate v0 d0 first-stage pasid 1; activate a0; activate a1; r0 m0 = bind v0 4K rwx of 4K; fetch c0 p0 0x0; write d0 pasid 1 0x808; unback r0; read d0 pasid 1 0x0",
            "Fault"
        },
    };

    [Theory]
    [MemberData(nameof(Rows))]
    public void It_stays_right(string what, string steps, string answer)
    {
        foreach (Topology topology in (Topology[])[Legacy, Scalable, Legacy with { Pcids = false }, Legacy with { BroadcastShootdown = true }]) StaysRight(topology, what, steps, answer);
    }

    [Theory]
    [MemberData(nameof(SharedRows))]
    public void It_stays_right_where_devices_walk_the_table_of_a_process(string what, string steps, string answer)
    {
        foreach (Topology topology in (Topology[])[Scalable, Scalable with { Pcids = false }, Scalable with { CachingMode = true }]) StaysRight(topology, what, steps, answer);
    }

    /// <summary>Beside each law how often what it is about came to pass.</summary>
    [Fact]
    [Trait("Category", "Slow")]
    public void What_cores_can_meet_they_meet_often_enough()
    {
        const int count = 300;
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        for (uint index = 0; index < count; index++)
        {
            RunResult result = runner.Run(Scenarios.Generate(Seed, index));
            Assert.True(result.Violation is null, result.Report());
        }

        (string State, int Least)[] sometimes =
        [
            ("CoreAccess done", 15), ("CoreAccess refused: Fault", 200), ("GoIdle done", 50), ("cores were made to forget", 60), ("a core kept what it is to forget later", 2),
            ("a region without a process was worked on beside a CPU", 60), ("a process and a device shared a table", 10),
        ];
        var seldom = new List<string>();
        foreach ((string state, int least) in sometimes)
        {
            long times = runner.Counts.Sometimes.GetValueOrDefault(state);
            output.WriteLine($"{times,6} {state}");
            if (times < least) seldom.Add($"\"{state}\" was reached {times} times in {count} sequences; at least {least} were expected");
        }

        foreach ((Invariant invariant, long times) in runner.Counts.Checks) output.WriteLine($"{times,8} {invariant}");
        Assert.Empty(seldom);
        Assert.InRange(runner.Counts.Checks[Invariant.OneSided], 1000, long.MaxValue);
    }

    [Fact]
    public void What_the_library_does_is_what_the_model_accepts()
    {
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        Scenarios.ForAll(
            150,
            scenario =>
            {
                RunResult result = runner.Run(scenario);
                if (result.Violation is null) return;
                Assert.Fail(ShortReport.Of(runner, result));
            });
    }

    [Fact]
    public void A_scenario_is_read_as_it_was_written() => Scenarios.ForAll(
        300,
        static scenario =>
        {
            foreach (Step step in scenario.Steps) Assert.Equal(step, OperationText.Parse(step.ToString()));
            Assert.Equal(scenario, Scenario.FromJson(JsonNode.Parse(scenario.ToJson().ToJsonString())!));
        });

    /// <summary>A region whose addresses lie where an IOMMU does not translate, and wait for a flush: the flush comes, and a device may join.</summary>
    [Fact]
    public void What_waits_for_a_flush_keeps_no_device_away() => StaysRight(
        Legacy,
        "a deferred region of a process, where no IOMMU translates",
        "v0 = vcm 0xfee00000-0xfee0ffff deferred; r0 = reserve-at v0 0xfee00000 4K rw; m0 = allocate 4K of 4K; back r0 m0; a0 = associate v0 p0; activate a0; unback r0; release r0; a1 = associate v0 d0",
        "ok");

    private void StaysRight(Topology topology, string what, string steps, string answer)
    {
        using var bench = new SimulatorBench();
        Step[] parsed = [.. steps.Split("; ").Select(OperationText.Parse)];
        RunResult result = new SequenceRunner(bench, SubjectParts.Own).Run(new(topology, [.. parsed]));
        output.WriteLine($"{what}\n{result.Report()}");
        Assert.Null(result.Violation);
        Assert.Equal(answer, result.Lines[parsed.Length - 1].Seen);
    }
}

using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>Scenarios that once broke, and those that no generated one contains; each line is what it is about.</summary>
[Collection(QuickFirst.Last + nameof(Regressions))]
public sealed class Regressions(ITestOutputHelper output)
{
    /// <summary>Steps, and the step whose answer matters.</summary>
    public static TheoryData<string, string, string> All => new()
    {
        {
            "an empty bound of a clone can be given back",
            "v0 = vcm 0x0-0xffff; b0 = bound v0 8K align 4K; v1 = clone v0; free b0@v1; free v1",
            "ok"
        },
        {
            "an address is translated by frame, whoever wrapped it",
            "v0 = vcm 0x0-0xffff; v1 = vcm 0x0-0xffff; m0 = wrap 0x3800000-0x3800fff; m1 = wrap 0x3800000-0x3800fff; r0 = map v0 m0 rw align 4K; r1 = map v1 m1 rw align 4K; translate v0 0x8 to v1",
            "0x8"
        },
        {
            "memory beyond what tables lead to is not backed where there is a table",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; r0 = reserve v0 4K rw align 4K; m0 = wrap 0x10000000000000-0x10000000000fff; back r0 m0",
            "Invalid"
        },
        {
            "memory beyond what tables lead to keeps a table away",
            "v0 = vcm 0x0-0xffff; r0 = reserve v0 4K rw align 4K; m0 = wrap 0x10000000000000-0x10000000000fff; back r0 m0; a0 = associate v0 d0",
            "Invalid"
        },
        {
            "what is no memory is not copied",
            "m0 = wrap 0x10000000000000-0x10000000002fff; v0 = vcm 0x0-0xffff; r0 = reserve v0 12K rw align 4K; back r0 m0; copy r0 at 0 to r0 at 0 for 8",
            "Invalid"
        },
        {
            "a bound keeps out an IOMMU that does not translate there",
            "v0 = vcm 0xfee00000-0xfee0ffff; b0 = bound v0 8K align 4K; a0 = associate v0 d0",
            "Invalid"
        },
    };

    /// <summary>The hardware's records are a ring: what lies at its start may be younger than what lies at its end.</summary>
    [Fact]
    public void Faults_come_in_the_order_of_the_accesses()
    {
        string[] steps = ["hook d0 refuse", "read d0 0x0", "read d0 0x1000", "dispatch", "read d0 0x2000", "read d0 0x3000", "read d0 0x4000", "dispatch"];
        using var bench = new SimulatorBench();
        RunResult result = new SequenceRunner(bench, SubjectParts.Own).Run(new(new Topology { FaultRecords = 4 }, [.. steps.Select(OperationText.Parse)]));
        output.WriteLine(result.Report());
        Assert.Null(result.Violation);
        Assert.Equal("3 faults: d0 Read 0x2000 NotAttached, d0 Read 0x3000 NotAttached, d0 Read 0x4000 NotAttached", result.Lines[^1].Seen);
    }

    /// <summary>A detach that has failed leaves open whether an access waits; of two that are alike the hook is told of the one that surely does.</summary>
    [Fact]
    public void Of_two_accesses_that_are_alike_the_one_that_may_be_over_need_not_be_told()
    {
        string[] steps =
        [
            "v0 = vcm 0x0-0x3fffff", "a0 = associate v0 d0", "activate a0", "r0 = reserve-at v0 0x10000 8K rw", "write d0 0x11000", "deactivate a0 ! hardware 2", "write d0 0x11000", "hook d0 back", "dispatch",
        ];
        using var bench = new SimulatorBench();
        RunResult result = new SequenceRunner(bench, SubjectParts.Own).Run(new(new Topology { Mode = RemappingMode.Scalable, Devices = new(DeviceKind.Paging) }, [.. steps.Select(OperationText.Parse)]));
        output.WriteLine(result.Report());
        Assert.Null(result.Violation);
        Assert.Contains(result.Lines, static line => line.Seen.StartsWith("1 faults: d0 Write 0x11000 (again); what had waited came to Fault, 0x", StringComparison.Ordinal));
    }

    /// <summary>
    /// A core is in a process whose region adopted another's table, and owes the flush of that other's tag until it enters it: both have one root, and what is
    /// cached under the tag that the core is not in is nothing that it walks.
    /// </summary>
    [Fact]
    public void What_is_cached_under_another_tag_of_the_same_table_is_forgotten_in_time()
    {
        string[] steps =
        [
            "v0 = vcm 0xfedf0000-0xff5effff", "r0 = reserve-at v0 0xfee00000 2M rw", "a0 = associate v0 p0 first-stage", "activate a0", "m0 = allocate 2056K of 4K",
            "v1 = adopt v0 first-stage", "a1 = associate v1 p1", "activate a1", "r1 = map v0 m0 rw align 4K", "unmap r1",
        ];
        using var bench = new SimulatorBench();
        var topology = new Topology { Devices = 1, MemoryMiB = 8, Cores = 1, Processes = 2, TlbSets = 4, TlbWays = 2, Pcids = true, FirstStage = true };
        RunResult result = new SequenceRunner(bench, SubjectParts.Own).Run(new(topology, [.. steps.Select(OperationText.Parse)]));
        output.WriteLine(result.Report());
        Assert.Null(result.Violation);
        Assert.Equal("ok", result.Lines[9].Seen);
    }

    /// <summary>The same, in scalable mode.</summary>
    public static TheoryData<string, string, string> Scalable => new()
    {
        {
            "PASID 0 is no address space of its own",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 pasid 0",
            "Invalid"
        },
        {
            "one address space with two PASIDs and none, through two formats",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw of 4K; a0 = associate v0 d0; a1 = associate v0 d0 first-stage pasid 1; a2 = associate v0 d0 first-stage pasid 2; activate a0; activate a1; activate a2; read d0 pasid 1 0x0; read d0 pasid 2 0x0; unback r0 at 0 for 4K; read d0 pasid 2 0x0",
            "Fault"
        },
        {
            "a prebuilt region means what its table's owner maps, and no longer",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw of 4K; a0 = associate v0 d0 first-stage; activate a0; v1 = adopt v0 first-stage; a1 = associate v1 d0 first-stage pasid 1; activate a1; read d0 pasid 1 0x0; unback r0 at 0 for 4K; read d0 pasid 1 0x0",
            "Fault"
        },
        {
            "an adopted table is walked on when its owner's devices have gone",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; activate a0; v1 = adopt v0; a1 = associate v1 d0 pasid 1; activate a1; deactivate a0; r0 m0 = bind v0 8K rw of 4K; read d0 pasid 1 0x1000; unbind v0 r0 m0; read d0 pasid 1 0x1000",
            "Fault"
        },
        {
            "nothing is reserved in a prebuilt region",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; activate a0; v1 = adopt v0; r0 = reserve v1 4K rw align 4K",
            "Invalid"
        },
        {
            "a supervisor-only page keeps devices out",
            "v0 = vcm 0x0-0xffff; r0 m0 = bind v0 8K rw supervisor not-cached of 4K; a0 = associate v0 d0 first-stage; activate a0; protect r0 rw; read d0 0x0; protect r0 rw supervisor; read d0 0x0",
            "Fault"
        },
        {
            "a supervisor-only page keeps second-stage tables away",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 first-stage; r0 = reserve v0 4K rw supervisor align 4K; a1 = associate v0 d0 pasid 1",
            "Invalid"
        },
        {
            "of caches a second-stage table says nothing, and need not",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; r0 m0 = bind v0 4K rw write-through of 4K; a1 = associate v0 d0 first-stage pasid 1; protect r0 rw not-cached",
            "ok"
        },
        {
            "what an unback that failed has lost is told of the part alone that is asked for",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 first-stage; activate a0; r0 m0 = bind v0 8K rw of 4K; unback r0 ! hardware 1; dirty r0 at 0 for 4K",
            "0x0-0xfff"
        },
        {
            "what was noted in a table stays known when the table has gone",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 first-stage; activate a0; r0 m0 = bind v0 12K rw of 4K; write d0 0x0; deactivate a0; deassociate a0; dirty r0 at 0 for 12K",
            "0x0-0xfff, 0x2000-0x2fff"
        },
        {
            "what is backed again is clean, whatever a collection that failed had found",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 first-stage; activate a0; r0 m0 = bind v0 12K rw of 4K; write d0 0x0; dirty r0 at 0 for 12K clear ! hardware 1; unback r0; back r0 m0; dirty r0 at 0 for 12K",
            "0x2000-0x2fff"
        },
        {
            "what first-stage tables cannot grant keeps them away",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0; r0 = reserve v0 4K w align 4K; a1 = associate v0 d0 first-stage pasid 1",
            "Invalid"
        },
        {
            "what second-stage tables cannot grant keeps them away",
            "v0 = vcm 0x0-0xffff; a0 = associate v0 d0 first-stage; r0 = reserve v0 4K rx align 4K; a1 = associate v0 d0 second-stage pasid 1",
            "Invalid"
        },
        {
            "four levels of the first stage translate half of what five do",
            "v0 = vcm 0x7ffffffff000-0x800000000fff; a0 = associate v0 d0 first-stage-5; a1 = associate v0 d0 first-stage pasid 1",
            "Invalid"
        },
    };

    [Theory]
    [MemberData(nameof(Scalable))]
    public void It_stays_right_in_scalable_mode(string what, string steps, string answer) => StaysRight(new() { Mode = RemappingMode.Scalable }, what, steps, answer);

    [Theory]
    [MemberData(nameof(All))]
    public void It_stays_right(string what, string steps, string answer) => StaysRight(new(), what, steps, answer);

    private void StaysRight(Topology topology, string what, string steps, string answer)
    {
        using var bench = new SimulatorBench();
        var runner = new SequenceRunner(bench, SubjectParts.Own);
        Step[] parsed = [.. steps.Split("; ").Select(OperationText.Parse)];
        RunResult result = runner.Run(new(topology, [.. parsed]));
        output.WriteLine($"{what}\n{result.Report()}");
        Assert.Null(result.Violation);
        Assert.Equal(answer, result.Lines[parsed.Length - 1].Seen);
    }
}

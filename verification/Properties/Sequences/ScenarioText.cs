using System.Text.Json.Nodes;
using CsCheck;
using Harness;
using Harness.Failures;
using Harness.Generating;
using Harness.Operations;
using Harness.Scenarios;

namespace Properties.Sequences;

/// <summary>Scenarios as text: what is written can be read, and what cannot be used is refused in one line.</summary>
public sealed class ScenarioText
{
    private static readonly ScenarioGen Scenarios = new(ScenarioShape.Any with { MishapsPerMille = 300 });

    [Fact]
    public void A_scenario_is_read_as_it_was_written() => Scenarios.ForAll(
        500,
        static scenario =>
        {
            foreach (Step step in scenario.Steps) Assert.Equal(step, OperationText.Parse(step.ToString()));
            Assert.Equal(scenario, Scenario.FromJson(JsonNode.Parse(scenario.ToJson().ToJsonString())!));
        });

    [Fact]
    public void A_scenario_of_threads_is_read_as_it_was_written() => new HistoryGen().ForAll(
        200,
        static scenario => Assert.Equal(scenario, Scenario.FromJson(JsonNode.Parse(scenario.ToJson().ToJsonString())!)));

    [Fact]
    public void A_size_is_read_as_it_was_written() => Gen.ULong.ForAll(
        1000,
        static size =>
        {
            var reserve = (Vcmm.Spec.Reserve)OperationText.Parse($"r0 = reserve v0 {OperationText.Size(size)} rw align 4K").Operation;
            Assert.Equal(size, reserve.ByteCount);
        });

    [Theory]
    [InlineData("", "ends where an operation")]
    [InlineData("frobnicate v0", "\"frobnicate\" stands where an operation")]
    [InlineData("unreserve v0", "\"v0\" stands where a name that begins with r")]
    [InlineData("unreserve r", "\"r\" stands where a name")]
    [InlineData("unreserve r-1", "\"r-1\" stands where a name")]
    [InlineData("free a0", "\"a0\" stands where a region (v…), a bound (b…) or memory (m…)")]
    [InlineData("x0 = vcm 0x0-0xfff", "\"x0\" stands where a name")]
    [InlineData("r0 = vcm 0x0-0xfff", "\"vcm\" stands where a name that begins with v")]
    [InlineData("v0 = unback r0", "\"unback\" stands where vcm, clone, adopt, bound, reserve")]
    [InlineData("v0 = vcm 0x1000-0xfff", "\"0x1000-0xfff\" stands where a range")]
    [InlineData("v0 = vcm 0x0", "\"0x0\" stands where a range")]
    [InlineData("r0 = reserve v0 8Q rw align 4K", "\"8Q\" stands where a size")]
    [InlineData("r0 = reserve v0 99999999999G rw align 4K", "\"99999999999G\" stands where a size")]
    [InlineData("r0 = reserve v0 8K wr align 4K", "\"wr\" stands where some of r, w and x")]
    [InlineData("r0 = reserve v0 8K rw not-cached secure align 4K", "\"secure\" stands where align")]
    [InlineData("protect r0 rw uncached", "\"uncached\" stands where the end")]
    [InlineData("r0 = reserve m0 8K rw align 4K", "\"m0\" stands where a region (v…) or a bound (b…)")]
    [InlineData("r0@v1 = reserve v0 8K rw align 4K", "\"r0@v1\" stands where a name")]
    [InlineData("unreserve r0@r1", "\"r0@r1\" stands where a name")]
    [InlineData("unreserve r0@v1@v2", "\"r0@v1@v2\" stands where a name")]
    [InlineData("free m0@v1", "\"m0@v1\" stands where a region")]
    [InlineData("r0 = bind v0 8K rw of 4K", "\"bind\" stands where a name that begins with r and a name that begins with m")]
    [InlineData("r0 m0 = reserve v0 8K rw align 4K", "\"reserve\" stands where a name that begins with r for what")]
    [InlineData("back r0 at 4K m0 for 4K", "\"for\" stands where at")]
    [InlineData("unback r0 at 4K", "ends where for")]
    [InlineData("copy r0 at 0 r1 at 0 for 8", "\"r1\" stands where to")]
    [InlineData("dirty r0", "ends where at")]
    [InlineData("dirty r0 at 0 for 8K clean", "\"clean\" stands where the end")]
    [InlineData("r0 = reserve v0 8K rw 4K", "\"4K\" stands where align")]
    [InlineData("m0 = allocate 8K of 4K,64K", "\"4K,64K\" stands where chunk sizes")]
    [InlineData("a0 = associate v0 d0 third-stage", "\"third-stage\" stands where the end")]
    [InlineData("a0 = associate v0 d0 pasid", "ends where a PASID from 0 to 1048575")]
    [InlineData("read d0 pasid 1048576 0x0", "\"1048576\" stands where a PASID from 0 to 1048575")]
    [InlineData("read d0 4096", "\"4096\" stands where an address")]
    [InlineData("unback r0 r1", "\"r1\" stands where the end")]
    [InlineData("m0 = allocate 8K of 4K bank x", "\"x\" stands where the number of a type of memory")]
    [InlineData("m0 = allocate 8K of 4K coherent bank 1", "\"bank\" stands where the end")]
    [InlineData("hook d0 later", "\"later\" stands where refuse, retry, back or none")]
    [InlineData("hook v0 refuse", "\"v0\" stands where a name that begins with d")]
    [InlineData("advance 10", "\"10\" stands where a time such as 10ms")]
    [InlineData("advance ms", "\"ms\" stands where a time such as 10ms")]
    [InlineData("read v0 0x0", "\"v0\" stands where a device (d…) or a core (c…)")]
    [InlineData("read c0 0x0", "\"0x0\" stands where a name that begins with p")]
    [InlineData("fetch d0 0x0", "\"d0\" stands where a name that begins with c")]
    [InlineData("idle p0", "\"p0\" stands where a name that begins with c")]
    [InlineData("a0 = associate v0 c0", "\"c0\" stands where a device (d…) or a process (p…)")]
    [InlineData("flush r0", "\"r0\" stands where a name that begins with v")]
    [InlineData("unback r0 ! smoke 1", "\"smoke\" stands where memory or hardware")]
    [InlineData("unback r0 ! memory 0", "\"0\" stands where a number from 1")]
    [InlineData("unback r0 ! memory", "ends where a number from 1")]
    public void A_line_that_is_no_step_is_refused_in_one_line(string line, string expected)
    {
        string message = Assert.Throws<BadInputException>(() => OperationText.Parse(line)).Message;
        Assert.StartsWith($"step \"{line}\"", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }

    [Theory]
    [InlineData("""{"topology":{"devices":0},"steps":[]}""", "topology.devices is 0; expected 1 to 8")]
    [InlineData("""{"topology":{"memoryMiB":49},"steps":[]}""", "topology.memoryMiB is 49; expected 1 to 48")]
    [InlineData("""{"topology":{"levels":5},"steps":[]}""", "topology.levels is 5; expected 3 or 4")]
    [InlineData("""{"topology":{"mode":7},"steps":[]}""", "topology.mode is 7; expected legacy or scalable")]
    [InlineData("""{"topology":{"mode":"extended"},"steps":[]}""", "$.topology.mode")]
    [InlineData("""{"topology":{"iotlbSets":3},"steps":[]}""", "topology.iotlbSets is 3; expected 0 or a power of two to 1024")]
    [InlineData("""{"topology":{"iotlbWays":17},"steps":[]}""", "topology.iotlbWays is 17; expected 0 to 16")]
    [InlineData("""{"topology":{"walkCache":-1},"steps":[]}""", "topology.walkCache is -1; expected 0 to 64")]
    [InlineData("""{"topology":{"contextCache":257},"steps":[]}""", "topology.contextCache is 257; expected 0 to 256")]
    [InlineData("""{"topology":{"flushCapacity":65},"steps":[]}""", "topology.flushCapacity is 65; expected 1 to 64")]
    [InlineData("""{"topology":{"flushCapacity":2,"flushAtCount":3},"steps":[]}""", "topology.flushAtCount is 3; expected 1 to flushCapacity")]
    [InlineData("""{"topology":{"flushAtMilliseconds":0},"steps":[]}""", "topology.flushAtMilliseconds is 0; expected 1 to 1000")]
    [InlineData("""{"topology":{},"steps":["advance 3600001ms"]}""", "at most 3600000 ms go by at once")]
    [InlineData("""{"topology":{"banks":[]},"steps":[]}""", "topology.banks is 0; expected 1 to 8 banks")]
    [InlineData("""{"topology":{"banks":[{"memoryMiB":1},{"memoryMiB":48}]},"steps":[]}""", "topology.banks is 49; expected 48 MiB at most in all")]
    [InlineData("""{"topology":{"banks":[{"memoryMiB":1,"type":8}]},"steps":[]}""", "topology.banks.type is 8; expected 0 to 7")]
    [InlineData("""{"topology":{"tracksUse":1},"steps":[]}""", "$.topology.tracksUse")]
    [InlineData("""{"topology":{"colour":1},"steps":[]}""", "colour")]
    [InlineData("""{"topology":{},"steps":["unback r0"]}""", "step \"unback r0\": r0 does not exist")]
    [InlineData("""{"topology":{},"steps":["read d1 0x0"]}""", "d1 does not exist")]
    [InlineData("""{"topology":{},"steps":["read d0 0x10"]}""", "devices and cores access offset 0x0, 0x808 or 0xff8 of a page")]
    [InlineData("""{"topology":{"cores":1,"processes":1},"steps":["read c0 p0 0x10"]}""", "devices and cores access offset 0x0, 0x808 or 0xff8 of a page")]
    [InlineData("""{"topology":{"cores":1,"processes":1},"steps":["read c1 p0 0x0"]}""", "c1 does not exist")]
    [InlineData("""{"topology":{"cores":9},"steps":[]}""", "topology.cores is 9; expected 0 to 8")]
    [InlineData("""{"topology":{"processes":1},"steps":[]}""", "topology.processes is 1; expected 0 to 4, and 0 without cores")]
    [InlineData("""{"topology":{"cores":1,"tlbSets":5},"steps":[]}""", "topology.tlbSets is 5; expected 0 or a power of two to 1024")]
    [InlineData("""{"topology":{"cores":1,"tlbWays":17},"steps":[]}""", "topology.tlbWays is 17; expected 0 to 16")]
    [InlineData("""{"topology":{},"steps":["v0 = vcm 0x0-0xfff","v0 = vcm 0x0-0xfff"]}""", "v0 was made before")]
    [InlineData("""{"topology":{},"steps":["v0 = vcm 0x0-0xffff","r0 = reserve v0 4K rw align 4K","unreserve r0@v1"]}""", "r0@v1 does not exist")]
    [InlineData("""{"topology":{},"steps":["v0 = vcm 0x0-0xffff","v1 = clone v0","unreserve r0@v1"]}""", "r0@v1 does not exist")]
    [InlineData("""{"topology":{},"steps":["v0 = vcm 0x0-0xffff","r0 = reserve v0 4K rw align 4K","copy r0 at 0 to r0 at 4 for 8"]}""", "whole words of 8 bytes are copied")]
    [InlineData("""{"topology":{},"steps":["v0 = vcm 0x0-0xffff","r0 m0 = bind v0 4K rw of 4K","m0 = allocate 4K of 4K"]}""", "m0 was made before")]
    [InlineData("""{"topology":{},"steps":[],"threads":[["v0 = vcm 0x0-0xfff"],["v0 = vcm 0x0-0xfff"]]}""", "v0 was made before")]
    [InlineData("""{"topology":{},"steps":[],"threads":[["v0 = vcm 0x0-0xfff"],["free v0"]]}""", "v0 does not exist")]
    [InlineData("""{"topology":{},"steps":[],"threads":[["v0 = vcm 0x0-0xfff"]]}""", "scenario.threads: there are 1; expected none")]
    [InlineData("""{"steps":[]}""", "topology")]
    [InlineData("""{"topology":{},"steps":[7]}""", "steps")]
    [InlineData("null", "scenario")]
    public void A_scenario_that_cannot_run_is_refused_in_one_line(string json, string expected)
    {
        string file = $$"""{"format":"vcmm-failure-1","stage":"sequences","invariant":"NoOverlap","observed":"a","expected":"b","scenario":{{json}}}""";
        string message = Assert.Throws<BadInputException>(() => new Harness.Stages.SequenceStage().Replay(FailureFile.Parse(file))).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }

    [Theory]
    [InlineData("", "not a failure file")]
    [InlineData("null", "not a failure file")]
    [InlineData("{}", "not a failure file")]
    [InlineData("""{"format":"other","stage":"s","invariant":"NoOverlap","observed":"a","expected":"b","scenario":{}}""", "format is \"other\"; expected \"vcmm-failure-1\"")]
    [InlineData("""{"format":"vcmm-failure-1","stage":"s","invariant":99,"observed":"a","expected":"b","scenario":{}}""", "invariant 99 does not exist")]
    [InlineData("""{"format":"vcmm-failure-1","stage":"s","invariant":"NoOverlap","observed":"a","expected":"b","scenario":{},"colour":1}""", "colour")]
    public void A_file_that_is_no_failure_is_refused_in_one_line(string text, string expected)
    {
        string message = Assert.Throws<BadInputException>(() => FailureFile.Parse(text)).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }
}

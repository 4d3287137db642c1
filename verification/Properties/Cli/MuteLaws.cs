using System.Text.Json.Nodes;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary>A run that does not tell of an invariant says so, wherever it says anything.</summary>
public sealed class MuteLaws
{
    [Fact]
    public void A_muted_run_says_what_is_muted_and_how_often_that_was_found()
    {
        InvariantSet given = InvariantSet.None;
        var stage = new TestStage("seq", context =>
        {
            given = context.Muted;
            return TestStage.ReportOf("seq", TimeSpan.FromSeconds(2)) with { Muted = new Dictionary<Invariant, long> { [Invariant.NoStaleAccess] = 3 } };
        });
        using var terminal = new Terminal(stage);
        Assert.Equal(ExitCode.Clean, terminal.Run("run --mute I9 --mute I4 --json run.json"));
        Assert.Equal(InvariantSet.Of(Invariant.NoStaleAccess, Invariant.OneSided), given);
        Assert.StartsWith("60 s of seq, seed 1; muted: I4, I9\n", terminal.Out);
        Assert.EndsWith("seed 1; muted: I4 (found 3 times), I9 (found 0 times)\n", terminal.Out);
        JsonNode report = JsonNode.Parse(terminal.Files["run.json"])!;
        Assert.Equal(["I4", "I9"], report["muted"]!.AsArray().Select(static id => (string?)id));
        Assert.Equal(3, (long)report["stages"]![0]!["muted"]![0]!["count"]!);
        Assert.Equal("I4", (string?)report["stages"]![0]!["muted"]![0]!["invariant"]);
    }

    [Fact]
    public void Where_nothing_is_muted_nothing_is_said_of_it()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        terminal.Run("run --json run.json");
        Assert.DoesNotContain("muted", terminal.Out);
        Assert.Empty(JsonNode.Parse(terminal.Files["run.json"])!["muted"]!.AsArray());
    }

    [Fact]
    public void A_stage_is_given_as_many_tries_as_are_asked_for()
    {
        long? given = null;
        using var terminal = new Terminal(new TestStage("seq", context =>
        {
            given = context.Most;
            return TestStage.ReportOf("seq", TimeSpan.Zero);
        }));
        Assert.Equal(ExitCode.Clean, terminal.Run("run --count 20"));
        Assert.Equal(20, given);
        Assert.StartsWith("60 s of seq, 20 at most, seed 1\n", terminal.Out);
    }

    [Theory]
    [InlineData("run --mute I0", "--mute: \"I0\" is no invariant; expected I1 to I14")]
    [InlineData("run --mute NoOverlap", "--mute: \"NoOverlap\" is no invariant; expected I1 to I14")]
    [InlineData("run --mute I1 --strict", "--mute: not with --strict, since a run that does not tell of I1 is not strict; expected one of the two")]
    [InlineData("run --count 0", "--count: 0 is too small; expected at least 1")]
    [InlineData("explore --mute I15", "--mute: \"I15\" is no invariant; expected I1 to I14")]
    public void What_cannot_be_muted_is_refused(string line, string message)
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException("ran")));
        Assert.Equal(ExitCode.BadInput, terminal.Run(line));
        Assert.Equal("verify: " + message, terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
    }

    [Fact]
    public void A_failure_file_says_what_was_muted_and_is_replayed_so()
    {
        FailureFile file = TestStage.FileOf("seq", Invariant.NoOverlap, "x") with { Muted = FailureFile.ToField(InvariantSet.Of(Invariant.Frugal)) };
        FailureFile again = FailureFile.Parse(file.ToString());
        Assert.Equal(InvariantSet.Of(Invariant.Frugal), again.MutedSet);
        Assert.Equal(file.ToString(), again.ToString());
        Assert.DoesNotContain("muted", TestStage.FileOf("seq", Invariant.NoOverlap, "x").ToString());
    }
}

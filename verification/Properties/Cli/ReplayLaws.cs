using Harness;
using Harness.Stages;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify replay</c> prints and returns.</summary>
public sealed class ReplayLaws
{
    private const string Report = "lane 1 | lane 2\n[red]  é  \n\n";

    [Theory]
    [InlineData(Report)]
    [InlineData("one line without an end")]
    public void A_failure_found_by_a_run_is_replayed_byte_for_byte(string report)
    {
        StageFailure failure = TestStage.FailureOf("seq", Invariant.NoStaleAccess, "read 7", report);
        var seq = new TestStage("seq", _ => TestStage.ReportOf("seq", TimeSpan.Zero) with { Failures = [failure] })
        {
            Again = file => file.ToString() == failure.FileContent ? failure : null,
        };
        using var found = new Terminal(TestStage.Finding("other"), seq);
        found.Run("run");
        (string name, string content) = Assert.Single(found.Files);

        using var again = new Terminal(new TestStage("other", _ => throw new InvalidOperationException()), seq);
        Assert.Equal(ExitCode.Violation, again.Run($"replay {again.Write("copy.json", content)}"));
        Assert.Equal(report.TrimEnd('\n') + report[report.TrimEnd('\n').Length..].PadRight(1, '\n'), again.Out);
        Assert.Contains($"read 7\n{again.Out}see it again: verify replay {name}\n", found.Out);
        Assert.Empty(again.Error);
    }

    [Fact]
    public void What_no_longer_fails_is_one_line_and_clean()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        Assert.Equal(ExitCode.Clean, terminal.Run($"replay {FileOf(terminal, "seq")}"));
        Assert.Equal("nothing fails: I4 NoStaleAccess holds in f.json\n", terminal.Out);
    }

    [Fact]
    public void A_stage_that_lacks_something_cannot_replay()
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException()) { Missing = "no qemu" });
        Assert.Equal(ExitCode.Environment, terminal.Run($"replay {FileOf(terminal, "seq")}"));
        Assert.Equal("verify: stage seq cannot run here: no qemu", terminal.OneErrorLine());
    }

    [Fact]
    public void What_the_stage_cannot_use_is_bad_input()
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException()) { Again = _ => throw new BadInputException("scenario.threads: 1; expected a list") });
        Assert.Equal(ExitCode.BadInput, terminal.Run($"replay {FileOf(terminal, "seq")}"));
        Assert.Equal("verify: f.json: scenario.threads: 1; expected a list", terminal.OneErrorLine());
    }

    [Fact]
    public void A_stage_that_throws_is_one_line_and_whole_when_asked()
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException()) { Again = _ => throw new InvalidOperationException("oh") });
        Assert.Equal(ExitCode.Environment, terminal.Run($"replay {FileOf(terminal, "seq")}"));
        Assert.Equal("verify: stage seq broke: InvalidOperationException: oh", terminal.OneErrorLine());
        Assert.Equal(ExitCode.Environment, terminal.Run("replay f.json --verbose"));
        Assert.Contains("   at ", terminal.Error);
    }

    private static string FileOf(Terminal terminal, string stage) =>
        terminal.Write("f.json", TestStage.FileOf(stage, Invariant.NoStaleAccess, "read 7").ToString());
}

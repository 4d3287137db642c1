using System.Text.Json.Nodes;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;
using Verify;
using Verify.Output;

namespace Properties.Cli;

/// <summary>What <c>verify run</c> prints, writes and returns.</summary>
public sealed class RunLaws
{
    private static readonly StageFailure Stale = TestStage.FailureOf("seq", Invariant.NoStaleAccess, "read 7\nmust fault", "the\n  whole [story] of it\n");
    private static readonly StageFailure Lost = TestStage.FailureOf("seq", Invariant.Conservation, "3 of 4 frames", "no line end");

    [Fact]
    public void A_run_without_a_violation_is_clean_and_writes_nothing()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"), TestStage.Finding("race"));
        Assert.Equal(ExitCode.Clean, terminal.Run("run"));
        Assert.Empty(terminal.Error);
        Assert.Empty(terminal.Files);
        Assert.Contains("no violation: 24,704 checks in 0 s, seed 1\n", terminal.Out);
    }

    [Fact]
    public void The_table_shows_what_ran_how_fast_what_was_checked_and_what_failed()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale, Lost, Stale), TestStage.Finding("race"));
        Assert.Equal(ExitCode.Violation, terminal.Run("run --seed 9"));
        Assert.StartsWith("60 s of seq, race, seed 9\n", terminal.Out);
        AssertRow(terminal.Out, "seq", "2 s", "8,000 sequences", "4,000", "I1 NoOverlap 7", "I4 NoStaleAccess 2");
        AssertRow(terminal.Out, "", "", "3 operations", "1.5", "I5 FrameSafety 12,345", "I6 Conservation 1");
        AssertRow(terminal.Out, "race", "2 s", "8,000 sequences", "4,000", "I1 NoOverlap 7", "nothing");
        Assert.Contains("3 violations: 24,704 checks in 0 s, seed 9\n", terminal.Out);
    }

    [Fact]
    public void Each_of_several_runs_has_the_next_seed_all_of_the_time_and_a_file_of_its_own()
    {
        var given = new List<(ulong, double)>();
        var stage = new TestStage("seq", context =>
        {
            given.Add((context.Seed, context.Budget.TotalSeconds));
            return TestStage.ReportOf("seq", TimeSpan.Zero) with { Failures = context.Seed == ulong.MaxValue ? [Stale] : [] };
        });
        using var terminal = new Terminal(stage);
        Assert.Equal(ExitCode.Violation, terminal.Run($"run --seed {ulong.MaxValue} --seeds 2 --time 7 --json of.the.run.json"));
        Assert.Equal([(ulong.MaxValue, 7), (0, 7)], given);
        Assert.Contains($"1 violation: 12,352 checks in 0 s, seed {ulong.MaxValue}\n", terminal.Out);
        Assert.Contains("no violation: 12,352 checks in 0 s, seed 0\n", terminal.Out);
        Assert.Equal(["of.the.run.0.json", $"of.the.run.{ulong.MaxValue}.json"], terminal.Files.Keys.Where(static name => !name.StartsWith("failures", StringComparison.Ordinal)).Order());
        Assert.Equal(0UL, (ulong)JsonNode.Parse(terminal.Files["of.the.run.0.json"])!["seed"]!);

        // Where there is one, it has its seed in the name as well.
        Assert.Equal(ExitCode.Clean, terminal.Run("run --seeds 1 --json one"));
        Assert.Contains("one.1", terminal.Files.Keys);
    }

    [Theory]
    [InlineData("", "shrinks shrinks shrinks")]
    [InlineData("--shrink all", "shrinks shrinks shrinks")]
    [InlineData("--shrink first", "shrinks brief brief")]
    [InlineData("--shrink none", "brief brief brief")]
    public void Which_failures_are_shrunk_is_said(string options, string runs)
    {
        var given = new List<string>();
        using var terminal = new Terminal(new TestStage("seq", context =>
        {
            given.Add(context.IsBrief ? "brief" : "shrinks");
            return TestStage.ReportOf("seq", TimeSpan.Zero);
        }));
        Assert.Equal(ExitCode.Clean, terminal.Run($"run --seeds 3 {options}"));
        Assert.Equal(runs, string.Join(' ', given));
    }

    [Fact]
    public void What_says_no_failures_to_shrink_is_refused()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        Assert.Equal(ExitCode.BadInput, terminal.Run("run --shrink some"));
        Assert.Contains("--shrink: \"some\" says not which; expected one of all, first, none", terminal.OneErrorLine());
    }

    /// <summary>What it left behind, a thread that runs on say, would be told of the next.</summary>
    [Fact]
    public void After_a_run_in_which_a_stage_broke_there_is_no_other()
    {
        var seeds = new List<ulong>();
        using var terminal = new Terminal(new TestStage("seq", context =>
        {
            seeds.Add(context.Seed);
            return context.Seed == 2 ? throw new InvalidOperationException("no hand") : TestStage.ReportOf("seq", TimeSpan.Zero);
        }));
        Assert.Equal(ExitCode.Environment, terminal.Run("run --seeds 9"));
        Assert.Equal([1, 2], seeds);
    }

    [Fact]
    public void After_as_many_clean_runs_as_are_asked_for_there_is_no_other()
    {
        var seeds = new List<ulong>();
        using var terminal = new Terminal(new TestStage("seq", context =>
        {
            seeds.Add(context.Seed);
            return TestStage.ReportOf("seq", TimeSpan.Zero) with { Failures = context.Seed == 2 ? [Stale] : [] };
        }));
        Assert.Equal(ExitCode.Violation, terminal.Run("run --seeds 9 --clean 3"));
        Assert.Equal([1, 2, 3, 4], seeds);
    }

    [Fact]
    public void A_number_of_runs_is_at_least_one()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        Assert.Equal(ExitCode.BadInput, terminal.Run("run --seeds 0"));
        Assert.Contains("--seeds: 0 is too small; expected at least 1", terminal.OneErrorLine());
    }

    [Fact]
    public void Where_no_person_watches_each_stage_is_one_plain_line()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale), TestStage.Finding("race"));
        terminal.Run("run");
        Assert.Contains("\nseq: 2 s, 8,000 sequences, 3 operations, 12,352 checks, 1 failure\nrace: 2 s, ", terminal.Out);
        Assert.DoesNotContain("\u001b", terminal.Out);
    }

    [Fact]
    public void Where_a_person_watches_each_stage_has_a_bar()
    {
        var stage = new TestStage("seq", context =>
        {
            context.Progress(new StageProgress(0.5, "[half] of it"));
            return TestStage.ReportOf("seq", TimeSpan.FromSeconds(2));
        });
        using var terminal = new Terminal(stage, new TestStage("far", _ => throw new InvalidOperationException()) { Missing = "not here" });
        Assert.Equal(ExitCode.Clean, terminal.Run("run", here => here with { Terminal = true }));
        Assert.Contains("seq  [half] of it", terminal.Out);
        Assert.Contains("100%", terminal.Out);
        Assert.DoesNotContain("12,352 checks, 0 failures", terminal.Out);
        Assert.Contains("8,000 sequences", terminal.Out);
    }

    [Fact]
    public void Each_report_is_printed_in_full_as_it_is()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale, Lost));
        terminal.Run("run");
        Assert.Contains("\n\nseq found I4 NoStaleAccess: read 7 must fault\nthe\n  whole [story] of it\nsee it again: verify replay failures/I4-", terminal.Out);
        Assert.Contains("\n\nseq found I6 Conservation: 3 of 4 frames\nno line end\nsee it again: ", terminal.Out);
    }

    [Fact]
    public void A_failure_is_a_file_named_by_invariant_and_content()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale, Lost, Stale));
        terminal.Run("run --failures out/here");
        string stale = Path.Combine("out/here", FailureStore.NameOf(Invariant.NoStaleAccess, Stale.FileContent!));
        string lost = Path.Combine("out/here", FailureStore.NameOf(Invariant.Conservation, Lost.FileContent!));
        Assert.Matches("/I4-NoStaleAccess-[0-9a-f]{12}\\.json$", stale);
        Assert.Equal(new Dictionary<string, string> { [stale] = Stale.FileContent!, [lost] = Lost.FileContent! }, terminal.Files);
        Assert.Equal("seq", FailureFile.Parse(terminal.Files[stale]).Stage);
        Assert.Contains($"see it again: verify replay {stale}\n", terminal.Out);
        Assert.NotEqual(stale, Path.Combine("out/here", FailureStore.NameOf(Invariant.NoStaleAccess, Stale.FileContent + " ")));
    }

    [Fact]
    public void A_failure_that_is_its_own_input_has_no_file()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale with { FileContent = null }));
        Assert.Equal(ExitCode.Violation, terminal.Run("run"));
        Assert.Empty(terminal.Files);
        Assert.Contains("whole [story]", terminal.Out);
        Assert.DoesNotContain("see it again", terminal.Out);
    }

    [Fact]
    public void Failures_are_written_before_the_next_stage_starts()
    {
        int seen = -1;
        Terminal? terminal = null;
        using (terminal = new Terminal(TestStage.Finding("seq", Stale), new TestStage("next", _ =>
        {
            seen = terminal!.Files.Count;
            return TestStage.ReportOf("next", TimeSpan.Zero);
        })))
        {
            terminal.Run("run");
        }

        Assert.Equal(1, seen);
    }

    [Fact]
    public void A_failure_that_cannot_be_written_is_said_and_still_reported()
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale));
        terminal.Write("file", "");
        Assert.Equal(ExitCode.Violation, terminal.Run("run --failures file/below"));
        Assert.StartsWith("verify: --failures: a failure cannot be written to file/below: ", terminal.OneErrorLine());
        Assert.Contains("whole [story]", terminal.Out);
        Assert.DoesNotContain("see it again", terminal.Out);
    }

    [Fact]
    public void A_stage_that_lacks_something_is_one_line_of_advice()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"), Lame());
        Assert.Equal(ExitCode.Clean, terminal.Run("run"));
        Assert.Empty(terminal.Error);
        AssertRow(terminal.Out, "foreign", "–", "did not run", "", "", "");
        Assert.Contains("\nforeign did not run: no qemu; apt-get install it\n", terminal.Out);
    }

    [Theory]
    [InlineData("run --strict")]
    [InlineData("run --stage foreign --stage seq")]
    public void A_stage_that_must_run_and_cannot_is_the_environment_and_nothing_runs(string line)
    {
        using var terminal = new Terminal(TestStage.Finding("seq", Stale), Lame());
        Assert.Equal(ExitCode.Environment, terminal.Run(line + " --json out.json"));
        Assert.Equal("verify: stage foreign cannot run here: no qemu; apt-get install it", terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
        Assert.Empty(terminal.Files);
    }

    [Fact]
    public void Only_the_stages_named_run_in_their_own_order()
    {
        using var terminal = new Terminal(TestStage.Finding("a"), TestStage.Finding("b"), TestStage.Finding("c"), Lame());
        Assert.Equal(ExitCode.Clean, terminal.Run("run --stage c --stage a --stage c"));
        Assert.StartsWith("60 s of a, c, seed 1\n", terminal.Out);
        Assert.DoesNotContain("foreign", terminal.Out);
    }

    [Fact]
    public void Where_no_stage_can_run_or_there_is_none_the_environment_is_at_fault()
    {
        using var lame = new Terminal(Lame());
        Assert.Equal(ExitCode.Environment, lame.Run("run"));
        Assert.Equal("verify: no stage can run here; foreign: no qemu; apt-get install it", lame.OneErrorLine());
        using var empty = new Terminal();
        Assert.Equal(ExitCode.Environment, empty.Run("run"));
    }

    [Fact]
    public void A_run_that_checked_nothing_is_not_clean()
    {
        using var terminal = new Terminal(new TestStage("seq", _ => TestStage.ReportOf("seq", TimeSpan.Zero) with { Checks = new Dictionary<Invariant, long>() }));
        Assert.Equal(ExitCode.Environment, terminal.Run("run"));
        Assert.Contains("nothing was checked: 0 checks in ", terminal.Out);
    }

    [Theory]
    [InlineData("run", false)]
    [InlineData("run --verbose", true)]
    [InlineData("--verbose run", true)]
    public void A_stage_that_throws_is_one_line_naming_it_and_the_others_run(string line, bool whole)
    {
        using var terminal = new Terminal(new TestStage("bad", _ => throw new InvalidOperationException("oh\nno")), TestStage.Finding("seq"));
        Assert.Equal(ExitCode.Environment, terminal.Run(line));
        Assert.StartsWith("verify: stage bad broke: InvalidOperationException: oh no\n", terminal.Error);
        Assert.Equal(whole, terminal.Error.Contains("   at ", StringComparison.Ordinal));
        if (!whole) terminal.OneErrorLine();
        AssertRow(terminal.Out, "seq", "2 s", "8,000 sequences", "4,000", "I1 NoOverlap 7", "nothing");
        Assert.Contains("not done: 12,352 checks", terminal.Out);
    }

    [Fact]
    public void A_violation_outweighs_a_stage_that_throws()
    {
        using var terminal = new Terminal(new TestStage("bad", _ => throw new InvalidOperationException("oh")), TestStage.Finding("seq", Stale));
        Assert.Equal(ExitCode.Violation, terminal.Run("run"));
    }

    [Fact]
    public void A_stop_prints_the_table_so_far_and_writes_what_was_found()
    {
        using var stop = new CancellationTokenSource();
        using var terminal = new Terminal(
            new TestStage("seq", context =>
            {
                stop.Cancel();
                return TestStage.ReportOf("seq", TimeSpan.FromSeconds(2)) with { Failures = [Stale] };
            }),
            TestStage.Finding("race"));
        Assert.Equal(ExitCode.Violation, terminal.Run("run", here => here with { Stop = stop.Token }));
        Assert.Single(terminal.Files);
        AssertRow(terminal.Out, "seq", "2 s", "8,000 sequences", "4,000", "I1 NoOverlap 7", "I4 NoStaleAccess 1");
        Assert.Contains("\nrace did not start: the run was stopped before it\n", terminal.Out);
        Assert.EndsWith("seed 1, stopped by the user before 60 s were over\n", terminal.Out);
    }

    private static TestStage Lame() => new("foreign", _ => throw new InvalidOperationException("ran")) { Missing = "no qemu; apt-get install it" };

    private static void AssertRow(string output, params string[] cells)
    {
        string[][] rows = [.. output.Split('\n').Where(line => line.StartsWith('│')).Select(line => line.Trim('│').Split('│').Select(cell => cell.Trim()).ToArray())];
        Assert.Contains(rows, row => row.SequenceEqual(cells));
    }
}

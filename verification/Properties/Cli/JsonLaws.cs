using System.Text.Json;
using Harness.Stages;
using Vcmm.Spec;
using Verify;
using Verify.Output;

namespace Properties.Cli;

/// <summary>What <c>--json</c> writes.</summary>
public sealed class JsonLaws
{
    [Fact]
    public void The_file_says_everything_the_table_shows()
    {
        StageFailure stale = TestStage.FailureOf("seq", Invariant.NoStaleAccess, "read 7", "the whole\nstory\n");
        using var terminal = new Terminal(
            TestStage.Finding("seq", stale, stale with { FileContent = null }),
            new TestStage("foreign", _ => throw new InvalidOperationException()) { Missing = "no qemu" },
            new TestStage("bad", _ => throw new InvalidOperationException("oh")));
        Assert.Equal(ExitCode.Violation, terminal.Run("run --json out.json --seed 18446744073709551615 --time 2.5"));
        string file = "failures/" + FailureStore.NameOf(Invariant.NoStaleAccess, stale.FileContent!);
        string expected = $$"""
            {
              "format": "vcmm-run-1", "seed": 18446744073709551615, "budgetSeconds": 2.5, "elapsedSeconds": 0, "most": null, "muted": [], "stopped": false, "exitCode": 1,
              "checks": 12352, "violations": 2,
              "stages": [
                {
                  "name": "seq", "state": "ran", "note": null, "budgetSeconds": 1.25, "elapsedSeconds": 2,
                  "ran": [ { "what": "sequences", "count": 8000, "perSecond": 4000 }, { "what": "operations", "count": 3, "perSecond": 1.5 } ],
                  "checks": [ { "invariant": "I1", "name": "NoOverlap", "count": 7 }, { "invariant": "I5", "name": "FrameSafety", "count": 12345 } ], "muted": [],
                  "failures": [
                    { "invariant": "I4", "name": "NoStaleAccess", "summary": "read 7", "file": "{{file}}", "report": "the whole\nstory\n" },
                    { "invariant": "I4", "name": "NoStaleAccess", "summary": "read 7", "file": null, "report": "the whole\nstory\n" }
                  ]
                },
                {
                  "name": "foreign", "state": "missing", "note": "no qemu", "budgetSeconds": 0, "elapsedSeconds": null,
                  "ran": [], "checks": [], "muted": [], "failures": []
                },
                {
                  "name": "bad", "state": "broke", "note": "InvalidOperationException: oh", "budgetSeconds": 2.5, "elapsedSeconds": null,
                  "ran": [], "checks": [], "muted": [], "failures": []
                }
              ]
            }
            """;
        string actual = terminal.Files["out.json"];
        Assert.EndsWith("}\n", actual);
        Assert.Equal(Normal(expected), Normal(actual));
    }

    [Fact]
    public void A_rate_without_time_is_null()
    {
        using var terminal = new Terminal(new TestStage("seq", _ => TestStage.ReportOf("seq", TimeSpan.Zero)));
        Assert.Equal(ExitCode.Clean, terminal.Run("run --json out.json"));
        Assert.Contains("\"perSecond\": null", terminal.Files["out.json"]);
    }

    [Fact]
    public void A_run_that_was_stopped_says_so()
    {
        using var stop = new CancellationTokenSource();
        using var terminal = new Terminal(
            new TestStage("seq", _ =>
            {
                stop.Cancel();
                return TestStage.ReportOf("seq", TimeSpan.Zero);
            }),
            TestStage.Finding("race"));
        terminal.Run("run --json out.json", here => here with { Stop = stop.Token });
        Assert.Contains("\"stopped\": true", terminal.Files["out.json"]);
        Assert.Contains("\"state\": \"not started\"", terminal.Files["out.json"]);
    }

    [Fact]
    public void A_file_that_cannot_be_written_any_more_is_one_line_after_the_table_and_leaves_no_part()
    {
        Terminal? terminal = null;
        using (terminal = new Terminal(new TestStage("seq", _ =>
        {
            Directory.CreateDirectory(Path.Combine(terminal!.Folder, "out.json"));
            return TestStage.ReportOf("seq", TimeSpan.Zero);
        })))
        {
            Assert.Equal(ExitCode.Environment, terminal.Run("run --json out.json"));
            Assert.StartsWith("verify: --json: out.json cannot be written: ", terminal.OneErrorLine());
            Assert.Contains("no violation", terminal.Out);
            Assert.Empty(terminal.Files);
        }
    }

    /// <summary>The same JSON, however it was laid out.</summary>
    internal static string Normal(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return JsonSerializer.Serialize(document.RootElement);
    }
}

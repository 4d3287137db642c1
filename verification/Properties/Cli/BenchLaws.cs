using System.Text.Json;
using Verify;
using Verify.Benching;
using Workloads;

namespace Properties.Cli;

/// <summary>What <c>verify bench</c> measures, prints, writes and returns, on a clock that only the workloads move.</summary>
public sealed class BenchLaws
{
    private readonly WorkClock _clock = new();

    [Fact]
    public void The_table_shows_times_ratios_limits_and_whether_they_are_kept()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, Run(
            terminal,
            "bench",
            TestWorkload.Row("fast", _clock, 2.5, 2) with { LimitNanoseconds = 2.5, RatioLimit = 1.25 },
            TestWorkload.Row("alone", _clock, 1234),
            TestWorkload.Row("pair", _clock, 5, 9.5) with { RatioKind = RatioKind.SpeedUp, RatioLimit = 1.9 },
            new WeighedRow("heavy", "weigh", () => 63.9, 64)));
        Assert.StartsWith("1 s for each of 4 rows, .NET 10.", terminal.Out);
        Assert.Contains("\nfast: 2.5 ns, 1.25x\nalone: 1,234 ns\npair: 5 ns, 1.9x\nheavy: 63.9 B\n", terminal.Out);
        AssertRow(terminal.Out, "fast", "do fast", "2.5 ns", "+0%", "2 ns: bare fast", "1.25x", "≤ 2.5 ns", "yes", "0 B");
        AssertRow(terminal.Out, "alone", "do alone", "1,234 ns", "+0%", "", "", "", "yes", "0 B");
        AssertRow(terminal.Out, "pair", "do pair", "5 ns", "+0%", "9.5 ns: bare pair", "1.9x", "≥ 1.9x", "yes", "0 B");
        AssertRow(terminal.Out, "heavy", "weigh", "63.9 B", "", "", "", "≤ 64 B", "yes", "");
        Assert.Contains("\nevery limit is kept: 4 rows measured in ", terminal.Out);
        Assert.Empty(terminal.Error);
        Assert.Empty(terminal.Files);
    }

    [Fact]
    public void A_limit_that_is_missed_is_named_and_only_strictly_a_violation()
    {
        Row[] rows =
        [
            TestWorkload.Row("slow", _clock, 2.6) with { LimitNanoseconds = 2.5 },
            TestWorkload.Row("dear", _clock, 2.6, 2) with { LimitNanoseconds = 2.5, RatioLimit = 1.2 },
            TestWorkload.Row("lame", _clock, 2, 3) with { RatioKind = RatioKind.SpeedUp, RatioLimit = 1.6 },
            TestWorkload.Row("good", _clock, 2) with { LimitNanoseconds = 2.5 },
            new WeighedRow("heavy", "weigh", () => 65, 64),
        ];
        foreach ((string line, int exit) in new[] { ("bench", ExitCode.Clean), ("bench --strict", ExitCode.Violation) })
        {
            using var terminal = new Terminal();
            Assert.Equal(exit, Run(terminal, line, rows));
            AssertRow(terminal.Out, "slow", "do slow", "2.6 ns", "+0%", "", "", "≤ 2.5 ns", "no: time", "0 B");
            AssertRow(terminal.Out, "dear", "do dear", "2.6 ns", "+0%", "2 ns: bare dear", "1.3x", "≤ 2.5 ns", "no: time, ratio", "0 B");
            AssertRow(terminal.Out, "lame", "do lame", "2 ns", "+0%", "3 ns: bare lame", "1.5x", "≥ 1.6x", "no: ratio", "0 B");
            AssertRow(terminal.Out, "heavy", "weigh", "65 B", "", "", "", "≤ 64 B", "no: size", "");
            Assert.Contains("\n4 rows missed a limit (slow, dear, lame, heavy): 5 rows measured in ", terminal.Out);
        }
    }

    [Fact]
    public void A_row_that_allocates_misses_a_limit_that_every_row_has()
    {
        byte[]? kept = null;
        Row leak = new TimedRow("leak", "leak", () => new TestWorkload(_clock, () => 2) { OnBatch = () => kept = new byte[30_000 - 24] });
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, Run(terminal, "bench --strict", leak));
        AssertRow(terminal.Out, "leak", "leak", "2 ns", "+0%", "", "", "", "no: allocation", "0.03 B");
        GC.KeepAlive(kept);
    }

    [Fact]
    public void What_the_second_of_two_threads_allocates_is_counted()
    {
        byte[]? kept = null;
        var still = new WorkClock();
        Row leak = new TimedRow("leak", "leak", () => new TwoThreads(
            new TestWorkload(_clock, () => 2),
            new TestWorkload(still, () => 2) { OnBatch = () => kept = new byte[60_000 - 24] }));
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, Run(terminal, "bench --strict --time 0.1", leak));
        AssertRow(terminal.Out, "leak", "leak", "1 ns", "+0%", "", "", "", "no: allocation", "0.03 B");
        GC.KeepAlive(kept);
    }

    [Fact]
    public void A_burst_that_ends_is_no_leak()
    {
        byte[]? kept = null;
        int batch = 0;
        Row grows = new TimedRow("grows", "grow", () => new TestWorkload(_clock, () => 2) { OnBatch = () => kept = ++batch % 3 == 0 ? new byte[100] : kept });
        using var terminal = new Terminal();
        // A sample is five batches of 2 ms: each has at least one allocation, and then none has.
        Assert.Equal(ExitCode.Violation, Run(terminal, "bench --strict", grows));
        batch = int.MinValue;
        Row rare = new TimedRow("rare", "grow", () => new TestWorkload(_clock, () => 2) { OnBatch = () => kept = ++batch % 97 == 0 ? new byte[100] : kept });
        Assert.Equal(ExitCode.Clean, Run(terminal, "bench --strict", rare));
        GC.KeepAlive(kept);
    }

    [Fact]
    public void Best_and_median_are_of_the_rounds()
    {
        // Batches are longer than a sample, so that each round is one batch.
        int batch = 0;
        double[] costs = [40, 20, 30, 30, 50];
        Row row = new TimedRow("wobbly", "wobble", () => new TestWorkload(_clock, () => costs[batch++ % costs.Length]));
        using var terminal = new Terminal();
        Run(terminal, "bench", row);
        AssertRow(terminal.Out, "wobbly", "wobble", "20 ns", "+50%", "", "", "", "yes", "0 B");
    }

    [Fact]
    public void Workload_and_baseline_take_turns_and_are_checked_and_disposed()
    {
        var log = new List<char>();
        TestWorkload subject = Logging('a', 'A');
        TestWorkload baseline = Logging('b', 'B');
        Row row = new TimedRow("row", "do", () => subject) { Baseline = () => baseline, BaselineWhat = "bare" };
        using var terminal = new Terminal();
        Run(terminal, "bench", row);
        Assert.Equal("AB", string.Concat(log[^2..]));
        string batches = string.Concat(log[..^2]);
        // 64 turns to warm up, one to choose the sample, and more than the least number of rounds of a second.
        Assert.True(batches.Length > 2 * (RowTimer.LeastWarmUpBatches + 1 + RowTimer.LeastRounds), batches);
        Assert.Equal(string.Concat(Enumerable.Repeat("ab", batches.Length / 2)), batches);
        Assert.Equal((1, 1), (subject.DisposeCount, baseline.DisposeCount));

        TestWorkload Logging(char batch, char check) => new(_clock, () => 20) { OnBatch = () => log.Add(batch), OnCheck = () => log.Add(check) };
    }

    [Theory]
    [InlineData(0.7, true)]
    [InlineData(3.7, true)]
    [InlineData(3.8, false)]
    public void Nothing_is_measured_before_the_JIT_is_quiet_but_not_for_ever(double compilingSeconds, bool settled)
    {
        Row row = new TimedRow("warm", "warm up", () => new TestWorkload(_clock, () => IsCompiling() ? 9 : 2));
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, Run(terminal, "bench --json out.json", here => here with { CompiledMethodCount = () => IsCompiling() ? _clock.Now.Ticks : 0 }, row));
        Assert.Equal(settled, terminal.Files["out.json"].Contains("\"settled\": true"));
        Assert.Equal(!settled, terminal.Out.Contains("warm: the JIT was still compiling when it was measured"));
        if (settled) AssertRow(terminal.Out, "warm", "warm up", "2 ns", "+0%", "", "", "", "yes", "0 B");

        bool IsCompiling() => _clock.Now.TotalSeconds < compilingSeconds;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_other_processes_compile_is_waited_for_too(bool isBaseline)
    {
        TestWorkload Steady() => new(_clock, () => 2);
        TestWorkload Compiling() => new(_clock, () => 2) { OthersCompiledMethodCount = () => _clock.Now.Ticks };
        Row row = new TimedRow("cold", "never warm", isBaseline ? Steady : Compiling) { Baseline = isBaseline ? Compiling : Steady, BaselineWhat = "the same" };
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, Run(terminal, "bench", row));
        Assert.Contains("cold: the JIT was still compiling when it was measured", terminal.Out);
    }

    [Fact]
    public void A_row_that_throws_is_the_environment_whatever_the_others_do()
    {
        var refused = new InvalidOperationException("not so: nothing is\nrefused");
        var disposed = new TestWorkload(_clock, () => 2) { OnBatch = () => throw refused };
        Row[] rows =
        [
            new TimedRow("set-up", "fail", () => throw refused),
            new TimedRow("batch", "fail", () => disposed),
            new TimedRow("check", "fail", () => new TestWorkload(_clock, () => 2) { OnCheck = () => throw refused }),
            new WeighedRow("weigh", "fail", () => throw refused, 1),
            TestWorkload.Row("good", _clock, 2),
        ];
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Environment, Run(terminal, "bench", rows));
        Assert.Equal(
            string.Concat(new[] { "set-up", "batch", "check", "weigh" }.Select(name => $"verify: row {name} broke: InvalidOperationException: not so: nothing is refused\n")),
            terminal.Error);
        Assert.Contains("\nbatch broke: InvalidOperationException: not so: nothing is refused\n", terminal.Out);
        Assert.Contains("\nevery limit is kept: 1 row measured in ", terminal.Out);
        Assert.Equal(1, disposed.DisposeCount);

        using var verbose = new Terminal();
        Run(verbose, "bench --verbose", rows[0]);
        Assert.Contains("   at ", verbose.Error);
        Assert.EndsWith("nothing was measured\n", verbose.Out);
    }

    [Fact]
    public void What_was_measured_before_a_stop_is_shown_and_only_strictly_too_little()
    {
        foreach ((string line, int exit) in new[] { ("bench", ExitCode.Clean), ("bench --strict", ExitCode.Environment) })
        {
            using var stop = new CancellationTokenSource();
            using var terminal = new Terminal();
            Row[] rows =
            [
                TestWorkload.Row("done", _clock, 2),
                new TimedRow("cut", "stop", () => new TestWorkload(_clock, () => 2) { OnBatch = stop.Cancel }),
                new WeighedRow("never", "weigh", () => throw new InvalidOperationException("was weighed"), 1),
            ];
            Assert.Equal(exit, Run(terminal, line + " --json out.json", here => here with { Stop = stop.Token }, rows));
            Assert.Empty(terminal.Error);
            Assert.Contains("\ncut stopped: the user stopped before it was measured\nnever stopped: ", terminal.Out);
            Assert.Contains(": 1 row measured in ", terminal.Out);
            Assert.EndsWith(", stopped by the user\n", terminal.Out);
            Assert.Contains("\"stopped\": true", terminal.Files["out.json"]);
        }
    }

    [Fact]
    public void A_filter_chooses_rows_by_a_part_of_their_names()
    {
        Row[] rows = [TestWorkload.Row("E1 bulk", _clock, 2), TestWorkload.Row("E2 page", _clock, 2), TestWorkload.Row("E3 bulk", _clock, 2)];
        foreach ((string options, string[] names) in new (string, string[])[]
        {
            ("", ["E1 bulk", "E2 page", "E3 bulk"]), (" --filter BULK", ["E1 bulk", "E3 bulk"]), (" --filter e3 --filter 1", ["E1 bulk", "E3 bulk"]),
        })
        {
            using var terminal = new Terminal();
            Assert.Equal(ExitCode.Clean, Run(terminal, "bench --json out.json" + options, rows));
            Assert.Equal(names, JsonDocument.Parse(terminal.Files["out.json"]).RootElement.GetProperty("rows").EnumerateArray().Select(row => row.GetProperty("name").GetString()));
        }

        using var none = new Terminal();
        Assert.Equal(ExitCode.BadInput, Run(none, "bench --filter E4", rows));
        Assert.Equal("verify: --filter: \"E4\" is in the name of no row; expected part of one of E1 bulk, E2 page, E3 bulk", none.OneErrorLine());
        Assert.Empty(none.Out);
    }

    [Fact]
    public void The_file_says_everything_the_table_shows()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, Run(
            terminal,
            "bench --strict --time 0.5 --json out.json",
            TestWorkload.Row("dear", _clock, 20, 10) with { LimitNanoseconds = 15, RatioLimit = 1.25 },
            TestWorkload.Row("pair", _clock, 4, 10) with { RatioKind = RatioKind.SpeedUp },
            new WeighedRow("heavy", "weigh", () => 8.4, 64),
            new TimedRow("bad", "fail", () => throw new InvalidOperationException("oh"))));
        Machine here = Machine.Here;
        string expected = $$"""
            {
              "format": "vcmm-bench-1", "timeSeconds": 0.5, "elapsedSeconds": {{_clock.Now.TotalSeconds}}, "strict": true, "stopped": false, "exitCode": 1,
              "runtime": "{{here.Runtime}}", "architecture": "{{here.Architecture}}", "processors": {{here.ProcessorCount}}, "optimized": {{(here.IsOptimized ? "true" : "false")}},
              "measured": 3, "missed": 1,
              "rows": [
                {
                  "name": "dear", "what": "do dear", "state": "measured", "note": null, "unit": "ns", "best": 20, "median": 20, "rounds": 17, "settled": true,
                  "baseline": { "what": "bare dear", "best": 10, "median": 10 }, "ratio": 2, "ratioKind": "cost",
                  "limit": 15, "ratioLimit": 1.25, "allocatedBytes": 0, "kept": false, "missed": ["time", "ratio"]
                },
                {
                  "name": "pair", "what": "do pair", "state": "measured", "note": null, "unit": "ns", "best": 4, "median": 4, "rounds": 28, "settled": true,
                  "baseline": { "what": "bare pair", "best": 10, "median": 10 }, "ratio": 2.5, "ratioKind": "speed-up",
                  "limit": null, "ratioLimit": null, "allocatedBytes": 0, "kept": true, "missed": []
                },
                {
                  "name": "heavy", "what": "weigh", "state": "measured", "note": null, "unit": "B", "best": 8.4, "median": null, "rounds": null, "settled": null,
                  "baseline": null, "ratio": null, "ratioKind": null,
                  "limit": 64, "ratioLimit": null, "allocatedBytes": null, "kept": true, "missed": []
                },
                {
                  "name": "bad", "what": "fail", "state": "broke", "note": "InvalidOperationException: oh", "unit": "ns", "best": null, "median": null, "rounds": null, "settled": null,
                  "baseline": null, "ratio": null, "ratioKind": null,
                  "limit": null, "ratioLimit": null, "allocatedBytes": null, "kept": null, "missed": []
                }
              ]
            }
            """;
        Assert.Equal(JsonLaws.Normal(expected), JsonLaws.Normal(terminal.Files["out.json"]));
    }

    [Fact]
    public void Where_a_person_watches_there_is_a_bar()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, Run(terminal, "bench", here => here with { Terminal = true }, TestWorkload.Row("[E9]", _clock, 2)));
        Assert.Contains("[E9]: do [E9]", terminal.Out);
        Assert.Contains("100%", terminal.Out);
        Assert.DoesNotContain("[E9]: 2 ns", terminal.Out);
    }

    [Fact]
    public void The_real_rows_are_measured_in_processes_of_their_own()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run("bench --filter page --filter memory --time 0.02 --json out.json", here => here with { RowsHaveProcesses = true }));
        JsonElement[] rows = [.. JsonDocument.Parse(terminal.Files["out.json"]).RootElement.GetProperty("rows").EnumerateArray()];
        Assert.Equal(["E2 page", "E6 memory"], rows.Select(row => row.GetProperty("name").GetString()));
        Assert.All(rows, row => Assert.True(row.GetProperty("best").GetDouble() > 0));
        Assert.True(rows[0].GetProperty("ratio").GetDouble() > 0);
        // What is weighed is the same on every machine.
        Assert.True(rows[1].GetProperty("kept").GetBoolean());
    }

    [Fact]
    public void A_process_that_says_nothing_broke()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Environment, Run(terminal, "bench", here => here with { RowsHaveProcesses = true }, TestWorkload.Row("no-such-row", _clock, 2)));
        Assert.StartsWith(
            "verify: row no-such-row broke: its process ended with exit code 2: verify: --row: \"no-such-row\" is not a row; expected one of E1 bulk, ",
            terminal.OneErrorLine());
    }

    private int Run(Terminal terminal, string line, params Row[] rows) => Run(terminal, line, here => here, rows);

    private int Run(Terminal terminal, string line, Func<Surroundings, Surroundings> change, params Row[] rows) =>
        terminal.Run(line, here => change(here with { Rows = rows, Time = _clock, CompiledMethodCount = () => 0, WidthColumns = 160 }));

    /// <summary>A row of the table; a cell of several lines by its first.</summary>
    private static void AssertRow(string output, params string[] cells)
    {
        string[][] rows = [.. output.Split('\n').Where(line => line.StartsWith('│')).Select(line => line.Trim('│').Split('│').Select(cell => cell.Trim()).ToArray())];
        Assert.Equal(cells, Assert.Single(rows, row => row[0] == cells[0]));
    }
}

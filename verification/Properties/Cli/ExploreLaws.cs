using System.Reflection;
using System.Text;
using System.Text.Json;
using Harness.Failures;
using Harness.Schedules;
using Harness.Stages;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify explore</c> prints, writes and returns, with the worker that it starts.</summary>
[Trait("Category", "Schedules")]
public sealed class ExploreLaws
{
    private const string Planted = "explore --fault check-then-act --schedules 300 --workers 1";

    [Fact]
    public void A_planted_fault_is_shown_and_its_file_replays()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, terminal.Run(Planted + " --seed 7 --json out.json --failures found"));
        Assert.Empty(terminal.Error);
        Assert.StartsWith("300 schedules of all, planted check-then-act, 1 worker, seed 7\nreserve: I1 NoOverlap by ", terminal.Out);
        Assert.Matches(@"\n│ reserve +│ +\d+ │ +\d+ │ I1 NoOverlap by \w+ in schedule \d+ *│\n", terminal.Out);
        string path = Assert.Single(terminal.Files.Keys, static path => path != "out.json");
        Assert.Matches("^found/I1-NoOverlap-[0-9a-f]{12}\\.json$", path);
        Assert.Contains($"see it again: verify replay {path}\n", terminal.Out);
        Assert.Matches(@"\n1 violation: \d+ schedules in 0 s, \d+ behaviours, [\d,]+ checks, seed 7\n$", terminal.Out);

        FailureFile file = FailureFile.Parse(terminal.Files[path]);
        using var again = new Terminal(new ScheduleStage(Stages.ScheduleWorker));
        Assert.Equal(ExitCode.Violation, again.Run($"replay {again.Write("f.json", file.ToString())}"));
        Assert.Contains(again.Out, terminal.Out);
    }

    [Fact]
    public void A_schedule_is_unfolded_or_made_a_page_when_asked_for()
    {
        using var terminal = new Terminal(new ScheduleStage(Stages.ScheduleWorker));
        terminal.Run("explore --fault early-detach --schedules 300 --workers 1");
        string path = Assert.Single(terminal.Files.Keys);
        string before = terminal.Out;
        Assert.Equal(ExitCode.Violation, terminal.Run($"replay {path}"));
        string folded = terminal.Out[before.Length..];
        Assert.Contains(folded, before);
        Assert.Contains("     … ", folded);
        Assert.Equal(ExitCode.Violation, terminal.Run($"replay {path} --all --html shown.html"));
        string whole = terminal.Out[(before.Length + folded.Length)..];
        Assert.DoesNotContain("     … ", whole);
        Assert.True(whole.Length > folded.Length);
        Assert.StartsWith("<!DOCTYPE html>\n<html lang=\"en\">", terminal.Files["shown.html"]);
        Assert.Contains("I8 Isolation is broken", terminal.Files["shown.html"]);
        Assert.Empty(terminal.Error);
        Assert.Equal(ExitCode.BadInput, terminal.Run($"replay {path} --html nowhere/shown.html"));
        Assert.Equal("verify: --html: the directory of nowhere/shown.html does not exist; expected one that does", terminal.OneErrorLine());
    }

    [Theory]
    [InlineData("--all")]
    [InlineData("--html out.html")]
    public void What_has_no_schedule_is_not_shown_as_one(string options)
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException()), new ScheduleStage("nowhere"));
        terminal.Write("f.json", TestStage.FileOf("seq", Invariant.NoOverlap, "x").ToString());
        Assert.Equal(ExitCode.BadInput, terminal.Run($"replay f.json {options}"));
        Assert.Equal($"verify: {options.Split(' ')[0]}: f.json is of stage seq, which has no schedules; expected a file of schedules", terminal.OneErrorLine());
        Assert.Equal(["f.json"], terminal.Files.Keys);
    }

    [Fact]
    public void One_worker_and_a_number_of_schedules_do_the_same_each_time()
    {
        using var once = new Terminal();
        using var twice = new Terminal();
        Assert.Equal(ExitCode.Violation, once.Run(Planted));
        Assert.Equal(ExitCode.Violation, twice.Run(Planted));
        Assert.Equal(once.Out, twice.Out);
        Assert.Equal(once.Files, twice.Files);
    }

    [Fact]
    public void The_file_says_who_found_what_in_which_schedule()
    {
        using var terminal = new Terminal();
        terminal.Run(Planted + " --json out.json --strategy random --strategy prioritization");
        using JsonDocument json = JsonDocument.Parse(terminal.Files["out.json"]);
        JsonElement root = json.RootElement;
        Assert.Equal("vcmm-explore-1", root.GetProperty("format").GetString());
        Assert.Equal(300, root.GetProperty("budgetSchedules").GetInt64());
        Assert.Equal(JsonValueKind.Null, root.GetProperty("budgetSeconds").ValueKind);
        Assert.Equal(ExitCode.Violation, root.GetProperty("exitCode").GetInt32());
        JsonElement scenario = Assert.Single(root.GetProperty("scenarios").EnumerateArray());
        Assert.Equal("reserve", scenario.GetProperty("name").GetString());
        Assert.Equal(root.GetProperty("schedules").GetInt64(), scenario.GetProperty("schedules").GetInt64());
        JsonElement failure = Assert.Single(scenario.GetProperty("failures").EnumerateArray());
        Assert.Equal("I1", failure.GetProperty("invariant").GetString());
        Assert.Contains(failure.GetProperty("strategy").GetString(), (string[])["Random", "Prioritization"]);
        Assert.Equal(root.GetProperty("schedules").GetInt64(), failure.GetProperty("schedule").GetInt64());
        Assert.Contains(failure.GetProperty("file").GetString()!, terminal.Files.Keys);
    }

    [Fact]
    public void The_same_failure_found_by_two_workers_is_one()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, terminal.Run("explore --fault check-then-act --schedules 600 --workers 2"));
        Assert.Equal(terminal.Files.Count, terminal.Out.Split("see it again").Length - 1);
        Assert.Single(terminal.Files.Keys, static path => path.Contains("I1-NoOverlap", StringComparison.Ordinal));
    }

    /// <summary>With as many schedules two workers have the rounds that one has, each a part of them; by which strategy each chooses itself.</summary>
    [Fact]
    public void Rounds_and_seeds_of_workers_never_overlap()
    {
        // Whole rounds for both: four of 50 for each of the eleven scenarios that are written as code.
        var request = new ScheduleRequest(5) { Scenario = "code", Schedules = 2200, Workers = 1 };
        RoundMessage[] alone = Rounds(request, 0);
        RoundMessage[][] shared = [Rounds(request with { Workers = 2 }, 0), Rounds(request with { Workers = 2 }, 1)];
        Assert.All(shared, rounds => Assert.Equal(1100, rounds.Sum(static round => round.Schedules)));
        Assert.Equal(Keys(alone), Keys([.. shared[0], .. shared[1]]));
        Assert.Equal(alone.Length, alone.Select(static round => round.Seed).Distinct().Count());

        static string[] Keys(RoundMessage[] rounds) => [.. rounds.Select(static round => $"{round.Scenario} {round.Round} {round.Seed} {round.Schedules}").Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void What_does_not_divide_by_the_workers_is_run_to_the_last_schedule()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run("explore --scenario reserve --schedules 61 --workers 2"));
        Assert.Matches(@"\n│ reserve +│ +61 │ +\d+ │ nothing *│\n", terminal.Out);
        Assert.Matches(@"\nno violation: 61 schedules in 0 s, ", terminal.Out);
        Assert.Empty(terminal.Files);
    }

    [Fact]
    public void Where_every_schedule_was_run_it_is_said_and_where_they_were_cut_off_it_is_not()
    {
        using var whole = new Terminal();
        Assert.Equal(ExitCode.Clean, whole.Run("explore --scenario large-leaf --preemptions 0 --time 100 --json out.json"));
        Assert.Matches(@"\n│ large-leaf +│ +50 │ +\d+ │ nothing; these are all schedules with at most 0 interruptions *│\n", whole.Out);
        using JsonDocument json = JsonDocument.Parse(whole.Files["out.json"]);
        Assert.Equal(0, Assert.Single(json.RootElement.GetProperty("scenarios").EnumerateArray()).GetProperty("exhausted").GetInt32());

        using var part = new Terminal();
        Assert.Equal(ExitCode.Clean, part.Run("explore --scenario large-leaf --preemptions 0 --schedules 40 --workers 1"));
        Assert.Matches(@"\n│ large-leaf +│ +40 │ +\d+ │ nothing *│\n", part.Out);
    }

    [Fact]
    public void A_fault_falls_to_the_search_of_every_schedule()
    {
        using var terminal = new Terminal();
        // Whoever is interrupted once finds the page given back when he goes on.
        Assert.Equal(ExitCode.Clean, terminal.Run("explore --fault check-then-act --preemptions 1 --workers 1"));
        Assert.Contains("these are all schedules with at most 1 interruption ", terminal.Out);
        Assert.Equal(ExitCode.Violation, terminal.Run("explore --fault check-then-act --preemptions 2 --workers 1"));
        Assert.Matches(@"\n│ reserve +│ +[\d,]+ │ +\d+ │ I1 NoOverlap by every schedule in schedule [\d,]+ *│\n", terminal.Out);
        using var again = new Terminal(new ScheduleStage(Stages.ScheduleWorker));
        Assert.Equal(ExitCode.Violation, again.Run($"replay {again.Write("f.json", Assert.Single(terminal.Files).Value)}"));
    }

    [Fact]
    public void Where_a_person_watches_the_rate_behaviours_and_failures_are_shown_live()
    {
        using var terminal = new Terminal();
        terminal.Run(Planted, static here => here with { Terminal = true });
        Assert.Matches("\r\u001b\\[K +\\d+% \\d+ schedules, \\d+ a second, \\d+ behaviours, [01] failed \\(reserve, \\w+\\)", terminal.Out);
        Assert.Matches("\r\u001b\\[Kreserve: I1 NoOverlap by ", terminal.Out);
    }

    [Fact]
    public void A_stop_ends_it_with_the_table_so_far()
    {
        using var stop = new CancellationTokenSource();
        using var terminal = new Terminal();
        var watched = new Watched(text =>
        {
            if (text.Contains(" a second, ", StringComparison.Ordinal) && !text.Contains(" 0 schedules", StringComparison.Ordinal)) stop.Cancel();
        });
        Assert.Equal(ExitCode.Clean, terminal.Run("explore --scenario reserve --time 100 --workers 1", here => here with { Terminal = true, Out = watched, Stop = stop.Token, Time = TimeProvider.System }));
        Assert.Contains("stopped by the user before 100 s were over\n", watched.ToString());
    }

    [Fact]
    public void What_there_is_is_listed_with_a_line_for_each()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run("explore --list"));
        Assert.Matches(@"\n  back-unback +back and unback against device access on the same VCM\n", terminal.Out);
        Assert.Matches(@"\n  protect-deassociate +\w", terminal.Out);
        Assert.Matches(@"\n  QLearning +\w", terminal.Out);
        Assert.Matches(@"\n  forget-sync +an invalidation is queued and not waited for \(unback-access\)\n", terminal.Out);
        Assert.All(terminal.Out.TrimEnd('\n').Split('\n').Where(static line => line.StartsWith(' ')), static line => Assert.Matches(@"^  \S+ +\S", line));
    }

    [Theory]
    [InlineData("--scenario nothing", "--scenario is \"nothing\"; expected one of back-unback")]
    [InlineData("--strategy nothing", "--strategy is \"nothing\"; expected one of Random")]
    [InlineData("--fault nothing", "--fault is \"nothing\"; expected one of none")]
    public void A_name_that_does_not_exist_is_bad_input(string options, string message)
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.BadInput, terminal.Run($"explore --schedules 50 {options}"));
        Assert.StartsWith("verify: " + message, terminal.OneErrorLine());
        Assert.Empty(terminal.Files);
    }

    [Fact]
    public void Without_the_worker_the_environment_is_at_fault()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Environment, terminal.Run("explore", static here => here with { ScheduleWorker = "nowhere.dll" }));
        Assert.StartsWith("verify: nothing can be explored here: the schedule explorer is not at nowhere.dll; dotnet build ", terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
    }

    [Fact]
    public void A_worker_that_breaks_down_is_one_line_after_the_table()
    {
        using var terminal = new Terminal();
        // An assembly that no process can begin with.
        Assert.Equal(ExitCode.Environment, terminal.Run("explore --schedules 50 --workers 1", static here => here with { ScheduleWorker = typeof(FailureFile).Assembly.Location }));
        Assert.StartsWith("verify: the exploration broke: the schedule explorer ended with ", terminal.OneErrorLine());
        Assert.Contains("nothing was checked", terminal.Out);
    }

    [Fact]
    public void A_worker_whose_assemblies_are_not_rewritten_is_the_environment()
    {
        string original = typeof(ExploreLaws).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static data => data.Key == "OriginalWorker").Value!;
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Environment, terminal.Run("explore --schedules 50 --workers 2", here => here with { ScheduleWorker = original }));
        Assert.Equal(
            "verify: the exploration broke: Platform.dll is not rewritten for controlled schedules; run the worker from the folder controlled/", terminal.OneErrorLine());
        Assert.Contains("nothing was checked", terminal.Out);
    }

    private static RoundMessage[] Rounds(ScheduleRequest request, int worker)
    {
        using var workers = new ScheduleWorkers();
        workers.Start(Stages.ScheduleWorker, request.ArgumentsOf(worker)!);
        var rounds = new List<RoundMessage>();
        while (workers.TryTake(Timeout.InfiniteTimeSpan, out WorkerMessage? message))
        {
            if (message is RoundMessage round) rounds.Add(round);
        }

        return [.. rounds];
    }

    /// <summary>Output that somebody looks at while it is written.</summary>
    private sealed class Watched(Action<string> look) : StringWriter
    {
        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(string? value)
        {
            base.Write(value);
            look(value ?? "");
        }
    }
}

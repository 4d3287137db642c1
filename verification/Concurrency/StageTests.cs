using Harness;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>The stage of the command line, with the worker that it starts.</summary>
public sealed class StageTests
{
    private static readonly string Worker = Path.Combine(AppContext.BaseDirectory, "controlled", "explorer.dll");
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(5);

    [Fact]
    public void A_planted_fault_ends_the_stage_and_replays_byte_for_byte()
    {
        // Far more budget than it takes: the stage ends because nothing is left to explore.
        var stage = new ScheduleStage(Worker) { Fault = "check-then-act", Workers = 2 };
        StageReport report = stage.Run(Context.For(Long));
        StageFailure failure = Assert.Single(report.Failures);
        Assert.Equal(Invariant.NoOverlap, failure.Invariant);
        Assert.Contains(report.Checks, check => check.Key == Invariant.NoOverlap && check.Value > 0);

        FailureFile file = FailureFile.Parse(failure.FileContent!);
        Assert.Equal(failure, stage.Replay(file));
        Assert.Equal(failure, stage.Replay(file));
    }

    [Fact]
    public void A_brief_stage_tells_a_schedule_as_it_was_found()
    {
        var stage = new ScheduleStage(Worker) { Scenario = "reserve", Fault = "check-then-act", Workers = 1 };
        StageContext context = Context.For(Long);
        FailureFile shrunk = FailureFile.Parse(Assert.Single(stage.Run(context).Failures).FileContent!);
        FailureFile found = FailureFile.Parse(Assert.Single(stage.Run(context with { IsBrief = true }).Failures).FileContent!);
        Assert.Equal(shrunk.Invariant, found.Invariant);
        Assert.NotEqual(shrunk.Schedule, found.Schedule);
    }

    [Fact]
    public void The_library_runs_until_it_is_told_to_stop()
    {
        using var stop = new CancellationTokenSource();
        var stage = new ScheduleStage(Worker) { Workers = 1 };
        var seen = new List<string>();
        StageReport report = stage.Run(Context.For(
            Long,
            progress =>
            {
                seen.Add(progress.Text);
                if (!progress.Text.StartsWith("0 ", StringComparison.Ordinal)) stop.Cancel();
            },
            stop.Token));
        Assert.Empty(report.Failures);
        Assert.Equal(["schedules", "steps", "behaviours"], report.Ran.Select(ran => ran.What));
        Assert.All(report.Ran, ran => Assert.InRange(ran.Count, 1, long.MaxValue));
        Assert.NotEmpty(seen);
    }

    [Fact]
    public void What_is_missing_is_said_in_one_line()
    {
        Assert.Null(new ScheduleStage(Worker).Missing);
        string? missing = new ScheduleStage(Path.Combine(AppContext.BaseDirectory, "nowhere.dll")).Missing;
        Assert.NotNull(missing);
        Assert.Contains("dotnet build", missing);
        Assert.DoesNotContain('\n', missing);
    }

    [Theory]
    [InlineData("name", "nothing", "scenario.name is \"nothing\"; expected one of back-unback")]
    [InlineData("fault", "nothing", "scenario.fault is \"nothing\"; expected one of none")]
    [InlineData("strategy", "7", "scenario.strategy is \"7\"; expected one of Random")]
    [InlineData("seed", "x", "scenario.seed is not a number; expected 0 to")]
    [InlineData("speed", "x", "scenario.speed is unknown; expected name")]
    [InlineData("interruptions", "x", "scenario.interruptions is not understood; expected how many")]
    public void A_file_that_names_what_does_not_exist_is_refused_by_the_field(string field, string value, string message)
    {
        FailureFile file = Sample("{}");
        file.Scenario[field] = value;
        Assert.StartsWith(message, Assert.Throws<BadInputException>(() => Explorer.Reporting.FailureReport.Replay(file)).Message);
    }

    [Fact]
    public void A_file_without_a_usable_schedule_is_refused()
    {
        Assert.StartsWith("schedule is missing", Assert.Throws<BadInputException>(() => new ScheduleStage(Worker).Replay(Sample(null))).Message);
        Assert.StartsWith("schedule is not", Assert.Throws<BadInputException>(() => new ScheduleStage(Worker).Replay(Sample("no trace"))).Message);
    }

    [Fact]
    public void A_scenario_that_does_not_exist_is_refused() => Assert.StartsWith(
        "--scenario is \"nothing\"",
        Assert.Throws<BadInputException>(() => new ScheduleStage(Worker) { Scenario = "nothing", Workers = 1 }.Run(Context.For(Long))).Message);

    private static FailureFile Sample(string? schedule) => new()
    {
        Format = FailureFile.Magic,
        Stage = "schedules",
        Invariant = Invariant.NoOverlap,
        Observed = "",
        Expected = "",
        Scenario = new System.Text.Json.Nodes.JsonObject
        {
            ["name"] = "reserve", ["fault"] = "none", ["strategy"] = "Random", ["bound"] = 10, ["seed"] = 1,
        },
        Schedule = schedule,
    };
}

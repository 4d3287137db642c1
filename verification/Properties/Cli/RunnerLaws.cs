using CsCheck;
using Harness.Generating;
using Harness.Stages;
using Verify.Running;

namespace Properties.Cli;

/// <summary>How stages share a budget, and how they end.</summary>
public sealed class RunnerLaws
{
    /// <summary>Only a run that never ends reaches it.</summary>
    private const int PatienceMs = 30_000;

    private static readonly TimeSpan Minute = TimeSpan.FromSeconds(60);
    private readonly FakeClock _clock = new();
    private readonly List<TimeSpan> _budgets = [];

    [Fact]
    public void Stages_share_the_budget_equally()
    {
        Run(Minute, Taking("a", budget => budget), Taking("b", budget => budget), Taking("c", budget => budget));
        Assert.Equal([Seconds(20), Seconds(20), Seconds(20)], _budgets);
    }

    [Fact]
    public void A_stage_that_ends_early_leaves_its_time_to_those_after_it()
    {
        Run(Minute, Taking("a", _ => Seconds(2)), Taking("b", budget => budget), Taking("c", budget => budget));
        Assert.Equal([Seconds(20), Seconds(29), Seconds(29)], _budgets);
    }

    [Fact]
    public void A_stage_that_cannot_run_takes_no_share()
    {
        RunOutcome outcome = Run(
            Minute, Taking("a", budget => budget), new TestStage("b", _ => throw new InvalidOperationException("ran")) { Missing = "no b" }, Taking("c", budget => budget));
        Assert.Equal([Seconds(30), Seconds(30)], _budgets);
        Assert.Equal([StageState.Ran, StageState.Missing, StageState.Ran], outcome.Stages.Select(stage => stage.State));
        Assert.Equal("no b", outcome.Stages[1].Note);
    }

    [Fact]
    public void A_stage_that_takes_too_long_leaves_a_tenth_of_a_share_to_each_other()
    {
        Run(Minute, Taking("a", _ => Seconds(100)), Taking("b", budget => budget), Taking("c", budget => budget));
        Assert.Equal([Seconds(20), Seconds(2), Seconds(2)], _budgets);
    }

    [Fact]
    public void Stages_that_keep_to_their_budget_keep_the_run_to_its_own_and_none_gets_less_than_an_equal_share()
    {
        Gen.Select(Gen.Int[1, 600_000], Gen.Int[0, 100].Array[1, 8]).ForAll(
            300,
            (milliseconds, percents) =>
            {
                var clock = new FakeClock();
                var budgets = new List<TimeSpan>();
                TimeSpan budget = TimeSpan.FromMilliseconds(milliseconds);
                IStage[] stages = [.. percents.Select((percent, i) => TestStage.Taking($"s{i}", clock, share => share * (percent / 100.0), budgets))];
                RunOutcome outcome = Run(budget, clock, CancellationToken.None, stages);
                Assert.Equal(stages.Length, budgets.Count);
                Assert.True(outcome.Elapsed <= budget + TimeSpan.FromTicks(stages.Length), $"{outcome.Elapsed} of {budget}");
                Assert.All(budgets, share => Assert.True(share >= (budget / stages.Length) - TimeSpan.FromTicks(stages.Length), $"{share} of {budget}"));
                if (percents[0] == 0 && percents.Length > 1) Assert.True(budgets[1] > budgets[0]);
            });
    }

    [Fact]
    public void A_stage_runs_on_a_thread_of_its_own_with_the_seed_the_clock_and_its_budget()
    {
        StageContext? seen = null;
        (Thread Thread, bool IsBackground, string? Name)? on = null;
        Run(Minute, new TestStage("a", context =>
        {
            seen = context;
            on = (Thread.CurrentThread, Thread.CurrentThread.IsBackground, Thread.CurrentThread.Name);
            return TestStage.ReportOf("a", Seconds(1));
        }));
        Assert.Equal((42ul, Minute), (seen!.Seed, seen.Budget));
        Assert.Same(_clock, seen.Time);
        Assert.NotSame(Thread.CurrentThread, on!.Value.Thread);
        Assert.Equal((true, "a"), (on.Value.IsBackground, on.Value.Name));
    }

    [Fact]
    public void Progress_is_passed_on_with_its_fraction_held_between_none_and_all()
    {
        var observer = new Notes();
        var stage = new TestStage("a", context =>
        {
            foreach (double fraction in new[] { -1, double.NaN, 0.5, 7 }) context.Progress(new StageProgress(fraction, "at it"));
            return TestStage.ReportOf("a", Seconds(1));
        });
        new Runner(_clock, CancellationToken.None, observer).Run(Plan(Minute, stage));
        Assert.Equal(["start a 60", "a 0 at it", "a 0 at it", "a 0.5 at it", "a 1 at it", "end a Ran"], observer.Lines);
    }

    [Fact]
    public void A_stop_reaches_the_running_stage_keeps_its_report_and_starts_no_other()
    {
        using var stop = new CancellationTokenSource();
        var first = new TestStage("a", context =>
        {
            stop.Cancel();
            context.Stop.WaitHandle.WaitOne();
            return TestStage.ReportOf("a", Seconds(1));
        });
        RunOutcome outcome = Run(Minute, _clock, stop.Token, first, Taking("b", budget => budget));
        Assert.Equal([StageState.Ran, StageState.NotStarted], outcome.Stages.Select(stage => stage.State));
        Assert.True(outcome.Stopped);
        Assert.Empty(_budgets);
    }

    [Fact(Timeout = PatienceMs)]
    public async Task A_stage_that_is_deaf_to_the_stop_is_left_behind_within_a_second()
    {
        Assert.True(Runner.Grace < Seconds(1));
        using var stop = new CancellationTokenSource();
        using var deaf = new Deaf();
        Task<RunOutcome> run = Task.Run(() => Run(Minute, _clock, stop.Token, deaf.Stage));
        deaf.Started.Wait();
        await stop.CancelAsync();
        _clock.Advance(Runner.Grace - TimeSpan.FromTicks(1));
        Assert.False(run.IsCompleted);
        _clock.Advance(TimeSpan.FromTicks(1));
        StageOutcome outcome = Assert.Single((await run).Stages);
        Assert.Equal(StageState.Stopped, outcome.State);
        Assert.Contains("did not stop", outcome.Note);
    }

    [Fact(Timeout = PatienceMs)]
    public async Task A_stage_that_hangs_is_told_to_stop_and_left_behind_and_the_next_one_runs()
    {
        using var deaf = new Deaf();
        Task<RunOutcome> run = Task.Run(() => Run(Minute, deaf.Stage, Taking("b", budget => budget)));
        deaf.Started.Wait();
        _clock.Advance(Seconds(30) + Runner.Overrun - TimeSpan.FromTicks(1));
        Assert.False(deaf.Context!.Stop.IsCancellationRequested);
        _clock.Advance(TimeSpan.FromTicks(1));
        Assert.True(deaf.Context.Stop.IsCancellationRequested);
        Assert.False(run.IsCompleted);
        _clock.Advance(Runner.Grace);
        RunOutcome outcome = await run;
        Assert.Equal([StageState.Broke, StageState.Ran], outcome.Stages.Select(stage => stage.State));
        Assert.Equal("it did not end within 90 s", outcome.Stages[0].Note);
        Assert.False(outcome.Stopped);
    }

    [Fact]
    public void A_stage_that_throws_is_broken_unless_the_user_stopped_it()
    {
        using var stop = new CancellationTokenSource();
        var throws = new TestStage("a", _ => throw new InvalidOperationException("oh"));
        var throwsWhenStopped = new TestStage("b", _ =>
        {
            stop.Cancel();
            throw new IOException("the pipe is gone");
        });
        RunOutcome outcome = Run(Minute, _clock, stop.Token, throws, throwsWhenStopped);
        Assert.Equal([StageState.Broke, StageState.Stopped], outcome.Stages.Select(stage => stage.State));
        Assert.Equal(["InvalidOperationException: oh", "it was stopped: the pipe is gone"], outcome.Stages.Select(stage => stage.Note));
    }

    private TestStage Taking(string name, Func<TimeSpan, TimeSpan> ofBudget) => TestStage.Taking(name, _clock, ofBudget, _budgets);

    private RunOutcome Run(TimeSpan budget, params IStage[] stages) => Run(budget, _clock, CancellationToken.None, stages);

    private static RunOutcome Run(TimeSpan budget, FakeClock clock, CancellationToken stop, params IStage[] stages) =>
        new Runner(clock, stop, new Notes()).Run(Plan(budget, stages));

    private static RunPlan Plan(TimeSpan budget, params IStage[] stages) => RunPlan.Of(stages, [], strict: false, 42, budget);

    private static TimeSpan Seconds(int count) => TimeSpan.FromSeconds(count);

    /// <summary>Writes down what it is told.</summary>
    private sealed class Notes : IRunObserver
    {
        public List<string> Lines { get; } = [];

        public void Started(string stage, TimeSpan budget) => Lines.Add($"start {stage} {budget.TotalSeconds}");

        public void Progressed(string stage, StageProgress progress) => Lines.Add($"{stage} {progress.Fraction} {progress.Text}");

        public void Ended(StageOutcome outcome) => Lines.Add($"end {outcome.Name} {outcome.State}");
    }

    /// <summary>A stage that does not end until the test does.</summary>
    private sealed class Deaf : IDisposable
    {
        private readonly ManualResetEventSlim _over = new();

        public Deaf() => Stage = new TestStage("deaf", context =>
        {
            Context = context;
            Started.Set();
            _over.Wait();
            return TestStage.ReportOf("deaf", TimeSpan.Zero);
        });

        public ManualResetEventSlim Started { get; } = new();

        public StageContext? Context { get; private set; }

        public TestStage Stage { get; }

        // Not disposed with the events: the thread that was left behind still waits on one.
        public void Dispose() => _over.Set();
    }
}

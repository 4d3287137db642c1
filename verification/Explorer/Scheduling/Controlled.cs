using Explorer.Races;
using System.Reflection;
using System.Text.Json;
using Explorer.Scheduling.Choosers;
using Harness;
using Microsoft.Coyote;
using Microsoft.Coyote.Logging;
using Microsoft.Coyote.Random;
using Microsoft.Coyote.Rewriting;
using Microsoft.Coyote.Runtime;
using Microsoft.Coyote.Specifications;
using Microsoft.Coyote.SystematicTesting;
using Vcmm.Spec;
using CoyoteOperation = Microsoft.Coyote.Runtime.Operation;

namespace Explorer.Scheduling;

/// <summary>
/// Running code under a scheduler that decides every step, again and again in other orders. Only this file and
/// <see cref="SchedulerHooks"/> know which scheduler: what the scenarios need of one is here.
/// </summary>
/// <remarks>
/// The assemblies under control must be the rewritten ones (<see cref="IsRewritten"/>); on any other the tasks run as they
/// please, every test passes, and nothing has been tested.
/// </remarks>
public static class Controlled
{
    /// <summary>After so many steps a fair strategy chooses at random. A schedule of most scenarios has more.</summary>
    private const uint StepsBeforeFair = 100;

    private const uint SeedStep = 7919;

    private const uint NeverMilliseconds = 24 * 60 * 60 * 1000;

    // One task runs at a time, so a plain field will do.
    private static int _quietScopes;

    [ThreadStatic]
    private static int _ownQuietScopes;

    /// <summary>Runs <paramref name="body"/> in many schedules, until one fails or the plan is done.</summary>
    /// <param name="plan">How.</param>
    /// <param name="body">One run; makes everything it uses anew.</param>
    /// <param name="finished">Given what each schedule recorded.</param>
    public static Exploration Explore(ExplorationPlan plan, Action<Attempt> body, Action<Attempt>? finished = null)
    {
        Exploration all = Part(plan);
        // The scheduler ends where nobody can go on. If that is muted the schedules that are left follow, with a seed of their own.
        for (uint part = 1; all.Failure is null && all.MutedEnds.Count == part && all.Schedules < plan.Schedules && plan.Stop?.Invoke() != true; part++)
            all = all.And(Part(plan with { Seed = unchecked(plan.Seed + SeedStep * part) & int.MaxValue, Schedules = plan.Schedules - all.Schedules }));
        return all;

        Exploration Part(ExplorationPlan part) =>
            Run(part, Configure(part).WithTestingIterations((uint)part.Schedules), part.Stop, body, finished, ChooserOf(part)).WithMuted(part.Muted);
    }

    /// <summary>
    /// Runs <paramref name="body"/> in every schedule in which at most <paramref name="preemptions"/> times a task is interrupted that could
    /// have gone on, until one fails.
    /// </summary>
    /// <param name="plan">Its strategy and seed are not used. If <see cref="ExplorationPlan.Schedules"/> are not enough, the rest is left out.</param>
    /// <param name="preemptions">How many interruptions, 0 ….</param>
    /// <param name="body">One run; makes everything it uses anew.</param>
    /// <param name="finished">Given what each schedule recorded.</param>
    /// <param name="goesOn">Given each failure; true runs the schedules that are left, too. Null ends at the first.</param>
    /// <returns>Whether there is no other such schedule, and what was found: of several failures the first.</returns>
    /// <exception cref="UnsoundException">The body does not depend on the schedule alone.</exception>
    public static (bool IsComplete, Exploration Result) Exhaust(
        ExplorationPlan plan, int preemptions, Action<Attempt> body, Action<Attempt>? finished = null, Func<ScheduleFailure, bool>? goesOn = null)
    {
        var search = new BoundedSearch(preemptions);
        Exploration result = Exhaust(plan, search, body, finished, goesOn);
        return (search.IsDone, result);
    }

    /// <summary>The same, a part of it: goes on where <paramref name="search"/> is, and leaves the rest to the next call.</summary>
    /// <exception cref="UnsoundException">The body does not depend on the schedule alone.</exception>
    public static Exploration Exhaust(
        ExplorationPlan plan, BoundedSearch search, Action<Attempt> body, Action<Attempt>? finished = null, Func<ScheduleFailure, bool>? goesOn = null)
    {
        bool Stop() => search.IsDone || (plan.Stop is not null && plan.Stop());
        plan = plan with { Strategy = Strategy.Random };
        Configuration configuration = Configure(plan);
        var result = new Exploration { Schedules = 0, Steps = 0, Uncontrolled = [], MostRunnable = 0, Failure = null };
        // What is left of a part when the search is done runs empty: so the parts are small at first.
        for (int part = 64; result.Schedules < plan.Schedules && !Stop(); part = Math.Min(2 * part, 4096))
        {
            int schedules = Math.Min(part, plan.Schedules - result.Schedules);
            Exploration next = Run(plan, configuration.WithTestingIterations((uint)schedules), Stop, body, finished, search).WithMuted(plan.Muted);
            result = result.And(next);
            if (next.Failure is { } failure && (goesOn is null || !goesOn(failure))) break;
        }

        if (search.Error is not null) throw new UnsoundException(search.Error);
        return result;
    }

    /// <summary>Runs the schedule that <paramref name="trace"/> describes.</summary>
    /// <param name="plan">The plan by which it was found.</param>
    /// <param name="trace"><see cref="ScheduleFailure.Trace"/>.</param>
    /// <param name="body">As it was then.</param>
    /// <exception cref="BadInputException">It is no trace, or the body has changed since.</exception>
    public static Exploration Replay(ExplorationPlan plan, string trace, Action<Attempt> body)
    {
        try
        {
            using var parsed = JsonDocument.Parse(trace);
        }
        catch (JsonException e)
        {
            throw new BadInputException($"schedule is not the scheduler's trace: {e.Message.ReplaceLineEndings(" ")}");
        }

        bool isComplete = false;
        Exploration result = Run(
            plan,
            Configure(plan).WithTestingIterations(1).WithReproducibleTrace(trace), null,
            attempt =>
            {
                body(attempt);
                isComplete = true;
            },
            null,
            null);
        // The scheduler gives up where the program asks for another step than the one recorded.
        if (result.Failure is { } failure) return result with { Failure = failure with { Trace = trace } };
        return isComplete
            ? result
            : throw new BadInputException("schedule does not fit this build: the program does not take the steps that were recorded");
    }

    /// <summary>A point at which another task may go on.</summary>
    public static void Step() => SchedulingPoint.Interleave();

    /// <summary>Lets others go on until the condition holds. It must depend on nothing but what tasks do.</summary>
    public static void WaitUntil(Func<bool> condition) => CoyoteOperation.PauseUntil(condition);

    /// <summary>One of 0 … <paramref name="count"/>-1; part of the schedule.</summary>
    public static int Choose(int count) => Generator.Create().NextInteger(count);

    /// <summary>
    /// Runs <paramref name="work"/> as if there were no scheduler. Only while no other task of the schedule is under way: before
    /// the first starts, and after the last has ended.
    /// </summary>
    public static void Outside(Action work)
    {
        try
        {
            Bystander.Run(work);
        }
        catch (FailedOutsideException e)
        {
            Specification.Assert(false, e.Message);
        }
    }

    /// <summary>
    /// Nothing of what is done until the scope is disposed is a scheduling point: for looking without being seen. Scopes nest.
    /// </summary>
    public static QuietScope Quietly()
    {
        _ownQuietScopes++;
        if (_quietScopes++ == 0) SchedulingPoint.Suppress();
        return default;
    }

    /// <summary>Whether what is done is under <see cref="Quietly"/>.</summary>
    public static bool IsQuiet => _quietScopes != 0;

    /// <summary>
    /// Whether the calling thread itself looks on. While somebody who does waits for a lock others go on, and what they do is under a scope that is not theirs.
    /// </summary>
    internal static bool IsCallerQuiet => _ownQuietScopes != 0;

    internal static void EndQuiet()
    {
        _ownQuietScopes--;
        if (--_quietScopes == 0) SchedulingPoint.Resume();
    }

    /// <summary>Ends the schedule as failed.</summary>
    public static void Fail(string message)
    {
        if (Bystander.IsCaller) throw new FailedOutsideException(message);
        Specification.Assert(false, message);
    }

    /// <summary>Whether the scheduler controls what the assembly does.</summary>
    public static bool IsRewritten(Assembly assembly) => assembly.GetCustomAttribute<RewritingSignatureAttribute>() is not null;

    private static Exploration Run(
        ExplorationPlan plan, Configuration configuration, Func<bool>? stop, Action<Attempt> body, Action<Attempt>? finished, IChooser? chooser)
    {
        Gates.SetFor(plan);
        var attempt = new Attempt { Muted = plan.Muted };
        int schedules = 0;
        bool stopped = false;
        // The engine's own stop would leave a schedule running behind our back; the few that are left run empty instead.
        using var engine = TestingEngine.Create(configuration, () =>
        {
            if (!stopped) body(attempt);
        });
        engine.SetLogger(new MemoryLogger(VerbosityLevel.None));
        engine.RegisterStartIterationCallBack(_ =>
        {
            stopped = stopped || (stop is not null && stop());
            Attempt.AwaitAgents();
            attempt = new() { Muted = plan.Muted };
            _quietScopes = 0;
            VectorClocks.Current.Begin();
            if (!stopped) chooser?.Begin();
        });
        engine.RegisterEndIterationCallBack(_ =>
        {
            attempt.End();
            if (stopped) return;
            chooser?.End();
            schedules++;
            finished?.Invoke(attempt);
        });
        if (chooser is not null) SchedulerHooks.Install(engine, chooser);
        engine.Run();

        TestReport report = engine.TestReport;
        if (report.InternalErrors.Count != 0)
            throw new InvalidOperationException("the scheduler failed: " + string.Join("; ", report.InternalErrors));
        if (Gates.TellsFields && !Gates.ToldField)
            throw new UnsoundException("no plain field was a step: the assemblies are rewritten without them, or nothing has any");
        return new()
        {
            Schedules = schedules,
            Steps = report.TotalExploredFairSteps + report.TotalExploredUnfairSteps,
            Uncontrolled = [.. report.UncontrolledInvocations.Order(StringComparer.Ordinal)],
            // The scheduler counts the task that starts the others, which can go on while it does.
            MostRunnable = Math.Max(0, report.MaxConcurrencyDegree - 1),
            Failure = report.NumOfFoundBugs == 0
                ? null
                : new(attempt, attempt.Violation ?? Name(attempt, report.BugReports.First()), engine.ReproducibleTrace),
        };
    }

    private static Configuration Configure(ExplorationPlan plan)
    {
        Configuration configuration = Configuration.Create()
            .WithRandomGeneratorSeed(plan.Seed)
            .WithMaxSchedulingSteps((uint)plan.MaxSteps, (uint)plan.MaxSteps)
            .WithFailureOnMaxStepsBoundEnabled(true)
            .WithPartiallyControlledConcurrencyAllowed(false)
            .WithPartiallyControlledDataNondeterminismAllowed(false)
            .WithSystematicFuzzingFallbackEnabled(false)
            // A deadlock among controlled tasks is seen at once; the one that a clock suspects would make results depend on the machine.
            .WithPotentialDeadlocksReportedAsBugs(false)
            // The suspicion alone ends the schedule, silently, while a bystander that is slow on a busy machine still sets up.
            .WithDeadlockTimeout(NeverMilliseconds)
            .WithLockAccessRaceCheckingEnabled(true)
            .WithAtomicOperationRaceCheckingEnabled(true)
            .WithVolatileOperationRaceCheckingEnabled(true)
            .WithCollectionAccessRaceCheckingEnabled(plan.Grain == Grain.PlainFields)
            .WithMemoryAccessRaceCheckingEnabled(plan.Grain == Grain.PlainFields)
            // A graph of who went on after whom, which nothing here reads, at half of the time and most of the memory.
            .WithTraceAnalysisEnabled(false)
            .WithConsoleLoggingEnabled(false)
            .WithTelemetryEnabled(false);
        return plan.Strategy switch
        {
            Strategy.Random => configuration.WithRandomStrategy(),
            Strategy.Probabilistic => configuration.WithProbabilisticStrategy((uint)plan.Bound),
            Strategy.Prioritization => configuration.WithPrioritizationStrategy(isFair: false, (uint)plan.Bound),
            Strategy.DelayBounding => configuration.WithDelayBoundingStrategy(isFair: false, (uint)plan.Bound),
            Strategy.QLearning => configuration.WithQLearningStrategy(),
            Strategy.FairPrioritization => FairAfter(configuration, plan).WithPrioritizationStrategy(isFair: true, (uint)plan.Bound),
            Strategy.FairDelayBounding => FairAfter(configuration, plan).WithDelayBoundingStrategy(isFair: true, (uint)plan.Bound),
            // The chooser's.
            Strategy.PartialOrderSampling => configuration.WithRandomStrategy(),
            _ => throw new ArgumentOutOfRangeException(nameof(plan), plan.Strategy, "no such strategy"),
        };
    }

    private static Configuration FairAfter(Configuration configuration, ExplorationPlan plan) =>
        configuration.WithMaxSchedulingSteps(StepsBeforeFair, (uint)plan.MaxSteps);

    /// <summary>A strategy of our own; null: one of the scheduler's.</summary>
    private static IChooser? ChooserOf(ExplorationPlan plan) =>
        plan.Strategy == Strategy.PartialOrderSampling ? new PartialOrderSampling(plan.Seed) : null;

    /// <summary>What is broken if no check said so.</summary>
    private static Violation Name(Attempt attempt, string report)
    {
        if (report.Contains("uncontrolled", StringComparison.OrdinalIgnoreCase))
            throw new UnsoundException("not controlled: " + report);
        string agents = string.Join(", ", attempt.InCalls().Select(call => $"{call.Agent} in {call.Text}"));
        if (report.Contains("Deadlock detected", StringComparison.Ordinal))
            return new(Invariant.Progress, $"nobody can go on: {agents}", "every operation returns");
        if (report.Contains("steps bound of", StringComparison.Ordinal))
            return new(Invariant.Progress, $"somebody goes on for ever: {agents}", "every operation returns");
        // The rest names files and lines of whoever built it.
        string firstLine = report.Split('\n')[0].Trim();
        return new(Invariant.Linearizable, $"{firstLine} ({agents})", "what the operations return in some order one after the other");
    }
}

/// <summary>Carries a failed check from the bystander to the schedule.</summary>
internal sealed class FailedOutsideException(string message) : Exception(message);

/// <summary>While it lasts, nothing is a scheduling point.</summary>
public readonly ref struct QuietScope
{
    /// <summary>Ends it.</summary>
    public void Dispose() => Controlled.EndQuiet();
}

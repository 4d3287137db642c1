using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;

namespace Concurrency;

/// <summary>An exploration that could find nothing whatever is wrong is not clean: it fails, and names the scenario. (Assemblies that are not rewritten: <see cref="RewritingGuard"/>.)</summary>
public sealed class GuardTests
{
    [Fact]
    public void Two_agents_that_run_beside_each_other_are_enough() => Run(static attempt =>
    {
        Task[] both = [Task.Run(() => Act(attempt, "one")), Task.Run(() => Act(attempt, "two"))];
        Task.WaitAll(both);
    });

    [Fact]
    public void A_scenario_of_one_agent_is_unsound() => Assert.Equal(
        "scenario sample: in none of 50 schedules could two agents go on at the same time, so there was no order to choose",
        Assert.Throws<UnsoundException>(() => Run(static attempt => Task.Run(() => Act(attempt, "one")).Wait())).Message);

    [Fact]
    public void A_scenario_of_agents_that_run_one_after_the_other_is_unsound() => Assert.Contains(
        "could two agents go on at the same time",
        Assert.Throws<UnsoundException>(() => Run(static attempt =>
        {
            Task.Run(() => Act(attempt, "one")).Wait();
            Task.Run(() => Act(attempt, "two")).Wait();
        })).Message);

    [Fact]
    public void An_agent_on_a_thread_of_its_own_is_unsound() => Assert.Equal(
        "scenario sample: agent stray ran on a thread that the scheduler does not control",
        Assert.Throws<UnsoundException>(() => Run(static attempt =>
        {
            Task[] both = [Task.Run(() => Act(attempt, "one")), Task.Run(() => Stray.Run(() => Act(attempt, "stray")))];
            Task.WaitAll(both);
        })).Message);

    [Fact]
    public void An_agent_that_uses_what_the_scheduler_does_not_control_is_unsound() => Assert.Contains(
        "not controlled",
        Assert.Throws<UnsoundException>(() => Run(static attempt =>
        {
            Task[] both = [Task.Run(() => Act(attempt, "one")), Task.Run(static () =>
            {
                using var gate = new ReaderWriterLockSlim();
                gate.EnterReadLock();
                gate.ExitReadLock();
            })];
            Task.WaitAll(both);
        })).Message);

    private static void Act(Attempt attempt, string agent)
    {
        Attempt.Agent = agent;
        for (int i = 0; i < 3; i++)
        {
            Controlled.Step();
            attempt.Note(EventKind.Call, text: $"{i}");
            attempt.Note(EventKind.Return, text: $"{i} = done");
        }
    }

    private static void Run(Action<Attempt> agents)
    {
        var scenario = new ConcurrentScenario("sample", "agents of a test", [], (attempt, _, _) => new Prepared(() => agents(attempt), static () => { }));
        new Campaign(scenario, PlantedFault.None, new(1)).Run(0);
    }

    /// <summary>Starts a thread of which the scheduler knows nothing.</summary>
    [SkipRewriting("It must not be controlled.")]
    private static class Stray
    {
        public static void Run(Action work)
        {
            var thread = new Thread(() => work());
            thread.UnsafeStart();
            thread.Join();
        }
    }
}

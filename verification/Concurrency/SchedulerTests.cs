using Explorer.Machines;
using Explorer.Scheduling;
using Harness;
using Vcmm;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>What the scheduler must see, in the smallest code that shows it.</summary>
public sealed class SchedulerTests
{
    private readonly object _first = new();
    private readonly object _second = new();
    private int _plain;

    [Fact]
    public void Two_locks_taken_in_both_orders_break_progress()
    {
        Violation? violation = Explore(_ =>
        {
            Task one = Task.Run(() =>
            {
                lock (_first) lock (_second) _plain++;
            });
            Task two = Task.Run(() =>
            {
                lock (_second) lock (_first) _plain++;
            });
            Task[] both = [one, two];
            Task.WaitAll(both);
        });
        Assert.Equal(Invariant.Progress, violation?.Invariant);
        Assert.StartsWith("nobody can go on", violation!.Observed);
    }

    [Fact]
    public void Two_locks_taken_in_one_order_do_not() => Assert.Null(Explore(_ =>
    {
        Task[] tasks = [Task.Run(TakeBoth), Task.Run(TakeBoth)];
        Task.WaitAll(tasks);
    }));

    [Theory]
    [InlineData(Grain.Synchronization, false)]
    [InlineData(Grain.PlainFields, true)]
    public void A_field_without_a_lock_is_found_by_the_fine_grain_alone(Grain grain, bool isFound)
    {
        Violation? violation = Explore(
            attempt =>
            {
                _plain = 0;
                Task[] tasks = [Task.Run(() => _plain = _plain + 1), Task.Run(() => _plain = _plain + 1)];
                Task.WaitAll(tasks);
                attempt.Check(Invariant.Linearizable, _plain == 2, () => $"{_plain}", () => "2");
            },
            grain);
        Assert.Equal(isFound, violation is not null);
    }

    [Fact]
    public void Who_goes_on_for_ever_breaks_progress()
    {
        Violation? violation = Explore(_ =>
        {
            while (Volatile.Read(ref _plain) >= 0) Controlled.Step();
        });
        Assert.Equal(Invariant.Progress, violation?.Invariant);
        Assert.StartsWith("somebody goes on for ever", violation!.Observed);
    }

    [Fact]
    public void An_exception_breaks_linearizability_and_its_message_tells_nothing_of_files()
    {
        Violation? violation = Explore(_ => Task.Run(() => throw new InvalidOperationException("lost a page")).Wait());
        Assert.Equal(Invariant.Linearizable, violation?.Invariant);
        Assert.Contains("lost a page", violation!.Observed);
        Assert.DoesNotContain(".cs", violation.Observed);
    }

    [Fact]
    public void What_the_scheduler_does_not_control_is_not_passed_over()
    {
        var failure = Record.Exception(() => Explore(_ =>
        {
            using var gate = new ReaderWriterLockSlim();
            gate.EnterReadLock();
            gate.ExitReadLock();
        }));
        Assert.IsType<UnsoundException>(failure);
    }

    [Fact]
    public void A_check_that_fails_outside_the_scheduler_fails_the_schedule()
    {
        Violation? violation = Explore(attempt => Controlled.Outside(() =>
            attempt.Check(Invariant.Conservation, false, static () => "seen", static () => "expected")));
        Assert.Equal(new Violation(Invariant.Conservation, "seen", "expected"), violation);
    }

    [Fact]
    public void A_trace_of_something_else_does_not_fit()
    {
        Exploration found = Controlled.Explore(Plan(Grain.Synchronization), Race);
        Assert.NotNull(found.Failure);
        Assert.Throws<BadInputException>(() => Controlled.Replay(Plan(Grain.Synchronization), found.Failure.Trace, _ =>
        {
            for (int i = 0; i < 50; i++) Controlled.Choose(3);
        }));
        Assert.Throws<BadInputException>(() => Controlled.Replay(Plan(Grain.Synchronization), "no trace", Race));
    }

    [Fact]
    public void Nothing_runs_once_the_exploration_is_told_to_stop()
    {
        int ran = 0;
        Exploration result = Controlled.Explore(Plan(Grain.Synchronization) with { Stop = () => ran == 3 }, _ => ran++);
        Assert.Equal(3, ran);
        Assert.Equal(3, result.Schedules);
    }

    /// <summary>Its agents are unwound before the next schedule begins: else now and then a trace would not fit.</summary>
    [Fact]
    public void A_schedule_that_failed_is_out_of_the_way_of_the_next()
    {
        var fault = Explorer.Faults.PlantedFault.Find("first-page-only")!;
        var scenario = Explorer.Scenarios.ConcurrentScenario.Find(fault.Scenario)!;
        var campaign = new Explorer.Campaigns.Campaign(scenario, fault, new(1));
        for (int round = 0; campaign.Failure is null; round++) campaign.Run(round);
        for (int i = 0; i < 100; i++)
            Assert.NotNull(Controlled.Replay(campaign.Failure.Plan, campaign.Failure.Failure.Trace, attempt => scenario.Run(attempt, fault)).Failure);
    }

    /// <summary>
    /// Who waits for a core that nobody will end must not spin beside the schedules that follow; nor must one who comes to wait when he is unwound, as where the
    /// library gives back in a finally what it took.
    /// </summary>
    [Theory]
    [InlineData("a check fails", false, Invariant.Conservation)]
    [InlineData("a deadlock", false, Invariant.Progress)]
    [InlineData("a bound of steps", false, Invariant.Progress)]
    [InlineData("a check fails", true, Invariant.Conservation)]
    [InlineData("a bound of steps", true, Invariant.Progress)]
    public void A_task_that_waits_for_a_core_ends_with_its_schedule(string end, bool isUnwound, Invariant broken)
    {
        Thread? waiting = null;
        var scenario = new Explorer.Scenarios.ConcurrentScenario("over", "a schedule ends while a shootdown waits for a core", [], (attempt, fault, _) =>
        {
            var machine = new Machine(attempt, new(), fault);
            Vcm process = machine.CreateVcm(0x10000, 0x10000);
            Association running = process.Associate(machine.AddCpus(new() { CoreCount = 1 }));
            Accessor core = machine.AddCore(0, process);
            Reservation buffer = process.Reserve(0x1000);
            machine.Software.Back(buffer, machine.Software.Allocate(0x1000));
            running.Activate();
            machine.Cpus.Enter(0, 0);
            machine.Ledger.BeginAssociation(core.Id, process, active: true);
            machine.Ledger.EndAssociation(core.Id, process, active: true, done: true);
            attempt.Watcher = new InAccess(attempt, () =>
            {
                waiting = Thread.CurrentThread;
                try
                {
                    if (isUnwound) Controlled.WaitUntil(static () => false);
                }
                finally
                {
                    machine.Cpus.Shootdown([new(new(1), buffer.Range, IsAll: false, LeavesOnly: false)]);
                }
            });
            machine.AddThread("core 0", () => core.Access(buffer.Range.First, Vcmm.Access.Read));
            machine.AddThread("end", () =>
            {
                Controlled.WaitUntil(() => isUnwound ? waiting is not null : machine.Cpus.WaitedForAccess);
                while (end == "a bound of steps") Controlled.Step();
                attempt.Check(Invariant.Conservation, end != "a check fails", static () => "over", static () => "not over");
            });
            return new(machine, static () => { });
        });
        for (uint seed = 1; seed <= 5; seed++)
        {
            waiting = null;
            Exploration result = Controlled.Explore(new(Strategy.Random, seed, 1) { MaxSteps = 2000 }, attempt => scenario.Run(attempt, Explorer.Faults.PlantedFault.None));
            Assert.Equal(broken, result.Failure?.Violation.Invariant);
            Assert.True(waiting!.Join(TimeSpan.FromSeconds(5)), "the task still runs");
        }
    }

    /// <summary>In the middle of the first access of a core something is done that waits for its end.</summary>
    private sealed class InAccess(Attempt attempt, Action act) : IScheduleWatcher
    {
        private bool _isDone;

        public void Begin(IPageStates machine)
        {
        }

        public void Accesses(Platform.StreamId id, Platform.Iova page)
        {
        }

        public void Noted(string agent)
        {
            if (_isDone || agent != "core 0" || attempt.Events[^1] is not { Kind: EventKind.Hardware, Detail: (ulong)IommuSim.SimStep.MemoryAccess }) return;
            _isDone = true;
            act();
        }
    }

    private static void Race(Attempt attempt)
    {
        int value = 0;
        void Add() => Volatile.Write(ref value, Volatile.Read(ref value) + 1);
        Task[] tasks = [Task.Run(Add), Task.Run(Add)];
        Task.WaitAll(tasks);
        attempt.Check(Invariant.Linearizable, value == 2, () => $"{value}", () => "2");
    }

    private void TakeBoth()
    {
        lock (_first) lock (_second) _plain++;
    }

    private static ExplorationPlan Plan(Grain grain) => new(Strategy.Random, 1, 200) { Grain = grain, MaxSteps = 2000 };

    private static Violation? Explore(Action<Attempt> body, Grain grain = Grain.Synchronization)
    {
        Exploration result = Controlled.Explore(Plan(grain), body);
        if (result.Uncontrolled.Count != 0) throw new UnsoundException("not controlled: " + string.Join(", ", result.Uncontrolled));
        return result.Failure?.Violation;
    }
}

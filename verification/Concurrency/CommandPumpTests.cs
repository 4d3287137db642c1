using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using IommuSim;
using Vcmm.Spec;
using Vcmm.Vtd;

namespace Concurrency;

/// <summary>Who waits under control: it is woken by what it may wait for, and by nothing else.</summary>
public sealed class CommandPumpTests
{
    private const int Schedules = 200;

    public static TheoryData<Strategy> Strategies => [.. Enum.GetValues<Strategy>()];

    [Theory]
    [MemberData(nameof(Strategies))]
    public void Who_waits_for_a_place_is_woken_by_who_gives_it_back(Strategy strategy)
    {
        int most = 0;
        Exploration result = Explore(strategy, (pump, places) =>
        {
            Task[] threads = [.. Enumerable.Range(0, 3).Select(_ => Task.Run(() =>
            {
                most = Math.Max(most, places.Take(pump));
                places.GiveBack();
                pump.GivenBack();
            }))];
            Task.WaitAll(threads);
        });
        Assert.Null(result.Failure);
        // Somebody waited; and polled at most once for each time that the place was given back, and once for what the pump did.
        Assert.InRange(most, 1, 3);
    }

    [Fact]
    public void A_place_that_is_lost_is_a_deadlock()
    {
        Exploration result = Explore(Strategy.Random, (pump, places) =>
        {
            Task[] threads = [Task.Run(() => places.Take(pump)), Task.Run(() => places.Take(pump))];
            Task.WaitAll(threads);
        });
        Assert.Equal(Invariant.Progress, result.Failure?.Violation.Invariant);
        Assert.StartsWith("nobody can go on", result.Failure!.Violation.Observed);
    }

    [Fact]
    public void Who_waits_for_a_place_with_the_lock_that_gives_it_back_is_a_deadlock()
    {
        Exploration result = Explore(Strategy.Random, (pump, places) =>
        {
            object gate = new();
            Task[] threads = [.. Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
            {
                lock (gate) places.Take(pump);
                lock (gate) places.GiveBack();
                pump.GivenBack();
            }))];
            Task.WaitAll(threads);
        });
        Assert.Equal(Invariant.Progress, result.Failure?.Violation.Invariant);
    }

    private static Exploration Explore(Strategy strategy, Action<IWaitPolicy, Places> body) =>
        Controlled.Explore(new(strategy, 1, Schedules) { MaxSteps = 500 }, attempt =>
        {
            Machine machine;
            using (Controlled.Quietly()) machine = new(attempt, new VtdOptions(), PlantedFault.None);
            machine.AddThread("threads", () => body(machine.WaitPolicy, new Places()));
            machine.Run();
        });

    /// <summary>One place.</summary>
    private sealed class Places
    {
        private int _isTaken;

        /// <returns>How often it was taken already.</returns>
        public int Take(IWaitPolicy policy)
        {
            long begun = policy.Begin();
            int attempt = 0;
            while (Interlocked.CompareExchange(ref _isTaken, 1, 0) != 0) Assert.True(policy.KeepWaiting(begun, ++attempt));
            return attempt;
        }

        public void GiveBack() => Volatile.Write(ref _isTaken, 0);
    }
}

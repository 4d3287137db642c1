using System.Text.Json;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scripts;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Concurrency;

/// <summary>The search that runs every schedule with so many interruptions.</summary>
public sealed class ExhaustiveTests(ITestOutputHelper output)
{
    private static readonly ExplorationPlan Plan = new(Strategy.Random, 1, 100_000) { MaxSteps = 2000 };

    [Fact]
    public void Every_value_of_every_choice_is_tried_once()
    {
        var seen = new List<(int, int)>();
        (bool isComplete, Exploration result) = Controlled.Exhaust(Plan, 0, _ =>
        {
            int first = Controlled.Choose(3);
            seen.Add((first, Controlled.Choose(first + 1)));
        });
        Assert.True(isComplete);
        Assert.Equal([(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)], seen);
        Assert.Equal(seen.Count, result.Schedules);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(99)]
    public void All_orders_with_so_many_interruptions_are_run_and_no_others(int preemptions)
    {
        const int Steps = 3;
        var seen = new HashSet<string>();
        string order = "";
        void Go(char who)
        {
            for (int i = 0; i < Steps; i++)
            {
                Controlled.Step();
                order += who;
            }
        }

        (bool isComplete, _) = Controlled.Exhaust(
            Plan, preemptions,
            _ =>
            {
                order = "";
                Task[] both = [Task.Run(() => Go('a')), Task.Run(() => Go('b'))];
                Task.WaitAll(both);
                seen.Add(order);
            });
        Assert.True(isComplete);
        // Between the last step of a task and its end nobody can tell an interruption from the end.
        Assert.Equal(Orders(Steps, Steps).Where(it => Interruptions(it, Steps) <= preemptions).Order(), seen.Order());
    }

    [Fact]
    public void What_needs_an_interruption_is_not_found_without()
    {
        // The other has to write between the two reads.
        static void Run(Attempt attempt)
        {
            int value = 0, sum = 0;
            void Add()
            {
                int before = Volatile.Read(ref value);
                int again = Volatile.Read(ref value);
                if (before == again) return;
                Volatile.Write(ref sum, 1);
            }

            Task[] both = [Task.Run(Add), Task.Run(() => Volatile.Write(ref value, 1))];
            Task.WaitAll(both);
            attempt.Check(Invariant.Linearizable, sum == 0, () => "1", () => "0");
        }

        Assert.Null(Controlled.Exhaust(Plan, 0, Run).Result.Failure);
        (bool isComplete, Exploration found) = Controlled.Exhaust(Plan, 1, Run);
        Assert.False(isComplete);
        Assert.NotNull(found.Failure);
        Assert.NotNull(Controlled.Replay(Plan, found.Failure.Trace, Run).Failure);
    }

    [Fact]
    public void Whoever_wants_all_failures_gets_each_once()
    {
        static void Run(Attempt attempt)
        {
            int value = Controlled.Choose(5);
            attempt.Check(Invariant.Linearizable, value is 0 or 2, () => $"{value}", () => "0 or 2");
        }

        var seen = new List<string>();
        (bool isComplete, Exploration result) = Controlled.Exhaust(Plan, 0, Run, goesOn: failure =>
        {
            seen.Add(failure.Violation.Observed);
            return true;
        });
        Assert.True(isComplete);
        Assert.Equal(["1", "3", "4"], seen);
        Assert.Equal(5, result.Schedules);
        Assert.Equal("1", result.Failure!.Violation.Observed);
        Assert.Equal(2, Controlled.Exhaust(Plan, 0, Run).Result.Schedules);
    }

    [Fact]
    public void What_is_left_out_for_want_of_schedules_is_said()
    {
        (bool isComplete, Exploration result) = Controlled.Exhaust(Plan with { Schedules = 5 }, 0, _ => Controlled.Choose(6));
        Assert.False(isComplete);
        Assert.Equal(5, result.Schedules);
    }

    [Fact]
    public void A_program_that_does_not_depend_on_its_choices_alone_is_refused()
    {
        int runs = 0;
        Assert.Throws<UnsoundException>(() => Controlled.Exhaust(Plan, 0, _ =>
        {
            Controlled.Choose(3);
            Controlled.Choose(2 + runs++);
        }));
    }

    [Theory]
    [InlineData("unback-access", 1)]
    [InlineData("copy", 1)]
    [InlineData("large-leaf", 0)]
    [InlineData("part-of-large", 0)]
    [InlineData("clone-back", 0)]
    public void The_library_survives_every_schedule_with_so_many_interruptions(string name, int preemptions) =>
        Survive(ConcurrentScenario.Find(name)!, preemptions);

    /// <summary>Look-ups by address and look-ups from the memory find a reservation from the same instant on, and until the same.</summary>
    [Theory]
    [InlineData("r2 = map v0 m0 rw align 4K", "mappings m0 at 0", "find v0 0x2000")]
    [InlineData("unmap r0", "mappings m1 at 0", "find v0 0x0")]
    [InlineData("unmap r0", "find v0 0x0", "mappings m1 at 0")]
    [InlineData("unmap r0", "mappings m1 at 0", "mappings m2 at 0")]
    [InlineData("v1 = clone v0", "mappings m1 at 0", "mappings m2 at 0")]
    public void What_is_made_and_ended_is_there_for_every_look_up_or_for_none(string change, string look, string next) => SurviveLooks(
        ["r0 = reserve-at v0 0x0 8K rw", "back r0 at 0 m1 at 0 for 4K", "back r0 at 4K m2 at 0 for 4K"], [change], [look, next]);

    /// <summary>The same with look-ups from region to region: they, too, see a backing from the instant at which it is there for all.</summary>
    [Theory]
    [InlineData("back r0 at 8K m0 at 0 for 4K", "translate v0 0x2000 to v1", "mappings m0 at 0")]
    [InlineData("back r0 at 8K m0 at 0 for 4K", "mappings m0 at 0", "translate v0 0x2000 to v1")]
    [InlineData("unback r0 at 4K for 4K", "translate v0 0x1000 to v1", "mappings m2 at 0")]
    [InlineData("unback r0 at 4K for 4K", "mappings m2 at 0", "translate v0 0x1000 to v1")]
    [InlineData("r3 = map v0 m0 rw align 4K", "translate v0 0x4000 to v1", "find v0 0x4000")]
    [InlineData("unmap r0", "translate v0 0x1000 to v1", "mappings m1 at 0")]
    [InlineData("unmap r0", "find v0 0x0", "translate v0 0x1000 to v1")]
    public void What_is_backed_is_there_for_every_look_up_or_for_none(string change, string look, string next) => SurviveLooks(
        ["r0 = reserve-at v0 0x0 16K rw", "back r0 at 0 m1 at 0 for 4K", "back r0 at 4K m2 at 0 for 4K", .. InAnother], [change], [look, next]);

    /// <summary>What a look-up came upon may have become another reservation's before it looks on.</summary>
    [Fact]
    public void A_look_up_takes_no_reservation_for_the_one_before_it() => SurviveLooks(
        ["r0 = reserve-at v0 0x8000 8K rw", "back r0 at 0 m1 at 0 for 4K", "back r0 at 4K m2 at 0 for 4K", .. InAnother],
        ["unmap r0", "r3 = reserve-at v0 0x0 8K rw", "back r3 at 4K m0 at 0 for 4K"], ["translate v0 0x9000 to v1"]);

    /// <summary>What is behind an address, and where that is in the other region, are so at one instant.</summary>
    [Fact]
    public void A_look_up_from_region_to_region_sees_both_at_once() => SurviveLooks(
        ["r0 = reserve-at v0 0x0 4K rw", "back r0 m0", "v1 = vcm 0x0-0xffff", "r1 = reserve-at v1 0x0 4K rw"],
        ["unback r0", "back r1 m0"], ["translate v0 0x0 to v1"]);

    /// <summary>A backing that a look-up from the memory comes upon may be behind another memory before it goes on.</summary>
    [Fact]
    public void A_look_up_goes_along_one_memory() => SurviveLooks(
        ["r0 = reserve-at v0 0x0 12K rw", "back r0 at 0 m1 at 0 for 4K", .. InAnother], ["unback r0 at 0 for 4K", "back r0 at 8K m0 at 0 for 4K"], ["mappings m1 at 0"]);

    /// <summary>Memory is busy for what backs a reservation, not for a call that comes to nothing.</summary>
    [Theory]
    [InlineData("free m0")]
    [InlineData("unbind v1 r1 m3")]
    public void A_back_that_is_refused_keeps_no_memory_from_being_freed(string free) => Survive(
        Of(["a0 = associate v0 d0", "activate a0", "r0 = reserve-at v0 0x0 4K rw", "v1 = vcm 0x0-0xffff", "r1 m3 = bind v1 4K rw of 4K"],
        [$"back r0 {(free == "free m0" ? "m0" : "m3")} ! memory 1"], [free]), 1);

    private static string[] InAnother => ["v1 = vcm 0x0-0xffff", "r1 = reserve-at v1 0x0 12K rw", "back r1 at 0 m0 at 0 for 4K", "back r1 at 4K m1 at 0 for 4K", "back r1 at 8K m2 at 0 for 4K"];

    private void SurviveLooks(string[] steps, string[] changes, string[] looks) => Survive(Of(steps, changes, looks), 1);

    private static ConcurrentScenario Of(string[] steps, params string[][] threads)
    {
        steps = ["v0 = vcm 0x0-0xffff", "m0 = allocate 4K of 4K", "m1 = allocate 4K of 4K", "m2 = allocate 4K of 4K", .. steps];
        return Script.FromJson("one change and what is beside it", JsonSerializer.SerializeToNode(new
        {
            summary = "what is beside one change",
            sometimes = Array.Empty<string>(),
            scenario = new { topology = new { devices = 1 }, steps, threads },
        })).ToScenario();
    }

    private void Survive(ConcurrentScenario scenario, int preemptions)
    {
        var campaign = new Campaign(scenario, PlantedFault.None, new(1));
        (bool isComplete, RoundResult result) = campaign.Exhaust(preemptions, 100_000);
        Assert.True(campaign.Failure is null, campaign.Failure is null ? "" : FailureReport.Print(campaign.Failure));
        Assert.True(isComplete);
        output.WriteLine($"{result.Totals.Schedules} schedules, {campaign.BehaviourCount} behaviours");
    }

    private static IEnumerable<string> Orders(int a, int b) =>
        a == 0 && b == 0 ? [""]
        : [.. (a > 0 ? Orders(a - 1, b).Select(rest => "a" + rest) : []), .. (b > 0 ? Orders(a, b - 1).Select(rest => "b" + rest) : [])];

    private static int Interruptions(string order, int steps)
    {
        int count = 0;
        for (int i = 1; i < order.Length; i++)
        {
            if (order[i] != order[i - 1] && order[..i].Count(who => who == order[i - 1]) < steps) count++;
        }

        return count;
    }
}

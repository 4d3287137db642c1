using Explorer.Scheduling;
using IommuSim;

namespace Concurrency;

/// <summary>Schedules are told apart by what happened before what, and by nothing else.</summary>
public sealed class HappensBeforeLaws
{
    private static readonly ScheduleEvent WriteA = Word("one", EventKind.MemoryWrite, 0x1000, 1);
    private static readonly ScheduleEvent WriteOther = Word("two", EventKind.MemoryWrite, 0x2000, 1);
    private static readonly ScheduleEvent WriteAgain = Word("two", EventKind.MemoryWrite, 0x1000, 2);
    private static readonly ScheduleEvent Read = Word("two", EventKind.MemoryRead, 0x1000, 1);
    private static readonly ScheduleEvent ReadToo = Word("three", EventKind.MemoryRead, 0x1000, 1);

    /// <summary>Two steps of two agents, and whether their order is told apart.</summary>
    public static TheoryData<ScheduleEvent, ScheduleEvent, bool> Pairs => new()
    {
        { WriteA, WriteOther, false },
        { WriteA, WriteAgain, true },
        { WriteA, Read, true },
        { Read, ReadToo, false },
        { Step("one", SimStep.IotlbLookup), Step("two", SimStep.IotlbLookup), false },
        { Step("one", SimStep.IotlbLookup), Step("two", SimStep.CommandExecute), true },
        { Step("one", SimStep.IotlbFill), Step("two", SimStep.CommandExecute), true },
        // The word that a walk reads is noted by itself.
        { Step("one", SimStep.WalkRead), Step("two", SimStep.CommandExecute), false },
        { Moves("one", "reads"), Moves("two", "reads"), false },
        { Moves("one", "writes"), Moves("two", "reads"), true },
        { new("one", EventKind.Call, 0, 0, "back"), new("two", EventKind.Call, 0, 0, "unback"), false },
    };

    [Theory]
    [MemberData(nameof(Pairs))]
    public void The_order_of_two_steps_counts_if_they_touch_one_thing_and_one_changes_it(ScheduleEvent one, ScheduleEvent other, bool counts)
    {
        Assert.Equal(counts, HappensBefore.Fingerprint([one, other]) != HappensBefore.Fingerprint([other, one]));
        // Also where it shows only in what follows.
        ScheduleEvent after = Word("four", EventKind.MemoryRead, 0x3000, 0);
        Assert.Equal(counts, HappensBefore.Fingerprint([one, other, after]) != HappensBefore.Fingerprint([after, other, one]));
    }

    [Fact]
    public void What_was_seen_and_who_saw_it_count()
    {
        ScheduleEvent[] differ = [Read, Read with { Value = 2 }, Read with { Agent = "three" }, Read with { Detail = 0x1008 }, Read with { Kind = EventKind.MemoryWrite }, Read with { Text = "again" }];
        Assert.Equal(differ.Length, differ.Select(static e => HappensBefore.Fingerprint([e])).Distinct().Count());
        Assert.NotEqual(HappensBefore.Fingerprint([Read]), HappensBefore.Fingerprint([Read, Read]));
        // A look before a change is not one after it, though the change sees the same before it.
        Assert.NotEqual(HappensBefore.Fingerprint([Read, WriteA, ReadToo]), HappensBefore.Fingerprint([ReadToo, WriteA, Read]));
    }

    /// <summary>Each of two agents makes as many steps on a thing of its own and on one that both have: of the shared ones each order is another behaviour.</summary>
    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 6)]
    [InlineData(3, 20)]
    public void There_are_as_many_behaviours_as_orders_of_what_is_shared(int count, int orders)
    {
        var behaviours = new HashSet<ulong>();
        int schedules = 0;
        Exploration exploration = Controlled.Explore(new(Strategy.Random, 1, 600), Run, attempt =>
        {
            behaviours.Add(HappensBefore.Fingerprint(attempt.Events));
            schedules++;
        });
        Assert.Null(exploration.Failure);
        Assert.Equal(600, schedules);
        Assert.Equal(orders, behaviours.Count);

        void Run(Attempt attempt)
        {
            // An array: of the overload that takes a span the scheduler knows nothing.
            Task[] tasks = [.. new[] { "one", "two" }.Select((agent, i) => Task.Run(() =>
            {
                Attempt.Agent = agent;
                for (int n = 0; n < count; n++)
                {
                    Controlled.Step();
                    attempt.Note(EventKind.MemoryWrite, 0x1000 * ((ulong)i + 2));
                    Controlled.Step();
                    attempt.Note(EventKind.MemoryWrite, 0x1000);
                }
            }))];
            Task.WaitAll(tasks);
        }
    }

    private static ScheduleEvent Word(string agent, EventKind kind, ulong address, ulong value) => new(agent, kind, address, value, null);

    private static ScheduleEvent Step(string agent, SimStep step) => new(agent, EventKind.Hardware, (ulong)step, 0, null);

    private static ScheduleEvent Moves(string agent, string how) => new(agent, EventKind.Device, 0x5000, 0x1000, how);
}

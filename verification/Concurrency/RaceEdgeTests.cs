using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Machines;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness.Failures;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using static Concurrency.RaceRun;
using Act = System.Action<Concurrency.RaceRun>;

namespace Concurrency;

/// <summary>What orders two accesses and what does not, however far apart they are: each in the one schedule in which the first is long over when the second comes.</summary>
public sealed class RaceEdgeTests
{
    private const string One = "cpu 0", Two = "cpu 1", Device = "device", Other = "other device", Iommu = "iommu";

    private static readonly object Gate = new(), OtherGate = new();
    private static readonly RangeAllocator Ranges = new(IovaRange.FromLength(new(0), 1 << 20)), OtherRanges = new(IovaRange.FromLength(new(0), 1 << 20));
    private static int _published;
    private static int _counted;
    private static int _plain;

    /// <summary>What stands between a store of one thread and one of another, after the one and before the other.</summary>
    public static TheoryData<string, Action, Action, bool> Between => new()
    {
        { "nothing", static () => { }, static () => { }, false },
        { "a plain field", static () => _plain = 1, static () => _plain++, false },
        { "a lock", static () => Lock(Gate), static () => Lock(Gate), true },
        { "two locks", static () => Lock(Gate), static () => Lock(OtherGate), false },
        { "a volatile field", static () => Volatile.Write(ref _published, 1), static () => Volatile.Read(ref _published), true },
        { "two fields", static () => Volatile.Write(ref _published, 1), static () => Volatile.Read(ref _counted), false },
        { "a field read twice", static () => Volatile.Read(ref _published), static () => Volatile.Read(ref _published), false },
        { "an interlocked field", static () => Interlocked.Increment(ref _counted), static () => Interlocked.Increment(ref _counted), true },
        { "the library's own lock", static () => Take(Ranges), static () => Take(Ranges), true },
        { "two of the library's own locks", static () => Take(Ranges), static () => Take(OtherRanges), false },
    };

    [Theory]
    [MemberData(nameof(Between))]
    public void Stores_of_two_threads_race_unless_something_orders_them(string name, Action after, Action before, bool areOrdered)
    {
        Violation? violation = Of((One, run => Do(run, static run => run.Store(Entry), _ => after())), (Two, run => Do(run, _ => before(), static run => run.Store(Entry))));
        if (areOrdered) Assert.True(violation is null, $"{name}: {violation}");
        else
        {
            Assert.True(violation?.Invariant == Invariant.SharedTable, name);
            Assert.Equal($"cpu 0 stores to {Entry} in \"act 0\" and cpu 1 stores to {Entry} in \"act 1\", and nothing orders the two", violation!.Observed);
        }
    }

    [Fact]
    public void A_word_orders_what_came_before_it_was_written_and_what_comes_after_it_was_read()
    {
        Assert.Null(Of((One, static run => Do(run, static run => run.Store(Entry), static run => run.Exchange(Link))), (Two, static run => Do(run, static run => run.Load(Link), static run => run.Store(Entry)))));
        Assert.Null(Of((One, static run => Do(run, static run => run.Store(Entry), static run => run.Store(Link))), (Two, static run => Do(run, static run => run.Load(Link), static run => run.Exchange(Entry)))));
        Assert.NotNull(Of((One, static run => Do(run, static run => run.Store(Entry), static run => run.Load(Link))), (Two, static run => Do(run, static run => run.Load(Link), static run => run.Store(Entry)))));
        // An exchange sees what was stored, and might as well have come before: then it would have been lost.
        AssertRace(Invariant.SharedTable, "cpu 0 stores to", "cpu 1 exchanges", Of((One, static run => run.Store(Link)), (Two, static run => run.Exchange(Link))));
        // What comes after the word was written is not ordered by it.
        Assert.NotNull(Of((One, static run => Do(run, static run => run.Store(Link), static run => run.Store(Entry))), (Two, static run => Do(run, static run => run.Load(Link), static run => run.Store(Entry)))));
    }

    [Fact]
    public void A_descriptor_is_there_before_the_tail_is_written_and_its_place_is_free_once_the_head_was_read()
    {
        Assert.Null(Of((One, static run => Do(run, static run => run.Store(Descriptor), static run => run.Ring())), (Iommu, Fetch)));
        AssertRace(Invariant.Progress, "cpu 0 stores to", "iommu reads", Of((One, static run => Do(run, static run => run.Ring(), static run => run.Store(Descriptor))), (Iommu, Fetch)));
        Assert.Null(Of((Iommu, Fetch), (One, static run => Do(run, static run => run.ReadHead(), static run => run.Store(Descriptor)))));
        AssertRace(Invariant.Progress, "iommu reads", "cpu 0 stores to", Of((Iommu, Fetch), (One, static run => run.Store(Descriptor))));
    }

    [Fact]
    public void A_page_request_is_there_before_the_tail_is_read_and_its_place_is_free_once_the_head_was_written()
    {
        static void Ask(RaceRun run) => run.Store(Descriptor, MemorySide.Walker);
        Assert.Null(Of((Device, Ask), (One, static run => Do(run, static run => run.ReadRequestTail(), static run => run.Load(Descriptor), static run => run.WriteRequestHead())), (Other, Ask)));
        AssertRace(Invariant.Progress, "device stores to", "cpu 0 reads", Of((Device, Ask), (One, static run => run.Load(Descriptor))));
        AssertRace(
            Invariant.Progress, "cpu 0 reads", "other device stores to",
            Of((Device, Ask), (One, static run => Do(run, static run => run.ReadRequestTail(), static run => run.WriteRequestHead(), static run => run.Load(Descriptor))), (Other, Ask)));
    }

    [Fact]
    public void A_page_is_freed_after_what_an_invalidation_that_is_waited_for_has_drained()
    {
        static void Sync(RaceRun run) => Do(run, static run => run.Invalidate(), static run => run.TakeWait(), static run => run.SayDone());
        static void WaitAndFree(RaceRun run) => Do(run, static run => run.Load(Status), static run => run.Free());
        Assert.Null(Of((Device, static run => run.Access()), (Iommu, Sync), (One, WaitAndFree)));
        // Not waited for; not there; one that drains nothing; and one that was before the access.
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (Iommu, Sync), (One, static run => run.Free())));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (Iommu, static run => Do(run, static run => run.TakeWait(), static run => run.SayDone())), (One, WaitAndFree)));
        AssertRace(
            Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at",
            Of((Device, static run => run.Access()), (Iommu, static run => Do(run, static run => run.Invalidate(drains: false), static run => run.TakeWait(), static run => run.SayDone())), (One, WaitAndFree)));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Iommu, Sync), (Device, static run => run.Access()), (One, WaitAndFree)));
        AssertRace(Invariant.FrameSafety, "device moves bytes at", "cpu 0 frees the page at", Of((Device, static run => run.Move(Entry)), (One, static run => run.Free())));
    }

    [Fact]
    public void An_access_that_is_under_way_at_an_invalidation_is_drained_to_its_end_and_one_that_begins_later_is_not()
    {
        static void WaitAndFree(RaceRun run) => Do(run, static run => run.Load(Status), static run => run.Free());
        Act begin = static run => Do(run, static run => run.Begin(), static run => run.Load(Entry, MemorySide.Walker));
        Act end = static run => Do(run, static run => run.Move(Entry), static run => run.End());
        Act invalidate = static run => Do(run, static run => run.Invalidate(), static run => run.TakeWait());
        Act done = static run => run.SayDone();
        Assert.Null(Of((Device, begin), (Iommu, invalidate), (Device, end), (Iommu, done), (One, WaitAndFree)));
        AssertRace(Invariant.FrameSafety, "device moves bytes at", "cpu 0 frees the page at", Of((Device, begin), (Iommu, invalidate), (Iommu, done), (Device, end), (One, WaitAndFree)));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (Iommu, invalidate), (Device, begin), (Device, end), (Iommu, done), (One, WaitAndFree)));
    }

    [Fact]
    public void A_register_that_says_that_an_invalidation_is_done_comes_after_what_that_has_drained()
    {
        static void Free(RaceRun run) => Do(run, static run => run.ReadInvalidation(), static run => run.Free());
        Act begin = static run => Do(run, static run => run.Begin(), static run => run.Load(Entry, MemorySide.Walker));
        Act end = static run => Do(run, static run => run.Move(Entry), static run => run.End());
        Act invalidate = static run => run.InvalidateByRegister();
        Assert.Null(Of((Device, static run => run.Access()), (One, invalidate), (One, Free)));
        Assert.Null(Of((Device, begin), (One, invalidate), (Device, end), (One, Free)));
        // It was not given, was not waited for, is not done, was before the access, and was done before the access.
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (One, Free)));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (One, invalidate), (One, static run => run.Free())));
        AssertRace(
            Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at",
            Of((Device, static run => run.Access()), (One, invalidate), (One, static run => Do(run, static run => run.ReadInvalidation(isDone: false), static run => run.Free()))));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((One, invalidate), (Device, static run => run.Access()), (One, Free)));
        AssertRace(Invariant.FrameSafety, "device moves bytes at", "cpu 0 frees the page at", Of((Device, begin), (One, invalidate), (One, static run => run.ReadInvalidation()), (Device, end), (One, Free)));
    }

    [Fact]
    public void A_walk_that_comes_into_a_page_after_it_was_freed_or_made_a_table_has_read_what_links_it()
    {
        static void Walk(RaceRun run) => Do(run, static run => run.Load(Link, MemorySide.Walker), static run => run.Load(Entry, MemorySide.Walker));
        Act reuse = static run => Do(run, static run => Lock(Gate), static run => run.Fill(), static run => run.Exchange(Link));
        Act free = static run => Do(run, static run => run.Free(), static run => Lock(Gate));
        Assert.Null(Of((One, free), (Two, reuse), (Device, Walk)));
        AssertRace(Invariant.FrameSafety, "cpu 0 frees the page at", "device walks through", Of((One, free), (Device, Walk)));
        AssertRace(Invariant.FrameSafety, "cpu 1 makes a table at", "device walks through", Of((Two, reuse), (Device, static run => run.Load(Entry, MemorySide.Walker))));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 1 makes a table at", Of((Device, Walk), (Two, reuse)));
        AssertRace(Invariant.FrameSafety, "cpu 0 frees the page at", "cpu 1 stores to", Of((One, free), (Two, static run => run.Store(Entry))));
        AssertRace(Invariant.FrameSafety, "cpu 0 frees the page at", "device moves bytes at", Of((One, free), (Device, static run => run.Move(Entry))));
        // Look-ups read entries that may be gone, and look again.
        Assert.Null(Of((One, free), (Two, static run => run.Load(Entry))));
    }

    [Fact]
    public void What_is_found_in_a_cache_comes_after_what_put_it_there()
    {
        Act free = static run => Do(run, static run => run.Free(), static run => run.Exchange(Link));
        Act fill = static run => Do(run, static run => run.Load(Link, MemorySide.Walker), static run => run.Step(SimStep.IotlbFill));
        Assert.Null(Of((One, free), (Device, fill), (Other, static run => Do(run, static run => run.Step(SimStep.IotlbLookup), static run => run.Move(Entry)))));
        // The look-up is announced before it is made.
        Assert.Null(Of((One, free), (Other, static run => run.Step(SimStep.IotlbLookup)), (Device, fill), (Other, static run => run.Move(Entry))));
        AssertRace(Invariant.FrameSafety, "cpu 0 frees the page at", "other device moves bytes at", Of((One, free), (Device, fill), (Other, static run => run.Move(Entry))));
    }

    [Fact]
    public void A_shootdown_orders_what_cores_did_and_not_what_devices_did()
    {
        Act shootDownAndFree = static run => Do(run, static run => run.Send(), static run => run.AllAcknowledged(), static run => run.Free());
        Assert.Null(Of(("core 0", static run => run.Access(isOfCore: true)), (One, shootDownAndFree)));
        AssertRace(Invariant.FrameSafety, "core 0 walks through", "cpu 0 frees the page at", Of(("core 0", static run => run.Access(isOfCore: true)), (One, static run => run.Free())));
        AssertRace(Invariant.FrameSafety, "device walks through", "cpu 0 frees the page at", Of((Device, static run => run.Access()), (One, shootDownAndFree)));
        AssertRace(
            Invariant.FrameSafety, "core 0 walks through", "cpu 0 frees the page at",
            Of(("core 0", static run => run.Access(isOfCore: true)), (Iommu, static run => Do(run, static run => run.Invalidate(), static run => run.TakeWait(), static run => run.SayDone())), (One, static run => Do(run, static run => run.Load(Status), static run => run.Free()))));
    }

    [Fact]
    public void A_page_that_is_freed_though_accesses_are_not_drained_is_named_with_both_statements_and_in_the_first_schedule_with_an_access()
    {
        PlantedFault fault = PlantedFault.Find("no-drain")!;
        var campaign = new Campaign(ConcurrentScenario.Find(fault.Scenario)!, fault, new(1));
        campaign.Run(0);
        Assert.NotNull(campaign.Failure);
        Assert.InRange(campaign.Totals.Schedules, 1, 5);
        FoundFailure? seen = FailureReport.Replay(FailureFile.Parse(FailureReport.ToFile(campaign.Failure).ToString()));
        string report = FailureReport.Print(seen!);
        Assert.Contains(" frees the page at pa:", report);
        Assert.Matches(@"\nlines +(device 0 at \w+\.cs:\d+, cpu \d at \w+\.cs:\d+|cpu \d at \w+\.cs:\d+, device 0 at \w+\.cs:\d+)\n", report);
    }

    private static void Fetch(RaceRun run)
    {
        run.Step(SimStep.CommandFetch);
        run.Load(Descriptor, MemorySide.Walker);
        run.Step(SimStep.CommandExecute);
    }

    private static void Lock(object gate)
    {
        lock (gate) _plain++;
    }

    private static void Take(RangeAllocator ranges)
    {
        Assert.Equal(VcmmError.None, ranges.TryAllocate(0x1000, 0x1000, out IovaRange range));
        Assert.Equal(VcmmError.None, ranges.TryFree(range));
    }

    private static void Do(RaceRun run, params ReadOnlySpan<Act> acts)
    {
        foreach (Act act in acts) act(run);
    }

    private static void AssertRace(Invariant invariant, string first, string second, Violation? violation)
    {
        Assert.True(violation?.Invariant == invariant, $"{violation}");
        int at = violation!.Observed.IndexOf(first, StringComparison.Ordinal);
        Assert.True(at >= 0 && violation.Observed.IndexOf(second, at, StringComparison.Ordinal) > at, $"{violation}");
    }
}

using Explorer.Faults;
using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Scheduling;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Scenarios;

/// <summary>Two threads take and give back ranges of a region that has room for three of them.</summary>
internal static class Reserve
{
    private const int Slots = 3;
    private const string NoSpace = "no space";
    private const string LowerFirst = "cpu 0 got the lower range";
    private const string UpperFirst = "cpu 1 got the lower range";

    public static ConcurrentScenario Scenario { get; } = new(
        "reserve", "two threads reserve and unreserve", [NoSpace, LowerFirst, UpperFirst], Prepare);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches, fault);
        Vcm vcm = machine.CreateVcm(0, Slots * Setup.Page);
        IRanges ranges = fault.TakesRangesInTwoSteps ? new CheckThenActRanges(vcm.Range) : new VcmRanges(vcm);
        var book = new RangeBook(attempt, vcm.Range);
        Iova? firstOf0 = null;
        Iova? firstOf1 = null;

        machine.AddThread("cpu 0", () =>
        {
            firstOf0 = TakeTwo(attempt, ranges, book);
            TakeTwo(attempt, ranges, book);
        });
        machine.AddThread("cpu 1", () =>
        {
            firstOf1 = TakeTwo(attempt, ranges, book);
            TakeTwo(attempt, ranges, book);
        });
        return new(machine, () =>
        {
            if (firstOf0 is { } a && firstOf1 is { } b) attempt.Reach(a.Value <= b.Value ? LowerFirst : UpperFirst);
            Setup.TearDown(machine, [vcm], [], []);
        });
    }

    /// <summary>Takes two pages one by one, gives them back; returns where the first was.</summary>
    private static Iova? TakeTwo(Attempt attempt, IRanges ranges, RangeBook book)
    {
        IovaRange? one = Take(attempt, ranges, book);
        IovaRange? two = Take(attempt, ranges, book);
        if (one is { } first) Give(attempt, ranges, book, first);
        if (two is { } second) Give(attempt, ranges, book, second);
        return one?.First;
    }

    private static IovaRange? Take(Attempt attempt, IRanges ranges, RangeBook book)
    {
        attempt.Note(EventKind.Call, text: "reserve 4K");
        RangeBook.Taking taking = book.BeginTake();
        VcmmError error = ranges.TryTake(Setup.Page, out IovaRange range);
        book.EndTake(taking, error, range);
        attempt.Note(EventKind.Return, text: $"reserve 4K = {(error == VcmmError.None ? range.ToString() : error.ToString())}");
        if (error == VcmmError.NoSpace) attempt.Reach(NoSpace);
        return error == VcmmError.None ? range : null;
    }

    private static void Give(Attempt attempt, IRanges ranges, RangeBook book, IovaRange range)
    {
        attempt.Note(EventKind.Call, text: $"unreserve {range}");
        book.BeginGive(range);
        VcmmError error = ranges.TryGive(range);
        book.EndGive();
        attempt.Note(EventKind.Return, text: $"unreserve {range} = {error}");
        attempt.Check(
            Invariant.Linearizable, error == VcmmError.None, () => $"unreserve of {range} = {error}", () => "what was reserved can be given back once");
    }
}

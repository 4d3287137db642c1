using System.Collections.Immutable;
using Mutation.Hunting;

namespace Properties.Mutating;

/// <summary>Which tests hunt a mutant, which first, and what is read from what they tell.</summary>
public sealed class TestOrderLaws
{
    private static readonly TestClass Slow = Class("Slow", [1, 2], ("Long", Engines.Laws, 2000), ("Drawn", Engines.Properties, 1000));
    private static readonly TestClass Quick = Class("Quick", [1, 2, 3], ("Short", Engines.Laws, 10), ("Short_too", Engines.Laws, 20));
    private static readonly TestClass Other = Class("Other", [3], ("Elsewhere", Engines.Laws, 1));
    private static readonly TestMap Map = new([Slow, Quick, Other], 4, TimeSpan.Zero);

    [Theory]
    [InlineData(1, Engines.Laws, "Quick: Short Short_too, Slow: Long")]
    [InlineData(1, Engines.Properties, "Slow: Drawn")]
    [InlineData(1, Engines.Conformance, "")]
    [InlineData(3, Engines.Laws, "Other: Elsewhere, Quick: Short Short_too")]
    [InlineData(4, Engines.Laws, "")]
    public void Only_what_reaches_it_hunts_a_mutant_the_quicker_first(int number, string engine, string order) => Assert.Equal(order, Text(new TestOrder(Map).Of(number, engine)));

    [Fact]
    public void What_found_one_before_hunts_first_and_once()
    {
        var order = new TestOrder(Map);
        order.Found(Slow, Slow.Methods[0]);
        Assert.Equal("Slow: Long, Quick: Short Short_too", Text(order.Of(1, Engines.Laws)));
        order.Found(Quick, Quick.Methods[1]);
        Assert.Equal("Quick: Short_too, Slow: Long, Quick: Short", Text(order.Of(1, Engines.Laws)));
        order.Found(Slow, Slow.Methods[0]);
        Assert.Equal("Slow: Long, Quick: Short_too, Quick: Short", Text(order.Of(2, Engines.Laws)));
        // It does not reach this one.
        Assert.Equal("Quick: Short_too, Other: Elsewhere, Quick: Short", Text(order.Of(3, Engines.Laws)));
        Assert.Equal("Slow: Drawn", Text(order.Of(1, Engines.Properties)));
    }

    /// <summary>A clock that is a little faster or slower makes no other order.</summary>
    [Fact]
    public void What_takes_nearly_as_long_goes_by_its_name()
    {
        TestClass one = Class("B", [1], ("Test", Engines.Laws, 19));
        TestClass two = Class("A", [1], ("Test", Engines.Laws, 31));
        Assert.Equal("A: Test, B: Test", Text(new TestOrder(new([one, two], 2, TimeSpan.Zero)).Of(1, Engines.Laws)));
    }

    [Theory]
    [InlineData(0, "A.Passes", "A.Passes(row: 1), A.Passes(row: 2)", null, null)]
    [InlineData(1, "A.Passes A.Fails", "A.Passes(row: 1), A.Fails(row: 1)", "A.Fails(row: 1)", null)]
    [InlineData(2, "A.Passes A.Hangs", "A.Passes(row: 1)", null, "A.Hangs(row: 1) did not end")]
    [InlineData(null, "A.Hangs", "", null, "A.Hangs(row: 1) did not end")]
    [InlineData(134, "A.Ends", "", null, "A.Ends(row: 1) ended the process with 134: no memory")]
    [InlineData(134, "", "", null, "a class of tests ended the process with 134: no memory")]
    public void What_became_of_tests_is_read_from_what_was_told(int? exit, string methods, string over, string? failed, string? problem)
    {
        List<string> lines = [];
        foreach (string method in methods.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            for (int row = 1; row <= (exit == 0 ? 2 : 1); row++)
            {
                lines.Add($$"""{"event":"begin","test":"{{method}}(row: {{row}})"}""");
                string end = method == "A.Fails" ? "failed" : "passed";
                if (method is "A.Passes" or "A.Fails")
                    lines.Add($$"""{"event":"{{end}}","class":"A","method":"x","test":"{{method}}(row: {{row}})","seconds":"0.5","generated":"no"{{(end == "failed" ? ",\"message\":\"no\"" : "")}}}""");
            }
        }

        // What ends a process may end it in the middle of a line.
        if (exit > 2) lines.Add("{\"event\":\"beg");
        TestRun run = TestRun.Read(lines, exit, " no memory\n");
        Assert.Equal(over, string.Join(", ", run.Results.Select(static result => result.Name)));
        Assert.All(run.Results, static result => Assert.Equal(0.5, result.Elapsed.TotalSeconds));
        Assert.Equal(failed, run.Failed?.Name);
        Assert.Equal(problem, run.Problem);
    }

    [Theory]
    [InlineData(10, "----", false)]
    [InlineData(10, "-----", true)]
    [InlineData(10, "+-+-+-+--", true)]
    [InlineData(10, "++++++", false)]
    [InlineData(3, "-", false)]
    [InlineData(3, "--", true)]
    [InlineData(3, "+-", false)]
    [InlineData(1, "-", true)]
    public void Once_so_many_seeds_did_not_find_it_that_most_do_not_no_other_can_change_that(int seeds, string hunts, bool isDecided)
    {
        EngineOutcome Outcome(string found) => new(Engines.Sequences, [.. found.Select(static one => new Hunt(one == '+' ? HuntEnd.Found : HuntEnd.NotFound, 7, TimeSpan.Zero))], seeds);
        Assert.Equal(isDecided, Outcome(hunts).IsDecided);
        // Even if all others found it.
        if (isDecided) Assert.Null(Outcome(hunts.PadRight(seeds, '+')).Median);
        else Assert.Equal(7, Outcome(hunts.PadRight(seeds, '+')).Median);
        Assert.Equal(Outcome(hunts.PadRight(seeds, '-')).Median, Outcome(hunts).Median);
    }

    private static TestClass Class(string name, ImmutableHashSet<int> reaches, params (string Name, string Engine, int Milliseconds)[] methods) =>
        new("Properties", name, [.. methods.Select(static method => new TestMethod(method.Name, method.Engine, TimeSpan.FromMilliseconds(method.Milliseconds)))], reaches);

    private static string Text(ImmutableArray<TestBatch> batches) =>
        string.Join(", ", batches.Select(static batch => $"{batch.Class.Name}: {string.Join(' ', batch.Methods.Select(static method => method.Name))}"));
}

using Microsoft.CodeAnalysis.Text;
using Mutation.Exhibits;
using Mutation.Hunting;
using Mutation.Report;
using Mutation.Schema;
using Vcmm.Spec;

namespace Properties.Mutating;

/// <summary>Mutants, engines, invariants: who finds what, and what only one finds.</summary>
public sealed class KillMatrixLaws
{
    private const string Source = "aaaaaaaaaa\nbbbbbbbbbb\n";

    private static readonly Hunt Nothing = new(HuntEnd.NotFound, 50, TimeSpan.FromSeconds(20));
    private static readonly Hunt Broke = new(HuntEnd.Broke, 0, TimeSpan.FromSeconds(5)) { Report = "it did not end" };
    private static readonly Hunt ByTest = new(HuntEnd.Found, 1, TimeSpan.FromSeconds(10)) { Test = "Laws.It_holds" };

    private static readonly MutantOutcome[] Outcomes =
    [
        // Not run by all.
        Of("one", "drop", ("first", Found(Invariant.NoStaleAccess))),
        // Run by all: found by one alone, by two, by three, by none.
        Of("two", "drop", ("first", Nothing), ("second", Found(Invariant.NoStaleAccess)), ("tests", Nothing)),
        Of("three", "swap", ("first", Found(Invariant.NoStaleAccess)), ("second", Found(Invariant.Isolation)), ("tests", Nothing)),
        Of("four", "swap", ("first", Found(Invariant.Isolation)), ("second", Found(Invariant.Isolation)), ("tests", ByTest)),
        Of("five", "swap", ("first", Nothing), ("second", Nothing), ("tests", Nothing)),
        Of("six", "swap", ("first", Nothing), ("second", Nothing), ("tests", ByTest)),
        // Who broke of it saw that something is wrong.
        Of("seven", "swap", ("first", Broke), ("second", Found(Invariant.Isolation)), ("tests", Nothing)),
        new(MutantOf("eight", "swap"), []) { Broken = "no such name" },
    ];

    private static MutationReport Report => OutcomeReport.Of("verify mutants", Outcomes, static _ => Source);

    [Fact]
    public void Each_engine_has_what_it_finds_by_which_invariant_and_what_only_it_finds()
    {
        ReportGrid grid = ReportGrid.Engines(new KillMatrix(Report));
        Assert.Equal(
            """
            engine|run on|found|I4|I8|test|broke|only this engine|seconds|found a minute
            first|7|3|2|1|0|1|0|68|2.6
            second|6|4|1|3|0|0|1|44|5.5
            tests|6|2|0|0|2|0|1|100|1.2
            any||6|3|3|2|1|||
            only this invariant|||1|0|1||||

            """,
            Text(grid));
    }

    [Fact]
    public void It_is_said_over_how_many_and_what_no_check_finds()
    {
        IReadOnlyList<string> remarks = ReportGrid.RemarksOn(new KillMatrix(Report));
        Assert.Equal("\"Only\" is counted over the 6 mutants on which every engine was run.", remarks[0]);
        Assert.Equal("By no check of these was a mutant found: " + string.Join(", ", Enum.GetValues<Invariant>().Except([Invariant.NoStaleAccess, Invariant.Isolation]).Select(Invariants.Label)) + ".", remarks[1]);
        MutantOutcome[] every = [.. Enum.GetValues<Invariant>().Select(static invariant => Of($"{invariant}", "drop", ("first", Found(invariant))))];
        Assert.Equal("By a check of each invariant a mutant was found.", ReportGrid.RemarksOn(new KillMatrix(OutcomeReport.Of("x", every, static _ => Source)))[1]);
    }

    /// <summary>An engine that comes after all the others and is run where they found nothing.</summary>
    [Fact]
    public void What_only_one_finds_is_unknown_where_no_mutant_was_run_by_all()
    {
        MutantOutcome[] outcomes = [Of("one", "drop", ("first", Nothing)), Of("two", "drop", ("second", Found(Invariant.Isolation)))];
        var matrix = new KillMatrix(OutcomeReport.Of("x", outcomes, static _ => Source));
        Assert.Equal("What only one engine or one invariant finds is not known: on no mutant was every engine run.", ReportGrid.RemarksOn(matrix)[0]);
        Assert.Contains("second|1|1|1|–|1|60.0\n", Text(ReportGrid.Engines(matrix)), StringComparison.Ordinal);
    }

    [Fact]
    public void Each_kind_of_mistake_has_what_each_engine_finds_of_it()
    {
        MutationReport report = Report;
        Assert.Equal(
            """
            made by|mistake|mutants|first|second|tests|survived|score
            verify mutants|drop|2|1|1|0|0|100.0%
            verify mutants|swap|6|2|3|2|1|80.0%

            """,
            Text(ReportGrid.Operators(report, new KillMatrix(report))));
    }

    [Theory]
    [InlineData("src/Vcmm/Vtd/A.cs", "src/Vcmm")]
    [InlineData("verification/Properties/A.cs", "verification/Properties")]
    [InlineData("spec/Model/A.cs", "spec")]
    [InlineData("spec/A.cs", "spec")]
    [InlineData("A.cs", "A.cs")]
    [InlineData("schedules", "schedules")]
    public void A_file_is_of_its_project(string file, string project) => Assert.Equal(project, KillMatrix.ProjectOf(file));

    /// <summary>The score is that of the Stryker team's tools: what cannot be tested is not in it.</summary>
    [Fact]
    public void The_score_is_of_those_that_could_be_tested()
    {
        var counts = new MutantCounts(
        [
            .. Enumerable.Repeat(MutantStatus.Killed, 5), .. Enumerable.Repeat(MutantStatus.Timeout, 1), .. Enumerable.Repeat(MutantStatus.Survived, 3), MutantStatus.NoCoverage,
            .. Enumerable.Repeat(MutantStatus.CompileError, 7), .. Enumerable.Repeat(MutantStatus.Ignored, 9), MutantStatus.RuntimeError, MutantStatus.Pending,
        ]);
        Assert.Equal((60.0, 50.0, 10, 28), (counts.Score, counts.ScoreWithoutTimeouts, counts.Valid, counts.All));
        Assert.Null(new MutantCounts([MutantStatus.Ignored]).Score);
    }

    /// <summary>Its seeds are hunts of one engine, its changes one mutant.</summary>
    [Fact]
    public void An_exhibit_is_a_mutant_as_any_other()
    {
        var exhibit = Exhibit.Parse("a-b", "Title: it is wrong\nSource: x\nStory: x\nHere: x\nBreaks: I4\nThreads: no\n\n--- a.cs\n@@\n-two\n+2\n@@\n-four\n+4\n--- b.cs\n@@\n-one\n+1\n");
        Func<string, string> textOf = static file => file == "a.cs" ? "one\ntwo\nthree\nfour\n" : "one\n";
        var outcome = new ExhibitOutcome(exhibit, [new EngineOutcome("sequences", [Nothing, Found(Invariant.NoStaleAccess), Found(Invariant.NoStaleAccess)], 3)]);
        MutationReport report = OutcomeReport.Of("verify museum", [OutcomeReport.Of(outcome, textOf)], textOf);
        MutantResult mutant = Assert.Single(report.Files["a.cs"].Mutants);
        Assert.Equal(("a-b", "museum", MutantStatus.Killed, "sequences: I4 NoStaleAccess"), (mutant.Id, mutant.MutatorName, mutant.Status, mutant.StatusReason));
        Assert.Equal("it is wrong (changes b.cs, too)", mutant.Description);
        Assert.Equal(("two\nthree\nfour", "2\nthree\n4"), (mutant.Location.TextIn(report.Files["a.cs"].Source), mutant.Replacement));
        Assert.Equal(["sequences/I4"], mutant.KilledBy);
        Assert.Equal(3, mutant.EngineRuns!.Count);
        Assert.Contains("sequences|1|1|1|1|22|2.7\n", Text(ReportGrid.Engines(new KillMatrix(report))), StringComparison.Ordinal);
    }

    internal static string Text(ReportGrid grid) => string.Concat(grid.Rows.Prepend(grid.Columns).Select(static row => string.Join('|', row) + "\n"));

    private static Hunt Found(Invariant named) => new(HuntEnd.Found, 3, TimeSpan.FromSeconds(1)) { Named = named };

    private static MutantOutcome Of(string name, string kind, params (string Engine, Hunt Hunt)[] hunts) => new(MutantOf(name, kind), hunts);

    private static Mutant MutantOf(string name, string kind) => new(name, kind, "left out", [new SourceEdit("a.cs", new TextSpan(0, 3), "c")]);
}

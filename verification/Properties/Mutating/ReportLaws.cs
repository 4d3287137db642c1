using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis.Text;
using Mutation.Hunting;
using Mutation.Report;
using Mutation.Schema;
using Vcmm.Spec;

namespace Properties.Mutating;

/// <summary>The report on mutants: what the schema of mutation testing asks for, and what became of each.</summary>
public sealed class ReportLaws
{
    private const string Source = "class A\n{\n    void B() { Flush(); Wait(); Tell(); }\n}\n";

    private static readonly Hunt Found = new(HuntEnd.Found, 3, TimeSpan.FromSeconds(1)) { Named = Invariant.NoStaleAccess };
    private static readonly Hunt NotFound = new(HuntEnd.NotFound, 50, TimeSpan.FromSeconds(2));
    private static readonly Hunt Unreached = NotFound with { IsReached = false };
    private static readonly Hunt Broke = new(HuntEnd.Broke, 0, TimeSpan.FromSeconds(3)) { Report = "it did not end" };

    private static readonly MutantOutcome[] Outcomes =
    [
        new(MutantAt("one", "Flush();"), [("sequences", NotFound), ("schedules", Found)]),
        new(MutantAt("two", "Wait();"), [("sequences", NotFound), ("schedules", NotFound)]),
        new(MutantAt("three", "Tell();"), [("sequences", Broke)]),
        new(MutantAt("four", "Tell();"), []) { Broken = "no such name" },
        new(MutantAt("five", "Tell();"), [("laws", Unreached), ("sequences", Unreached)]),
        new(MutantAt("six", "Tell();"), [("laws", Unreached), ("sequences", NotFound)]),
        new(MutantAt("seven", "Tell();"), [("laws", NotFound)]) { IsPending = true },
        new(MutantAt("eight", "Tell();"), [("laws", Found with { Named = null, Test = "Laws.It_waits" })]) { IsPending = true },
    ];

    [Fact]
    public void A_report_is_as_the_schema_says()
    {
        JsonNode report = Written();
        ReportSchema.Check(report);
        JsonNode[] mutants = [.. report["files"]!["a.cs"]!["mutants"]!.AsArray().Select(static mutant => mutant!)];
        Assert.Equal("one Killed, two Survived, three Timeout, four CompileError, five NoCoverage, six Survived, seven Pending, eight Killed", string.Join(", ", mutants.Select(static mutant => $"{mutant["id"]} {mutant["status"]}")));
        Assert.Equal("laws: Laws.It_waits", (string?)mutants[7]["statusReason"]);
        Assert.Equal("schedules/I4", (string?)mutants[0]["killedBy"]![0]);
        Assert.Equal((53, 3000), ((int)mutants[0]["testsCompleted"]!, (int)mutants[0]["duration"]!));
        // Counted from 1.
        Assert.Equal((3, 16), ((int)mutants[0]["location"]!["start"]!["line"]!, (int)mutants[0]["location"]!["start"]!["column"]!));
        Assert.Equal((3, 24), ((int)mutants[0]["location"]!["end"]!["line"]!, (int)mutants[0]["location"]!["end"]!["column"]!));
    }

    /// <summary>An engine that checks invariants has one test for each; one that runs tests has those that failed, by their names.</summary>
    [Fact]
    public void Engines_are_files_of_tests()
    {
        MutantOutcome[] outcomes = [Outcomes[0], new(MutantAt("five", "Wait();"), [("tests", new(HuntEnd.Found, 9, TimeSpan.Zero) { Test = "Laws.It_holds" })])];
        JsonNode report = JsonNode.Parse(OutcomeReport.Of("verify mutants", outcomes, static _ => Source).ToString())!;
        ReportSchema.Check(report);
        Assert.Equal(["schedules", "sequences", "tests"], report["testFiles"]!.AsObject().Select(static file => file.Key));
        Assert.Equal(Enum.GetValues<Invariant>().Select(static invariant => $"sequences: {invariant.Label()}"), NamesIn("sequences"));
        Assert.Equal(["Laws.It_holds"], NamesIn("tests"));
        Assert.Equal((string?)report["testFiles"]!["tests"]!["tests"]![0]!["id"], (string?)report["files"]!["a.cs"]!["mutants"]![1]!["killedBy"]![0]);

        IEnumerable<string?> NamesIn(string engine) => report["testFiles"]![engine]!["tests"]!.AsArray().Select(static test => (string?)test!["name"]);
    }

    [Fact]
    public void What_is_read_is_what_was_written()
    {
        string text = OutcomeReport.Of("verify mutants", Outcomes, static _ => Source).ToString();
        Assert.Equal(text, MutationReport.Parse(text).ToString());
    }

    [Theory]
    [InlineData("id")]
    [InlineData("status")]
    [InlineData("location")]
    public void The_schema_would_refuse_a_mutant_without(string field)
    {
        JsonNode report = Written();
        report["files"]!["a.cs"]!["mutants"]![0]!.AsObject().Remove(field);
        Assert.ThrowsAny<Exception>(() => ReportSchema.Check(report));
    }

    /// <summary>What a source says does not end the page's own elements.</summary>
    [Fact]
    public void A_page_holds_any_source()
    {
        string page = ReportPage.Make("a <b>", """{ "source": "</script><script>alert(1)</script>" }""", "");
        Assert.Equal(3, page.Split("</script>").Length - 1);
        Assert.Contains("<title>a &lt;b&gt;</title>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("src=\"http", page, StringComparison.Ordinal);
        Assert.Contains("default-src 'none'", page, StringComparison.Ordinal);
    }

    private static JsonNode Written() => JsonNode.Parse(OutcomeReport.Of("verify mutants", Outcomes, static _ => Source).ToString())!;

    private static Mutant MutantAt(string name, string text) =>
        new(name, "drop", "left out", [new SourceEdit("a.cs", new TextSpan(Source.IndexOf(text, StringComparison.Ordinal), text.Length), ";")]);
}

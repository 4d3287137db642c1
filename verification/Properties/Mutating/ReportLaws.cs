using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis.Text;
using Mutation.Hunting;
using Mutation.Report;
using Mutation.Schema;
using Properties.Cli;
using Vcmm.Spec;
using Verify.Output;

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
        // Counted from 1.
        Assert.Equal((3, 16), ((int)mutants[0]["location"]!["start"]!["line"]!, (int)mutants[0]["location"]!["start"]!["column"]!));
        Assert.Equal((3, 24), ((int)mutants[0]["location"]!["end"]!["line"]!, (int)mutants[0]["location"]!["end"]!["column"]!));
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
        string page = ReportPage.Make("a <b>", """{ "source": "</script><script>alert(1)</script>" }""");
        Assert.Equal(3, page.Split("</script>").Length - 1);
        Assert.Contains("<title>a &lt;b&gt;</title>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("src=\"http", page, StringComparison.Ordinal);
    }

    private static JsonNode Written()
    {
        using var terminal = new Terminal();
        // The command ends with an error, outside of a checkout; only its surroundings are wanted.
        terminal.Run("mutants --list", here =>
        {
            new MutantReport(here, "report.json", null).Write(Outcomes, static _ => Source);
            return here;
        });
        return JsonNode.Parse(terminal.Files["report.json"])!;
    }

    private static Mutant MutantAt(string name, string text) =>
        new(name, "drop", "left out", [new SourceEdit("a.cs", new TextSpan(Source.IndexOf(text, StringComparison.Ordinal), text.Length), ";")]);
}

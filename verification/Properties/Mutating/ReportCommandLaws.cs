using System.Text.Json.Nodes;
using Mutation.Report;
using Properties.Cli;
using Verify;

namespace Properties.Mutating;

/// <summary>What <c>verify report</c> makes of several reports on mutants.</summary>
public sealed class ReportCommandLaws
{
    private const string Source = "class A;\n";

    private static readonly string Ours = Report("verify mutants", "src/Vcmm/A.cs", Source, ("0", "drop-sync", "Killed", ""), ("1", "drop-fence", "Survived", ""), ("2", "wrong-id", "CompileError", ""));

    /// <summary>As it comes from a run of one project on another machine, with the number of a mutant of ours.</summary>
    private static readonly string Strykers = Report(
        "Stryker.NET", "A.cs", "\uFEFFclass A;\r\n", ("0", "Block", "Killed", ";"), ("1", "Block removal", "Timeout", ""), ("2", "Equality", "Ignored", "!="), ("3", "Equality", "NoCoverage", "<"))
        .Replace("\"schemaVersion\"", "\"projectRoot\": \"/home/runner/work/there/src/Vcmm/\", \"schemaVersion\"", StringComparison.Ordinal);

    [Fact]
    public void Several_become_one_in_the_same_schema()
    {
        using var terminal = Checkout();
        Assert.Equal(ExitCode.Clean, terminal.Run($"report {terminal.Write("a.json", Ours)} {terminal.Write("b.json", Strykers)} --json all.json --html all.html --markdown all.md"));
        Assert.Empty(terminal.Error);
        JsonNode report = JsonNode.Parse(terminal.Files["all.json"])!;
        ReportSchema.Check(report);
        (string path, JsonNode? file) = Assert.Single(report["files"]!.AsObject());
        Assert.Equal("src/Vcmm/A.cs", path);
        Assert.Equal(Source, (string?)file!["source"]);
        Assert.Equal(
            ["verify-mutants/0 Killed", "verify-mutants/1 Survived", "verify-mutants/2 CompileError", "stryker-net/0 Killed", "stryker-net/1 Timeout", "stryker-net/2 Ignored", "stryker-net/3 NoCoverage"],
            file["mutants"]!.AsArray().Select(static mutant => $"{mutant!["id"]} {mutant["status"]}"));
        Assert.Contains("mutation-test-report-app", terminal.Files["all.html"], StringComparison.Ordinal);
        Assert.StartsWith("# all mutants\n", terminal.Files["all.md"], StringComparison.Ordinal);
    }

    [Fact]
    public void Each_status_is_counted_apart_and_the_score_is_the_usual_one()
    {
        using var terminal = Checkout();
        terminal.Run($"report {terminal.Write("a.json", Ours)} {terminal.Write("b.json", Strykers)}");
        Assert.Equal(
            """
            made by|project|mutants|killed|timed out|survived|no coverage|not compiled|ignored|score|without time-outs
            Stryker.NET|src/Vcmm|4|1|1|0|1|0|1|66.7%|33.3%
            verify mutants|src/Vcmm|3|1|0|1|0|1|0|50.0%|50.0%
            all||7|2|1|1|1|1|1|60.0%|40.0%

            """,
            KillMatrixLaws.Text(ReportGrid.Scores(Merged(("a.json", Ours), ("b.json", Strykers)))));
        Assert.EndsWith("\n7 mutants, 5 of them could be tested, score 60.0%\n", terminal.Out, StringComparison.Ordinal);
        Assert.Contains("│ Stryker.NET", terminal.Out, StringComparison.Ordinal);
    }

    /// <summary>One is of an older commit: lines and places of the one say nothing in the other.</summary>
    [Fact]
    public void Reports_on_different_sources_are_refused()
    {
        using var terminal = Checkout();
        terminal.Write("b.json", Strykers.Replace("class A;", "class A { }", StringComparison.Ordinal));
        Assert.Equal(ExitCode.BadInput, terminal.Run($"report {terminal.Write("a.json", Ours)} b.json --json all.json"));
        Assert.Equal("verify: b.json: src/Vcmm/A.cs is another text than in a.json; expected reports on the same sources", terminal.OneErrorLine());
        Assert.DoesNotContain("all.json", terminal.Files.Keys);
    }

    [Theory]
    [InlineData("a.json a.json", "a.json: drop-sync at src/Vcmm/A.cs:1 is in a.json, too; expected each mutant in one report")]
    [InlineData("a.json c.json", "c.json: drop-sync at src/Vcmm/A.cs:1 is in a.json, too; expected each mutant in one report")]
    public void A_mutant_is_not_counted_twice(string files, string message)
    {
        using var terminal = Checkout();
        terminal.Write("a.json", Ours);
        terminal.Write("c.json", Ours);
        Assert.Equal(ExitCode.BadInput, terminal.Run($"report {files}"));
        Assert.Equal($"verify: {message}", terminal.OneErrorLine());
    }

    /// <summary>Stryker tells of what a run left out as well: another run may have tested that.</summary>
    [Fact]
    public void What_one_run_left_out_is_as_another_found_it()
    {
        string left = Report("Stryker.NET", "src/Vcmm/A.cs", Source, ("0", "Block", "Killed", ";"), ("1", "Equality", "Ignored", "!="), ("2", "Equality", "Ignored", "<"),
            ("3", "Equality", "CompileError", ">"), ("4", "Equality", "CompileError", "<="), ("5", "Equality", "Killed", ">="));
        string right = Report("Stryker.NET", "src/Vcmm/A.cs", Source, ("0", "Block", "Ignored", ";"), ("1", "Equality", "Survived", "!="), ("2", "Equality", "Ignored", "<"),
            ("3", "Equality", "CompileError", ">"), ("4", "Equality", "Ignored", "<="), ("5", "Equality", "CompileError", ">="));
        foreach (MutationReport merged in (MutationReport[])[Merged(("a", left), ("b", right)), Merged(("b", right), ("a", left))])
            Assert.Equal(["!= Survived", "; Killed", "< Ignored", "<= CompileError", "> CompileError", ">= Killed"], merged.Files["src/Vcmm/A.cs"].Mutants.Select(static mutant => $"{mutant.Replacement} {mutant.Status}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_file_without_mutants_says_nothing_not_even_its_text()
    {
        string left = Report("Stryker.NET", "src/Vcmm/A.cs", "File ignored by mutate filter");
        foreach (MutationReport merged in (MutationReport[])[Merged(("a", left), ("b", Strykers)), Merged(("b", Strykers), ("a", left))])
            Assert.Equal(Merged(("b", Strykers)).Files["src/Vcmm/A.cs"].Source, merged.Files["src/Vcmm/A.cs"].Source);
        Assert.Empty(Merged(("a", left)).Files);
    }

    /// <summary>Each run of Stryker counts its mutants from the beginning.</summary>
    [Fact]
    public void Two_runs_of_one_maker_keep_their_mutants_apart()
    {
        string other = Report("Stryker.NET", "src/IommuSim/B.cs", "class B;\n", ("0", "Block", "Survived", ""), ("7", "Block removal", "Killed", ";"));
        MutationReport merged = Merged(("a", Strykers), ("b", other), ("c", Ours));
        string[] ids = [.. ReportGrid.All(merged).Select(static each => each.Mutant.Id)];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.Equal(["stryker-net-2/0", "stryker-net-2/7"], merged.Files["src/IommuSim/B.cs"].Mutants.Select(static mutant => mutant.Id));
        // What was merged can be merged with more, and says the same.
        MutationReport again = Merged(("ab", MutationReport.Parse(Merged(("a", Strykers), ("b", other)).ToString()).ToString()), ("c", Ours));
        Assert.Equal(merged.ToString(), again.ToString());
    }

    [Fact]
    public void A_test_of_two_runs_is_one_and_two_tests_with_one_number_are_two()
    {
        string first = WithTests(Strykers, "/home/runner/work/there/verification/Properties/P.cs", ("1", "P.Holds"), ("2", "P.Fails"));
        string second = WithTests(Report("Stryker.NET", "src/IommuSim/B.cs", "class B;\n", ("0", "Block", "Killed", ";")), "/elsewhere/verification/Properties/P.cs", ("1", "P.Holds"), ("2", "P.New"));
        MutationReport merged = Merged(("a", first), ("b", second));
        (string path, TestFile tests) = Assert.Single(merged.TestFiles!);
        Assert.Equal("verification/Properties/P.cs", path);
        Assert.Equal(["stryker-net/1 P.Holds", "stryker-net/2 P.Fails", "stryker-net/2-2 P.New"], tests.Tests.Select(static test => $"{test.Id} {test.Name}"));
        Assert.Equal(["stryker-net/1", "stryker-net/2-2"], merged.Files["src/IommuSim/B.cs"].Mutants[0].KilledBy);
        Assert.Equal(["verification/Properties"], new KillMatrix(merged).Engines.Where(static engine => engine != "Stryker.NET"));
    }

    [Theory]
    [InlineData("src/Vcmm/A.cs", null)]
    [InlineData("A.cs", "/home/runner/work/there/src/Vcmm")]
    [InlineData("Vcmm/A.cs", "/there/src/")]
    [InlineData("/there/src/Vcmm/A.cs", "/there")]
    [InlineData(@"C:\there\src\Vcmm\A.cs", null)]
    [InlineData(@"Vcmm\A.cs", @"C:\there\src")]
    [InlineData("HERE/src/Vcmm/A.cs", "/there")]
    [InlineData("A.cs", "HERE/src/Vcmm")]
    [InlineData("./src/Vcmm/A.cs", null)]
    public void A_file_is_the_same_whoever_tells_of_it(string path, string? root)
    {
        using var terminal = Checkout();
        Assert.Equal("src/Vcmm/A.cs", new ReportPaths(terminal.Folder).Of(path.Replace("HERE", terminal.Folder, StringComparison.Ordinal), root?.Replace("HERE", terminal.Folder, StringComparison.Ordinal)));
    }

    [Fact]
    public void A_file_of_another_place_stays_as_it_is()
    {
        using var terminal = Checkout();
        Assert.Equal("lib/C.cs", new ReportPaths(terminal.Folder).Of(@"lib\C.cs", "/there"));
        // Nor is a file beside the checkout one in it.
        terminal.Write("in/Verification.sln", "");
        Assert.Equal("../src/Vcmm/A.cs", new ReportPaths(Path.Combine(terminal.Folder, "in")).Of("../src/Vcmm/A.cs", null));
    }

    [Theory]
    [InlineData("{}", "missing required properties including: 'schemaVersion', 'thresholds', 'files'")]
    [InlineData("null", "it is null")]
    [InlineData("hello", "'h' is an invalid start of a value")]
    [InlineData("""{ "schemaVersion": "2", "thresholds": { "high": 1, "low": 1 }, "files": { "a.cs": { "language": "cs", "source": "", "mutants": [ { "id": "1" } ] } } }""", "'mutatorName', 'location', 'status'")]
    [InlineData("""{ "schemaVersion": "2", "thresholds": { "high": 1, "low": 1 }, "files": { "a.cs": null } }""", "a file, a mutant or a test is null")]
    public void What_is_no_report_is_refused_on_one_line(string content, string message)
    {
        using var terminal = Checkout();
        Assert.Equal(ExitCode.BadInput, terminal.Run($"report {terminal.Write("a.json", content)}"));
        string line = terminal.OneErrorLine();
        Assert.StartsWith("verify: a.json: not a report of mutation testing: ", line, StringComparison.Ordinal);
        Assert.Contains(message, line, StringComparison.Ordinal);
    }

    /// <summary>The file of a job's summary is there before anybody writes to it.</summary>
    [Fact]
    public void The_summary_of_a_job_is_written()
    {
        using var terminal = Checkout();
        terminal.Write("step-summary", "");
        Assert.Equal(ExitCode.Clean, terminal.Run($"report {terminal.Write("a.json", Ours)} --markdown {terminal.Folder}/step-summary"));
        Assert.StartsWith("# all mutants\n", terminal.Files["step-summary"], StringComparison.Ordinal);
    }

    /// <summary>A report on one file; each mutant replaces all that is in it. Stryker.NET says no name of its own.</summary>
    internal static string Report(string framework, string file, string source, params (string Id, string Kind, string Status, string Replacement)[] mutants)
    {
        string[] lines = source.TrimEnd('\n', '\r').Split('\n');
        return new JsonObject
        {
            ["schemaVersion"] = "2",
            ["thresholds"] = new JsonObject { ["high"] = 90, ["low"] = 80 },
            ["framework"] = framework == "Stryker.NET" ? null : new JsonObject { ["name"] = framework },
            ["files"] = new JsonObject
            {
                [file] = new JsonObject
                {
                    ["language"] = "cs",
                    ["source"] = source,
                    ["mutants"] = new JsonArray(
                    [
                        .. mutants.Select(mutant => new JsonObject
                        {
                            ["id"] = mutant.Id, ["mutatorName"] = mutant.Kind, ["status"] = mutant.Status, ["replacement"] = mutant.Replacement,
                            ["location"] = new JsonObject
                            {
                                ["start"] = new JsonObject { ["line"] = 1, ["column"] = 1 },
                                ["end"] = new JsonObject { ["line"] = lines.Length, ["column"] = lines[^1].Length + 1 },
                            },
                        }),
                    ]),
                },
            },
        }.ToJsonString();
    }

    /// <summary>The report with tests, all of which fail for its first mutant.</summary>
    private static string WithTests(string report, string file, params (string Id, string Name)[] tests)
    {
        JsonNode changed = JsonNode.Parse(report)!;
        changed["testFiles"] = new JsonObject { [file] = new JsonObject { ["tests"] = new JsonArray([.. tests.Select(static test => new JsonObject { ["id"] = test.Id, ["name"] = test.Name })]) } };
        changed["files"]!.AsObject().First().Value!["mutants"]![0]!["killedBy"] = new JsonArray([.. tests.Select(static test => JsonValue.Create(test.Id))]);
        return changed.ToJsonString();
    }

    private static Terminal Checkout()
    {
        var terminal = new Terminal();
        terminal.Write("Verification.sln", "");
        terminal.Write("src/Vcmm/A.cs", Source);
        terminal.Write("src/IommuSim/B.cs", "class B;\n");
        terminal.Write("verification/Properties/P.cs", "");
        return terminal;
    }

    private static MutationReport Merged(params (string Name, string Text)[] reports)
    {
        using var terminal = Checkout();
        var merge = new ReportMerge(new ReportPaths(terminal.Folder));
        foreach ((string name, string text) in reports) merge.Add(name, MutationReport.Parse(text));
        return merge.Merged();
    }
}

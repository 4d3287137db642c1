using System.Text.Json.Nodes;
using Mutation.Exhibits;
using Mutation.Schema;
using Properties.Cli;
using Verify;

namespace Properties.Mutating;

/// <summary>The museum as it is: each exhibit can still be planted, and is found by those who are to find it.</summary>
[Trait("Category", "Slow")]
public sealed class MuseumLaws
{
    private static readonly Exhibit[] Exhibits = [.. Exhibit.ReadAll(Path.Combine(Checkout.Root, "mutation", "Museum"))];

    /// <summary>A change of the library may take away what a patch changes: then the patch is to change with it.</summary>
    [Fact]
    public void Each_exhibit_can_be_planted()
    {
        LibrarySources sources = LibrarySources.Read(Checkout.Root, "src/Vcmm/Vcmm.csproj", Checkout.Configuration);
        MutatedLibrary library = MutantSchema.Compile(sources, [.. Exhibits.Select(exhibit => exhibit.ToMutant(sources.TextOf))]);
        Assert.Empty(library.Broken.Select(broken => $"{Exhibits[broken.Key - 1].Name}: {broken.Value}"));
        Assert.InRange(Exhibits.Length, 40, 1000);
        // Each is of another bug, told in words.
        Assert.Equal(Exhibits.Length, Exhibits.Select(static exhibit => exhibit.Title).Distinct().Count());
        Assert.All(Exhibits, static exhibit => Assert.InRange(exhibit.Story.Split(' ').Length, 8, 100));
    }

    /// <summary>The whole way: mutated, rewritten, run in a process of its own, told by name.</summary>
    [Theory]
    [InlineData("backed-twice", "", "sequences")]
    [InlineData("released-by-a-flush-that-began-before", "", "portfolio")]
    // Sequences find it, too.
    [InlineData("leaf-hint-for-a-freed-table", "--strategy Random", "Random")]
    public void An_exhibit_is_found_by_name(string name, string options, string engine)
    {
        using var terminal = new Terminal();
        int exit = terminal.Run($"museum --name {name} {options} --seeds 2 --no-tests --json {terminal.Folder}/museum.json --report {terminal.Folder}/report.json --html {terminal.Folder}/museum.html --markdown {terminal.Folder}/museum.md", InCheckout);
        Assert.Equal("", terminal.Error);
        Assert.Equal(ExitCode.Clean, exit);
        Assert.Contains("1 of 1 found by name, 2 seeds from 1", terminal.Out, StringComparison.Ordinal);
        JsonNode exhibit = JsonNode.Parse(terminal.Files["museum.json"])!["exhibits"]![0]!;
        Assert.Equal(name, (string?)exhibit["name"]);
        Assert.Equal(engine, (string?)exhibit["engines"]![0]!["engine"]);
        Assert.Equal(2, (int)exhibit["engines"]![0]!["found"]!);
        Assert.NotEqual("", (string?)exhibit["engines"]![0]!["hunts"]![0]!["size"]);
        JsonNode report = JsonNode.Parse(terminal.Files["report.json"])!;
        ReportSchema.Check(report);
        JsonNode mutant = Assert.Single(report["files"]!.AsObject()).Value!["mutants"]![0]!;
        Assert.Equal((name, "Killed"), ((string?)mutant["id"], (string?)mutant["status"]));
        Assert.Contains((string?)mutant["killedBy"]![0], exhibit["breaks"]!.AsArray().Select(named => $"{engine}/{named}"));
        Assert.Contains("mutation-test-report-app", terminal.Files["museum.html"], StringComparison.Ordinal);
        Assert.Contains($"\n| {engine} | 1 | 1 | 1 | ", terminal.Files["museum.md"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--name backed-twice --strategy portfolio", "--strategy: backed-twice has no scenario whose schedules could be chosen")]
    [InlineData("--strategy luck", "--strategy: \"luck\"; expected one of portfolio, Random, ")]
    public void A_strategy_that_can_choose_nothing_is_refused(string options, string message)
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.BadInput, terminal.Run($"museum {options}", InCheckout));
        Assert.Contains(message, terminal.Error, StringComparison.Ordinal);
    }

    /// <summary>Mutants of code that no stage runs: what is found elsewhere is not the mutated library's own.</summary>
    [Fact]
    public void A_mutant_that_no_stage_runs_is_not_covered()
    {
        using var terminal = new Terminal();
        int exit = terminal.Run($"mutants --operator drop-clean --files Dma/DmaMapping.cs --engine sequences --engine exhaustive --engine schedules --strategy Random --strategy portfolio --time 1 --schedules 2 --json {terminal.Folder}/mutants.json --html {terminal.Folder}/mutants.html --markdown {terminal.Folder}/mutants.md", InCheckout);
        Assert.Equal("", terminal.Error);
        // No stage runs what a mapping for streaming does: nothing there is found, and nothing else is.
        Assert.Equal(ExitCode.Violation, exit);
        Assert.Contains("0 of 2 found", terminal.Out, StringComparison.Ordinal);
        JsonNode report = JsonNode.Parse(terminal.Files["mutants.json"])!;
        ReportSchema.Check(report);
        Assert.Contains("mutation-test-report-app", terminal.Files["mutants.html"], StringComparison.Ordinal);
        Assert.Contains("\n## 2 survived\n\n* `src/Vcmm/Dma/DmaMapping.cs:", terminal.Files["mutants.md"], StringComparison.Ordinal);
        JsonArray mutants = report["files"]!["src/Vcmm/Dma/DmaMapping.cs"]!["mutants"]!.AsArray();
        Assert.All(mutants, static mutant => Assert.Equal("NoCoverage", (string?)mutant!["status"]));
        Assert.Equal(["Random", "exhaustive", "portfolio", "sequences"], report["testFiles"]!.AsObject().Select(static engine => engine.Key));
    }

    [Fact]
    public void A_strategy_of_a_hunt_for_mutants_is_one_that_there_is()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.BadInput, terminal.Run("mutants --strategy luck", InCheckout));
        Assert.Contains("--strategy: \"luck\"; expected one of portfolio, Random, ", terminal.Error, StringComparison.Ordinal);
    }

    private static Surroundings InCheckout(Surroundings here) => here with { Directory = Checkout.Root, Time = TimeProvider.System };
}

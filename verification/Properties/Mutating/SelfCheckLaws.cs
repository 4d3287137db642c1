using System.Text.Json.Nodes;
using Harness;
using Mutation.Exhibits;
using Mutation.Schema;
using Mutation.SelfCheck;
using Properties.Cli;
using Verify;

namespace Properties.Mutating;

/// <summary>The self-check finds that an oracle is needed where it is, and that it is not where it is not.</summary>
[Trait("Category", "Slow")]
public sealed class SelfCheckLaws
{
    private static string File => System.IO.File.ReadAllText(Path.Combine(Checkout.Root, "mutation", "Witnesses", "witnesses.json"));

    [Fact]
    public void Every_invariant_and_every_engine_has_a_witness_or_a_reason_why_not()
    {
        WitnessFile file = WitnessFile.Parse(File);
        Assert.Equal(14, file.Invariants.Count);
        Assert.Equal(WitnessFile.Engines, file.EngineWitnesses.Select(static witness => witness.Engine));
        Assert.All(file.Invariants, static witness => Assert.True(witness.Why is null or { Length: > 20 }));
    }

    [Theory]
    [InlineData("\"invariant\": \"I3\"", "\"invariant\": \"I33\"", "invariants has \"I33\"")]
    [InlineData("\"invariant\": \"I3\"", "\"invariant\": \"I4\"", "invariants has I3 0 times")]
    [InlineData("\"engine\": \"foreign\", \"why\"", "\"engine\": \"alien\", \"why\"", "engines has \"alien\"")]
    [InlineData("\"engine\": \"foreign\", \"count\"", "\"engine\": \"alien\", \"count\"", "\"alien\" is no engine")]
    [InlineData("\"count\"", "\"counts\"", "counts")]
    [InlineData(", \"class\": \"Properties.Library.RefusalLaws\"", "", "tests: expected a class where tests hunt")]
    [InlineData("\"engine\": \"traces\" }", "\"engine\": \"traces\", \"class\": \"Properties.Library.RefusalLaws\" }", "traces: expected a class where tests hunt, and nowhere else")]
    [InlineData("vcmm-witnesses-1", "vcmm-witnesses-2", "format is")]
    public void A_file_that_is_none_is_refused(string good, string bad, string message)
    {
        int at = File.IndexOf(good, StringComparison.Ordinal);
        string text = File.Remove(at, good.Length).Insert(at, bad);
        Assert.Contains(message, Assert.Throws<BadInputException>(() => WitnessFile.Parse(text)).Message, StringComparison.Ordinal);
    }

    /// <summary>A change of the library may take away what a patch changes: then the patch is to change with it.</summary>
    [Fact]
    public void Each_patch_can_be_planted_and_is_a_witness()
    {
        Exhibit[] patches = [.. Exhibit.ReadAll(Path.Combine(Checkout.Root, "mutation", "Witnesses"))];
        LibrarySources sources = LibrarySources.Read(Checkout.Root, "src/Vcmm/Vcmm.csproj", Checkout.Configuration);
        MutatedLibrary library = MutantSchema.Compile(sources, [.. patches.Select(patch => patch.ToMutant(sources.TextOf))]);
        Assert.Empty(library.Broken.Select(broken => $"{patches[broken.Key - 1].Name}: {broken.Value}"));
        Assert.All(patches, static patch => Assert.Contains($"\"patch\": \"{patch.Name}\"", File, StringComparison.Ordinal));
    }

    /// <summary>Those that take seconds.</summary>
    [Fact]
    public void Quick_witnesses_are_found_and_with_their_invariant_muted_are_not()
    {
        using var terminal = new Terminal();
        int exit = terminal.Run($"selfcheck --only I1 --only I9 --only I11 --only I14 --json {terminal.Folder}/check.json", InCheckout);
        Assert.Equal("", terminal.Error);
        Assert.Equal(ExitCode.Clean, exit);
        Assert.Contains("4 of 4 invariants and 0 of 0 engines shown to be needed", terminal.Out, StringComparison.Ordinal);
        JsonArray rows = JsonNode.Parse(terminal.Files["check.json"])!["invariants"]!.AsArray();
        Assert.All(rows, static row =>
        {
            Assert.Equal((string?)row!["invariant"], (string?)row["all"]!["named"]);
            Assert.Equal("NotFound", (string?)row["muted"]!["end"]);
            Assert.NotEqual(0, (long)row["muted"]!["mutedBreaches"]!);
        });
    }

    /// <summary>Two oracles see the same: neither is shown to be needed by it, and the table says who else sees it. And one that names another is no witness.</summary>
    [Fact]
    public void What_others_see_as_well_is_no_witness()
    {
        using var terminal = new Terminal();
        terminal.Write("witnesses.json", Swapped("I2", "alignment-not-asked-for", Swapped("I5", "memory-freed-while-mapped", File)));
        int exit = terminal.Run($"selfcheck --only I2 --only I5 --witnesses {terminal.Folder}/witnesses.json", InCheckout);
        Assert.Equal("", terminal.Error);
        Assert.Equal(ExitCode.Violation, exit);
        Assert.Contains("0 of 2 invariants", terminal.Out, StringComparison.Ordinal);
        Assert.Matches("I2 TablesAreTruth: alignment-not-asked-for: I1 in ", terminal.Out);
        Assert.Matches("I5 FrameSafety: memory-freed-while-mapped: .*; muted: still found: I", terminal.Out);
    }

    [Theory]
    [InlineData("Properties.Library.RefusalLaws", "unmapping-allocates: Properties.Library.RefusalLaws.Unmapping_whole_leaves_takes_no_memory in ", 1)]
    [InlineData("Properties.Library.FlushQueueLaws", "unmapping-allocates: nothing in ", 0)]
    public void A_class_of_tests_finds_what_it_is_the_law_of_and_another_does_not(string type, string told, int alone)
    {
        JsonNode file = JsonNode.Parse(File)!;
        JsonNode witness = file["engines"]!.AsArray().Single(static one => (string?)one!["engine"] == "tests")!;
        witness["hunt"]!["class"] = type;
        witness["others"] = new JsonArray();
        using var terminal = new Terminal();
        terminal.Write("witnesses.json", file.ToJsonString());
        int exit = terminal.Run($"selfcheck --only tests --witnesses {terminal.Folder}/witnesses.json", InCheckout);
        Assert.Equal("", terminal.Error);
        Assert.Contains($"tests: {told}", terminal.Out, StringComparison.Ordinal);
        Assert.Contains($"{alone} of 1 engine shown", terminal.Out, StringComparison.Ordinal);
        Assert.Equal(alone == 1 ? ExitCode.Clean : ExitCode.Violation, exit);
    }

    private static string Swapped(string invariant, string patch, string text)
    {
        JsonNode file = JsonNode.Parse(text)!;
        JsonNode witness = file["invariants"]!.AsArray().Single(one => (string?)one!["invariant"] == invariant)!;
        witness["planted"] = new JsonObject { ["patch"] = patch };
        witness["hunt"] = new JsonObject { ["engine"] = "sequences", ["count"] = 200 };
        witness.AsObject().Remove("why");
        return file.ToJsonString();
    }

    private static Surroundings InCheckout(Surroundings here) => here with { Directory = Checkout.Root, Time = TimeProvider.System };
}

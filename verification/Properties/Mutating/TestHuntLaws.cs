using System.Text.Json.Nodes;
using Mutation.Schema;
using Properties.Cli;
using Verify;

namespace Properties.Mutating;

/// <summary>The project's own tests hunt mutants: the whole way, mutated, copied, looked at, run.</summary>
[Trait("Category", "Slow")]
public sealed class TestHuntLaws
{
    private const string File = "src/Vcmm/Dma/DmaMapping.cs";
    private const string Two = "mutants --operator drop-clean --files Dma/DmaMapping.cs";

    /// <summary>No stage runs what a mapping for streaming does, and tests do; what they come to is the same twice.</summary>
    [Fact]
    public void What_only_tests_run_is_found_by_a_test_that_is_named()
    {
        const string line = $"{Two} --engine laws --tests Library.DmaM";
        string[] first = Hunt(line, ExitCode.Clean, "2 of 2 found");
        Assert.All(first, static mutant => Assert.Matches("^Killed: Properties\\.Library\\.DmaM[A-Za-z]+\\.[A-Za-z_]+", mutant));
        Assert.Equal(first, Hunt(line, ExitCode.Clean, "2 of 2 found"));
    }

    /// <summary>No test that follows others' records has to do with such mappings: none of them is run.</summary>
    [Fact]
    public void What_nothing_reaches_is_told_apart_from_what_survives() =>
        Assert.All(Hunt($"{Two} --engine conformance --tests Traces.Capture", ExitCode.Violation, "0 of 2 found"), static mutant => Assert.Equal("NoCoverage: ", mutant));

    [Fact]
    public void A_name_that_no_class_of_tests_has_is_refused()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.BadInput, terminal.Run($"{Two} --engine conformance --tests Library.DmaM", InCheckout));
        Assert.Equal("verify: --tests: \"Library.DmaM\" is in the name of no class of tests that hunts; expected part of one, such as Library.Dma", terminal.OneErrorLine());
    }

    /// <summary>The user stops when one is found: that one is in the report, what was under way is pending.</summary>
    [Fact]
    public void A_run_that_is_stopped_reports_what_it_knows()
    {
        using var stop = new CancellationTokenSource();
        using var terminal = new Terminal();
        int exit = terminal.Run(
            $"mutants --operator drop-invalidation --engine sequences --time 3 --json {terminal.Folder}/mutants.json",
            here => InCheckout(here) with { Out = new StoppingWriter(here.Out, " by sequences in ", stop), Stop = stop.Token });
        Assert.Equal(ExitCode.Environment, exit);
        Assert.Equal("verify: stopped before it was done", terminal.OneErrorLine());
        Assert.Contains(" not hunted to the end: the user stopped before", terminal.Out, StringComparison.Ordinal);
        JsonNode report = JsonNode.Parse(terminal.Files["mutants.json"])!;
        ReportSchema.Check(report);
        string?[] fates = [.. report["files"]!.AsObject().SelectMany(static file => file.Value!["mutants"]!.AsArray()).Select(static mutant => (string?)mutant!["status"])];
        Assert.Contains("Killed", fates);
        Assert.Contains("Pending", fates);
    }

    private static string[] Hunt(string line, int exit, string verdict)
    {
        using var terminal = new Terminal();
        int ended = terminal.Run($"{line} --json {terminal.Folder}/mutants.json", InCheckout);
        Assert.Equal("", terminal.Error);
        Assert.DoesNotContain("left out", terminal.Out, StringComparison.Ordinal);
        Assert.Contains(verdict, terminal.Out, StringComparison.Ordinal);
        Assert.Equal(exit, ended);
        JsonNode report = JsonNode.Parse(terminal.Files["mutants.json"])!;
        ReportSchema.Check(report);
        return [.. report["files"]![File]!["mutants"]!.AsArray().Select(static mutant => $"{mutant!["status"]}: {((string?)mutant["statusReason"])?.Replace("laws: ", "", StringComparison.Ordinal)}")];
    }

    private static Surroundings InCheckout(Surroundings here) => here with { Directory = Checkout.Root, Time = TimeProvider.System };

    /// <summary>Stops the run once a line has this in it.</summary>
    private sealed class StoppingWriter(TextWriter inner, string at, CancellationTokenSource stop) : TextWriter
    {
        public override System.Text.Encoding Encoding => inner.Encoding;

        public override void Write(char value) => inner.Write(value);

        public override void WriteLine(string? value)
        {
            inner.WriteLine(value);
            if (value?.Contains(at, StringComparison.Ordinal) == true) stop.Cancel();
        }
    }
}

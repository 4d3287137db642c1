using Harness.Failures;
using Harness.Scenarios;
using Properties.Coverage;
using Properties.Model;
using Properties.Sequences;
using Verify;
using Vcmm.Spec;

namespace Properties.Cli;

/// <summary>What <c>verify model</c> prints, writes and returns.</summary>
public sealed class ModelCommandLaws
{
    private const string Least = "model --vcms 1 --formats 1 --devices 1 --granules 1 --frames 1 --bounds 0 --owners 1 --quarantine 0 --faults 0";

    [Fact]
    public void A_small_world_is_searched_to_its_end()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run(Least));
        Assert.Contains("256 distinct states, 256 of them expanded", terminal.Out);
        Assert.Contains("that is all there is", terminal.Out);
        Assert.Matches(@"\n +\d+  a device was active\n", terminal.Out);
        Assert.Matches(@"\nFreeMemory +done [\d,]+, Invalid [\d,]+, Busy [\d,]+\n", terminal.Out);
        Assert.Empty(terminal.Error);
        Assert.Empty(terminal.Files);
    }

    [Fact]
    public void A_violation_is_shown_and_is_a_scenario_that_the_library_can_be_asked_about()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Violation, terminal.Run(Least, here => here with { Model = PlantedModels.Named("memory that is freed while it is mapped").Judge }));
        Assert.Contains("I5 FrameSafety is broken by what the model accepts", terminal.Out);
        (string path, string content) = Assert.Single(terminal.Files);
        Assert.Contains(path, terminal.Out);
        FailureFile file = FailureFile.Parse(content);
        Assert.Equal(Invariant.FrameSafety, file.Invariant);
        Scenario scenario = Scenario.FromJson(file.Scenario);
        Assert.IsType<FreeMemory>(scenario.Steps[^1].Operation);
        // The library does no such thing.
        using var again = new Terminal([.. Stages.All]);
        again.Write("it.json", content);
        Assert.Equal(ExitCode.Clean, again.Run("replay it.json"));
    }

    [Fact]
    public void The_library_is_taken_through_it_too()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run($"{Least} --library --depth 4"));
        Assert.Contains("all of 4 operations", terminal.Out);
        Assert.Matches(@"\nFreeMemory +done [\d,]+, Invalid [\d,]+", terminal.Out);
        using var wrong = new Terminal();
        Assert.Equal(ExitCode.Violation, wrong.Run($"{Least} --library", here => here with { Library = PlantedFault.All.Single(static fault => fault.Name == "a detach that is not done").Parts }));
        Assert.Contains("I8 Isolation is broken", wrong.Out);
        Assert.Single(wrong.Files);
    }

    [Fact]
    public void What_runs_have_covered_is_a_table()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run($"{Least.Replace("model", "coverage", StringComparison.Ordinal)} --time 1 --missing", static here => here with { Time = new LookClock() }));
        Assert.Matches(@"\nFreeMemory +[\d,]+( +[\d,]+ +\d+%){5}\n", terminal.Out);
        Assert.Matches(@"\nno run has been in [\d,]+:\n  in [\d,]+ memory or hardware would have to fail, .*\n  in [\d,]+ the library came to something else .*\n  in [\d,]+ no operation has met that\n", terminal.Out);
        Assert.DoesNotContain("--missing", terminal.Out);
        using var wrong = new Terminal();
        Assert.Equal(ExitCode.Violation, wrong.Run($"{Least.Replace("model", "coverage", StringComparison.Ordinal)} --time 60", here => here with { Time = new LookClock(), Library = PlantedFault.All.Single(static fault => fault.Name == "a detach that is not done").Parts }));
        Assert.Contains("I8 Isolation is broken", wrong.Out);
        Assert.Single(wrong.Files);
    }

    [Theory]
    [InlineData("coverage --granules 9", "granules is 9; expected 1 to 8")]
    [InlineData("coverage --memory 0", "--memory: 0 is too small; expected at least 1")]
    [InlineData("model --granules 9", "granules is 9; expected 1 to 8")]
    [InlineData("model --depth 0", "--depth: 0 is too small; expected at least 1")]
    [InlineData("model --workers 0", "--workers: 0 is too small; expected at least 1")]
    public void A_number_that_cannot_be_is_bad_input(string line, string problem)
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.BadInput, terminal.Run(line));
        Assert.Equal($"verify: {problem}", terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
    }
}

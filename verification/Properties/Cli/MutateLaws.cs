using Mutation.Report;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify mutate</c> calls, prints and returns. The programs are played by the test.</summary>
public sealed class MutateLaws
{
    private const string Report = """
        { "schemaVersion": "2", "files": {
          "a.cs": { "mutants": [ { "status": "Killed" }, { "status": "Survived" }, { "status": "Ignored" }, { "status": "Killed" }, { "status": "CompileError" } ] },
          "b.cs": { "mutants": [ { "status": "Timeout" }, { "status": "NoCoverage" }, { "status": "Killed" } ] } } }
        """;

    private readonly List<string> _calls = [];

    [Theory]
    [InlineData(
        "", "--config-file stryker-config.vcmm.json --project Vcmm.csproj", "--config-file stryker-config.allocation.json --project Vcmm.csproj",
        "--config-file stryker-config.iommusim.json --project IommuSim.csproj", "--config-file stryker-config.json --project Vcmm.Spec.csproj")]
    [InlineData(" --project vcmm", "--config-file stryker-config.vcmm.json --project Vcmm.csproj")]
    [InlineData(" --project spec", "--config-file stryker-config.json --project Vcmm.Spec.csproj")]
    [InlineData(" --project iommusim --project vcmm --project vcmm", "--config-file stryker-config.iommusim.json --project IommuSim.csproj", "--config-file stryker-config.vcmm.json --project Vcmm.csproj")]
    [InlineData(" --project vcmm --files **/Vtd/*.cs --files **/Vcm.cs", "--config-file stryker-config.vcmm.json --project Vcmm.csproj --mutate **/Vtd/*.cs --mutate **/Vcm.cs")]
    public void Stryker_runs_at_the_root_once_for_each_project_asked_for(string options, params string[] calls)
    {
        using var terminal = Repository();
        Assert.Equal(ExitCode.Clean, Run(terminal, "mutate" + options, 0, Report));
        Assert.Equal([$"{terminal.Folder}: dotnet tool restore", .. calls.Select(call => $"{terminal.Folder}: dotnet stryker {call}")], _calls);
    }

    [Fact]
    public void The_score_shows_time_outs_apart_how_long_it_took_and_where_the_reports_are()
    {
        using var terminal = Repository();
        terminal.Write("StrykerOutput/2024-12-31/reports/mutation-report.json", "{}");
        Run(terminal, "mutate --project vcmm", 0, Report);
        Assert.Equal(
            "vcmm: mutation score 66.7% (50.0% without time-outs): 3 killed, 1 timed out, 1 survived, 1 not covered; in 61.5 s\nreports: ../../StrykerOutput/2025-01-01/reports\n",
            terminal.Out);
    }

    [Fact]
    public void A_mutant_for_which_a_test_did_not_end_is_timed_out_and_not_killed()
    {
        using var terminal = Repository();
        terminal.Write($"verification/A/bin/Release/net{Environment.Version.ToString(2)}/unended/1.txt", "7\n");
        terminal.Write($"verification/B/bin/Release/net{Environment.Version.ToString(2)}/unended/2.txt", "9\n12\n");
        string report = $$"""
            { "schemaVersion": "2", "thresholds": { "high": 90, "low": 80 }, "files": { "a.cs": { "language": "cs", "source": "a", "mutants": [
              {{Mutant(7, "Killed")}}, {{Mutant(8, "Killed")}}, {{Mutant(9, "Survived")}}, {{Mutant(12, "Killed")}} ] } } }
            """;
        terminal.Write("StrykerOutput/2025-01-01/reports/mutation-report.html", "Stryker's");
        terminal.Write("StrykerOutput/2025-01-01/reports/mutation-report.md", "Stryker's");
        Run(terminal, "mutate --project vcmm", 0, report);
        Assert.StartsWith("vcmm: mutation score 75.0% (25.0% without time-outs): 1 killed, 2 timed out, 1 survived, 0 not covered", terminal.Out);
        string folder = Assert.Single(Directory.GetDirectories(Path.Combine(terminal.Folder, "StrykerOutput"))) + "/reports/";
        MutationReport told = MutationReport.Parse(File.ReadAllText(folder + "mutation-report.json"));
        Assert.Equal([MutantStatus.Timeout, MutantStatus.Killed, MutantStatus.Survived, MutantStatus.Timeout], told.Files["a.cs"].Mutants.Select(static mutant => mutant.Status));
        Assert.Equal(2, File.ReadAllText(folder + "mutation-report.html").Split("\"status\": \"Timeout\"").Length - 1);
        Assert.Contains("mutants of vcmm", File.ReadAllText(folder + "mutation-report.md"), StringComparison.Ordinal);

        static string Mutant(int id, string status) =>
            $$"""{ "id": "{{id}}", "mutatorName": "m", "status": "{{status}}", "location": { "start": { "line": 1, "column": 1 }, "end": { "line": 1, "column": 2 } } }""";
    }

    [Fact]
    public void A_score_below_the_threshold_is_a_violation()
    {
        using var terminal = Repository();
        Assert.Equal(ExitCode.Violation, Run(terminal, "mutate", 2, Report));
        Assert.Contains("mutation score 66.7%", terminal.Out);
    }

    [Theory]
    [InlineData(1, Report, "verify: dotnet stryker ended with exit code 1")]
    [InlineData(1, null, "verify: dotnet stryker ended with exit code 1 and left no report")]
    [InlineData(0, null, "verify: dotnet stryker ended with exit code 0 and left no report")]
    [InlineData(0, "{}", "mutation-report.json cannot be read: ")]
    [InlineData(0, "{ \"files\": { \"a.cs\": 7 } }", "mutation-report.json cannot be read: ")]
    public void A_run_of_Stryker_that_failed_is_the_environment(int exit, string? report, string message)
    {
        using var terminal = Repository();
        terminal.Write("StrykerOutput/2024-12-31/reports/mutation-report.json", Report);
        Assert.Equal(ExitCode.Environment, Run(terminal, "mutate", exit, report));
        Assert.Contains(message, terminal.OneErrorLine());
    }

    [Fact]
    public void Outside_the_repository_nothing_is_called()
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Environment, Run(terminal, "mutate", 0, Report));
        Assert.EndsWith("is not inside the repository; expected Verification.sln there or above", terminal.OneErrorLine());
        Assert.Empty(_calls);
    }

    [Fact]
    public void A_tool_that_cannot_be_restored_is_the_environment()
    {
        using var terminal = Repository();
        Assert.Equal(ExitCode.Environment, terminal.Run("mutate", here => here with { Tool = (_, _, _, _) => 5 }));
        Assert.Equal("verify: dotnet tool restore failed with exit code 5", terminal.OneErrorLine());
    }

    [Fact]
    public void A_program_that_is_not_installed_is_one_line()
    {
        using var terminal = Repository();
        Assert.Equal(ExitCode.Environment, terminal.Run("mutate", here => here with { Tool = (_, arguments, folder, stop) => Tools.Run("no-such-dotnet", arguments, folder, stop) }));
        Assert.StartsWith("verify: no-such-dotnet cannot be started: ", terminal.OneErrorLine());
    }

    [Fact]
    public void A_real_program_gives_its_exit_code_and_ends_when_stopped()
    {
        Assert.Equal(7, Tools.Run("sh", ["-c", "exit 7"], Path.GetTempPath(), CancellationToken.None));
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        using var terminal = new Terminal();
        Assert.Throws<OperationCanceledException>(() => Tools.Run("sh", ["-c", "sleep 5; echo > was-not-ended"], terminal.Folder, stop.Token));
        Assert.Empty(terminal.Files);
    }

    private static Terminal Repository()
    {
        var terminal = new Terminal();
        terminal.Write("Verification.sln", "");
        Directory.CreateDirectory(Path.Combine(terminal.Folder, "deep/er"));
        return terminal;
    }

    private int Run(Terminal terminal, string line, int exit, string? report) => terminal.Run(line, here => here with
    {
        Directory = Directory.Exists(Path.Combine(terminal.Folder, "deep/er")) ? Path.Combine(terminal.Folder, "deep/er") : here.Directory,
        Tool = (program, arguments, folder, _) =>
        {
            _calls.Add($"{folder}: {program} {string.Join(' ', arguments)}");
            if (arguments[0] == "tool") return 0;
            terminal.Clock.Advance(TimeSpan.FromSeconds(61.5));
            if (report is not null) terminal.Write($"StrykerOutput/2025-01-0{_calls.Count - 1}/reports/mutation-report.json", report);
            return exit;
        },
    });
}

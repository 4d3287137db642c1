using Mutation.Report;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify mutate</c> calls, prints and returns. The programs are played by the test.</summary>
public sealed class MutateLaws
{
    private const string Report = """
        { "schemaVersion": "2", "thresholds": { "high": 90, "low": 60 }, "files": {
          "a.cs": { "mutants": [ { "status": "Killed" }, { "status": "Survived" }, { "status": "Ignored" }, { "status": "Killed" }, { "status": "CompileError" } ] },
          "b.cs": { "mutants": [ { "status": "Timeout" }, { "status": "NoCoverage" }, { "status": "Killed" } ] } } }
        """;

    private readonly List<string> _calls = [];

    [Theory]
    [InlineData(
        "", "--config-file stryker-config.vcmm.json --project Vcmm.csproj", "--config-file stryker-config.allocation.json --project Vcmm.csproj",
        "--config-file stryker-config.iommusim.json --project IommuSim.csproj", "--config-file stryker-config.spec.json --project Vcmm.Spec.csproj")]
    [InlineData(" --project vcmm", "--config-file stryker-config.vcmm.json --project Vcmm.csproj")]
    [InlineData(" --project spec", "--config-file stryker-config.spec.json --project Vcmm.Spec.csproj")]
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

    // Stryker counts as survived what cannot be found.
    [Theory]
    [InlineData(60, ExitCode.Clean)]
    [InlineData(66, ExitCode.Clean)]
    [InlineData(67, ExitCode.Violation)]
    public void A_score_below_the_threshold_is_a_violation_whatever_Strykers_is(int low, int exit)
    {
        using var terminal = Repository();
        Assert.Equal(exit, Run(terminal, "mutate --project vcmm", 2, Report.Replace("\"low\": 60", $"\"low\": {low}", StringComparison.Ordinal)));
        Assert.Contains("mutation score 66.7%", terminal.Out);
        Assert.Equal(exit, Run(terminal, "mutate --project spec", 0, Report.Replace("\"low\": 60", $"\"low\": {low}", StringComparison.Ordinal)));
    }

    [Fact]
    public void Of_several_projects_all_the_time_is_told()
    {
        using var terminal = Repository();
        Run(terminal, "mutate --project vcmm --project spec", 0, Report);
        Assert.EndsWith("\nall: in 123 s\n", terminal.Out);
    }

    [Theory]
    [InlineData("// Survives as `c`: equivalent, it is the same", "Survived", "c", 0, "100.0%: 1 killed, 0 timed out, 0 survived, 0 not covered, 1 excused")]
    [InlineData("// Survives as `c`: unreachable by contract, nobody can", "NoCoverage", "c", 0, "100.0%: 1 killed, 0 timed out, 0 survived, 0 not covered, 1 excused")]
    [InlineData("// Survives as `…c`: performance only, slow", "Survived", "b + c", 0, "100.0%: 1 killed, 0 timed out, 0 survived, 0 not covered, 1 excused")]
    [InlineData("// Survives as `c`: equivalent, it is the same", "Ignored", "c", 0, "100.0%: 1 killed, 0 timed out, 0 survived, 0 not covered")]
    [InlineData("// Survives as `c`: equivalent, it is not", "Killed", "c", 1, "100.0%: 2 killed, 0 timed out, 0 survived, 0 not covered", "a.cs, line 1: a test finds `c`")]
    [InlineData("// Survives as `c`: equivalent, it is not", "Timeout", "c", 1, "100.0% (50.0% without time-outs): 1 killed, 1 timed out, 0 survived, 0 not covered", "a.cs, line 1: a test finds `c`")]
    [InlineData("// Survives as `d`: equivalent, it is not there", "Survived", "c", 1, "50.0%: 1 killed, 0 timed out, 1 survived, 0 not covered", "a.cs, line 1: no mutant of line 2 is `d`")]
    [InlineData("// Survives as `;`: performance only, never", "Survived", ";", 1, "50.0%: 1 killed, 0 timed out, 1 survived, 0 not covered", "a.cs, line 1: what is removed is never excused")]
    [InlineData("// Survives as `{}`: performance only, never", "NoCoverage", "{\n}", 1, "50.0%: 1 killed, 0 timed out, 0 survived, 1 not covered", "a.cs, line 1: what is removed is never excused")]
    [InlineData("// Survives as `c`: hard to test", "Survived", "c", 1, "50.0%: 1 killed, 0 timed out, 1 survived, 0 not covered", "a.cs, line 1: expected \"// Survives as `REPLACEMENT`")]
    public void What_survives_with_an_excuse_is_left_out_and_an_excuse_that_does_not_hold_is_a_violation(string comment, string status, string replacement, int exit, string score, string? mistake = null)
    {
        using var terminal = Repository();
        string report = $$"""
            { "schemaVersion": "2", "thresholds": { "high": 90, "low": 20 }, "files": { "{{terminal.Folder}}/a.cs": { "language": "cs", "source": "{{comment}}\na + b", "mutants": [
              {{Mutant(7, 2, status, replacement)}}, {{Mutant(8, 2, "Killed", "a")}}, {{Mutant(9, 1, "Ignored", "c")}} ] } } }
            """;
        Assert.Equal(exit, Run(terminal, "mutate --project vcmm", 0, report));
        Assert.StartsWith($"vcmm: mutation score {score}; in 61.5 s\n", terminal.Out);
        if (mistake is not null) Assert.Contains($"\nexcuse: {mistake}", terminal.Out);
        else Assert.DoesNotContain("excuse:", terminal.Out);
        string reason = (string?)System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(Path.Combine(terminal.Folder, "StrykerOutput/2025-01-01/reports/mutation-report.json")))!["files"]![$"{terminal.Folder}/a.cs"]!["mutants"]![0]!["statusReason"] ?? "";
        Assert.Equal(score.EndsWith("excused", StringComparison.Ordinal) ? comment[(comment.IndexOf(": ", StringComparison.Ordinal) + 2)..] : "", reason);

        static string Mutant(int id, int line, string status, string replacement) =>
            $$"""{ "id": "{{id}}", "mutatorName": "m", "replacement": "{{replacement.Replace("\n", "\\n", StringComparison.Ordinal)}}", "status": "{{status}}", "location": { "start": { "line": {{line}}, "column": 1 }, "end": { "line": {{line}}, "column": 2 } } }""";
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

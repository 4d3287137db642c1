using System.CommandLine;
using Harness;
using Mutation.Schema;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify mutate</c>: a front for Stryker.NET at the root of the repository.</summary>
internal static class MutateCommand
{
    /// <summary>Stryker's own exit code for a score below its threshold. In that score what cannot be found counts as survived.</summary>
    private const int StrykerBelowThreshold = 2;

    /// <summary>What all configurations of Stryker have built.</summary>
    private const string Configuration = "Release";

    private static readonly Dictionary<string, Mutated> Projects = new()
    {
        ["vcmm"] = new("src/Vcmm/Vcmm.csproj", "src/Vcmm", "stryker-config.vcmm.json") { LeftOut = "src/Vcmm/Allocation" },
        ["allocation"] = new("src/Vcmm/Vcmm.csproj", "src/Vcmm/Allocation", "stryker-config.allocation.json"),
        ["iommusim"] = new("src/IommuSim/IommuSim.csproj", "src/IommuSim", "stryker-config.iommusim.json"),
        ["spec"] = new("spec/Vcmm.Spec.csproj", "spec", "stryker-config.spec.json"),
    };

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> projects = new("--project")
        {
            Description = "Change only the code of this project, or of the library's allocators; may be given several times.",
            HelpName = string.Join('|', Projects.Keys),
            CustomParser = given =>
            {
                foreach (string name in given.Tokens.Select(token => token.Value).Where(name => !Projects.ContainsKey(name)))
                    given.AddError($"--project: \"{name}\" is not a project under mutation; expected {RunPlan.OneOf(Projects.Keys)}");
                return [.. given.Tokens.Select(token => token.Value).Distinct()];
            },
        };
        Option<string[]> files = new("--files")
        {
            Description = "Change only files that this pattern matches, such as **/Vtd/*.cs; may be given several times.",
            HelpName = "GLOB",
        };
        Option<string?> since = new("--since")
        {
            Description = "Change only members that are not as they were at this revision.",
            HelpName = "REV",
        };
        var command = new Command("mutate", "Change the code in one place at a time and see whether a test fails.") { projects, files, since };
        command.SetAction(parsed =>
        {
            string[] patterns = parsed.GetValue(files) ?? [];
            string? revision = parsed.GetValue(since);
            if (revision is not null && patterns.Length != 0) throw new BadInputException("--since and --files each say what is changed; expected one of them");
            string root = Repository.RootOf(here.Directory);
            ChangedCode? changed = revision is null ? null : ChangedCode.Since(revision, root, here.Ask);
            return Mutate(parsed.GetValue(projects) ?? [], project => changed is null ? patterns : changed.PatternsIn(project.Folder, project.LeftOut), changed is not null, root, here);
        });
        return command;
    }

    private static int Mutate(string[] names, Func<Mutated, IReadOnlyList<string>> patternsOf, bool isDifference, string root, Surroundings here)
    {
        int restored = here.Tool("dotnet", ["tool", "restore"], root, here.Stop);
        if (restored != 0) throw new EnvironmentException($"dotnet tool restore failed with exit code {restored}");
        bool isWrong = false;
        long begun = here.Time.GetTimestamp();
        if (names.Length == 0) names = [.. Projects.Keys];
        foreach (string name in names)
        {
            IReadOnlyList<string> patterns = patternsOf(Projects[name]);
            // Without a pattern Stryker would change everything.
            if (isDifference && patterns.Count == 0) here.Out.WriteLine($"{name}: no member has changed");
            else isWrong |= IsWrong(name, patterns, root, here);
        }

        if (names.Length > 1) here.Out.WriteLine($"all: in {Line.Seconds(here.Time.GetElapsedTime(begun))}");
        return isWrong ? ExitCode.Violation : ExitCode.Clean;
    }

    /// <summary>
    /// Whether the score is below the threshold, or an excuse does not hold. One run of Stryker for each project: over several at once it mutates the harness too, and learns
    /// nothing about coverage.
    /// </summary>
    private static bool IsWrong(string name, IReadOnlyList<string> patterns, string root, Surroundings here)
    {
        string[] before = StrykerOutput.ReportFolders(root);
        long begun = here.Time.GetTimestamp();
        Mutated project = Projects[name];
        int exit = here.Tool("dotnet", ["stryker", "--config-file", project.Config, "--project", Path.GetFileName(project.File), .. patterns.SelectMany(static pattern => new[] { "--mutate", pattern })], root, here.Stop);
        string folder = StrykerOutput.ReportFolders(root).Except(before).LastOrDefault()
            ?? throw new EnvironmentException($"dotnet stryker ended with exit code {exit} and left no report");
        (MutationScore score, IReadOnlyList<string> mistakes) = StrykerOutput.Settle($"mutants of {name}", folder, StrykerOutput.Unended(root), root, () => LibrarySources.Read(root, project.File, Configuration));
        here.Out.WriteLine($"{name}: {score}; in {Line.Seconds(here.Time.GetElapsedTime(begun))}");
        here.Out.WriteLine($"reports: {Path.GetRelativePath(here.Directory, folder)}");
        foreach (string mistake in mistakes) here.Out.WriteLine($"excuse: {mistake}");
        return exit is 0 or StrykerBelowThreshold ? score.IsLow || mistakes.Count != 0 : throw new EnvironmentException($"dotnet stryker ended with exit code {exit}");
    }

    /// <summary>A project, or a part of one, whose code is changed under tests of its own.</summary>
    /// <param name="File">As Stryker knows it.</param>
    /// <param name="Folder">Where its code is, from the root.</param>
    /// <param name="Config">What says which tests run, in a file at the root.</param>
    private sealed record Mutated(string File, string Folder, string Config)
    {
        /// <summary>A folder in it that has a name of its own here; null: none.</summary>
        public string? LeftOut { get; init; }
    }
}

using System.CommandLine;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify mutate</c>: a front for Stryker.NET at the root of the repository.</summary>
internal static class MutateCommand
{
    private const string RootMark = "Verification.sln";

    /// <summary>Stryker's own exit code for a score below its threshold.</summary>
    private const int StrykerBelowThreshold = 2;

    private static readonly Dictionary<string, string> Globs = new()
    {
        ["vcmm"] = "**/src/Vcmm/**/*.cs",
        ["iommusim"] = "**/src/IommuSim/**/*.cs",
    };

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> projects = new("--project")
        {
            Description = "Change only the code of this project; may be given several times.",
            HelpName = string.Join('|', Globs.Keys),
            CustomParser = given =>
            {
                foreach (string name in given.Tokens.Select(token => token.Value).Where(name => !Globs.ContainsKey(name)))
                    given.AddError($"--project: \"{name}\" is not a project under mutation; expected {RunPlan.OneOf(Globs.Keys)}");
                return [.. given.Tokens.Select(token => token.Value).Distinct()];
            },
        };
        var command = new Command("mutate", "Change the code in one place at a time and see whether a test fails.") { projects };
        command.SetAction(parsed => Mutate(parsed.GetValue(projects) ?? [], here));
        return command;
    }

    private static int Mutate(string[] projects, Surroundings here)
    {
        string root = RootOf(here.Directory);
        int restored = here.Tool("dotnet", ["tool", "restore"], root, here.Stop);
        if (restored != 0) throw new EnvironmentException($"dotnet tool restore failed with exit code {restored}");

        string[] before = MutationScore.ReportFolders(root);
        int exit = here.Tool("dotnet", ["stryker", .. projects.SelectMany(name => new[] { "--mutate", Globs[name] })], root, here.Stop);
        string folder = MutationScore.ReportFolders(root).Except(before).LastOrDefault()
            ?? throw new EnvironmentException($"dotnet stryker ended with exit code {exit} and left no report");
        MutationScore score = MutationScore.Read(folder);
        here.Out.WriteLine(score.ToString());
        here.Out.WriteLine($"reports: {Path.GetRelativePath(here.Directory, folder)}");
        return exit switch
        {
            0 => ExitCode.Clean,
            StrykerBelowThreshold => ExitCode.Violation,
            _ => throw new EnvironmentException($"dotnet stryker ended with exit code {exit}"),
        };
    }

    private static string RootOf(string directory)
    {
        for (DirectoryInfo? at = new(directory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, RootMark))) return at.FullName;
        }

        throw new EnvironmentException($"{directory} is not inside the repository; expected {RootMark} there or above");
    }
}

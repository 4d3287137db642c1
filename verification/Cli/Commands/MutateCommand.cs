using System.CommandLine;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify mutate</c>: a front for Stryker.NET at the root of the repository.</summary>
internal static class MutateCommand
{
    /// <summary>Stryker's own exit code for a score below its threshold.</summary>
    private const int StrykerBelowThreshold = 2;

    private static readonly Dictionary<string, string> Projects = new() { ["vcmm"] = "Vcmm.csproj", ["iommusim"] = "IommuSim.csproj" };

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> projects = new("--project")
        {
            Description = "Change only the code of this project; may be given several times.",
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
        var command = new Command("mutate", "Change the code in one place at a time and see whether a test fails.") { projects, files };
        command.SetAction(parsed => Mutate(parsed.GetValue(projects) ?? [], parsed.GetValue(files) ?? [], here));
        return command;
    }

    private static int Mutate(string[] projects, string[] files, Surroundings here)
    {
        string root = Repository.RootOf(here.Directory);
        int restored = here.Tool("dotnet", ["tool", "restore"], root, here.Stop);
        if (restored != 0) throw new EnvironmentException($"dotnet tool restore failed with exit code {restored}");
        bool isBelow = false;
        foreach (string project in projects.Length == 0 ? [.. Projects.Keys] : projects) isBelow |= IsBelowThreshold(project, files, root, here);
        return isBelow ? ExitCode.Violation : ExitCode.Clean;
    }

    /// <summary>One run of Stryker for each project: over several at once it mutates the harness too, and learns nothing about coverage.</summary>
    private static bool IsBelowThreshold(string project, string[] files, string root, Surroundings here)
    {
        string[] before = MutationScore.ReportFolders(root);
        int exit = here.Tool("dotnet", ["stryker", "--project", Projects[project], .. files.SelectMany(glob => new[] { "--mutate", glob })], root, here.Stop);
        string folder = MutationScore.ReportFolders(root).Except(before).LastOrDefault()
            ?? throw new EnvironmentException($"dotnet stryker ended with exit code {exit} and left no report");
        MutationScore score = MutationScore.Read(folder);
        here.Out.WriteLine($"{project}: {score}");
        here.Out.WriteLine($"reports: {Path.GetRelativePath(here.Directory, folder)}");
        return exit switch
        {
            0 => false,
            StrykerBelowThreshold => true,
            _ => throw new EnvironmentException($"dotnet stryker ended with exit code {exit}"),
        };
    }
}

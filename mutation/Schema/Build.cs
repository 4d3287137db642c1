using System.Diagnostics;

namespace Mutation.Schema;

/// <summary>Questions to MSBuild.</summary>
internal static class Build
{
    /// <summary>What it says on standard output.</summary>
    /// <exception cref="InvalidOperationException">It fails.</exception>
    public static string Ask(string project, string configuration, params IReadOnlyList<string> arguments) =>
        Run("dotnet", ["msbuild", project, $"-p:Configuration={configuration}", "-nologo", .. arguments]);

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="InvalidOperationException">It fails.</exception>
    public static string Run(string program, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["COYOTE_CLI_TELEMETRY_OPTOUT"] = "1";
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? said
            : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {errors.Result.Trim()} {said.Trim()}");
    }
}

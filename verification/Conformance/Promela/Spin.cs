using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Conformance.Promela;

/// <summary>What SPIN found in all interleavings of a model.</summary>
/// <param name="Errors">How many, at most one: it stops at the first.</param>
/// <param name="States">How many states were stored.</param>
/// <param name="Unreached">The statements that no interleaving reaches; the ends of endless processes are none.</param>
/// <param name="Output">All that it printed.</param>
internal sealed record SpinVerdict(int Errors, long States, IReadOnlyList<string> Unreached, string Output);

/// <summary>The model checker SPIN, and the C compiler that it needs.</summary>
internal static partial class Spin
{
    /// <summary>Set to 1, it makes tests that need SPIN fail where it is not installed.</summary>
    public const string RequireVariable = "VERIFY_REQUIRE_SPIN";

    /// <summary>What to say where something is not installed; null where it is.</summary>
    public static string? Missing { get; } = new[] { "spin", "gcc" }.All(IsInstalled)
        ? null : "SPIN or a C compiler is not installed: apt-get install spin gcc libc6-dev";

    public static bool IsRequired => Environment.GetEnvironmentVariable(RequireVariable) == "1";

    /// <summary>Searches all interleavings of <paramref name="model"/>.</summary>
    /// <param name="model">A Promela file.</param>
    /// <param name="definition">A macro as <c>NAME=1</c>.</param>
    public static SpinVerdict Check(string model, string definition)
    {
        string directory = Directory.CreateTempSubdirectory("verify-spin-").FullName;
        try
        {
            Run(directory, "spin", "-D" + definition, "-a", model);
            Run(directory, "gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c");
            string output = Run(directory, Path.Combine(directory, "pan"), "-m1000000");
            Assert.DoesNotContain("max search depth too small", output, StringComparison.Ordinal);
            return new(
                int.Parse(ErrorCount().Match(output).Groups[1].Value, CultureInfo.InvariantCulture),
                long.Parse(StateCount().Match(output).Groups[1].Value, CultureInfo.InvariantCulture),
                [.. Statement().Matches(output).Select(match => match.Value.Trim()).Where(line => !line.EndsWith("\"-end-\"", StringComparison.Ordinal))],
                output);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static bool IsInstalled(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(directory => File.Exists(Path.Combine(directory, program)));

    private static string Run(string directory, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = directory, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd() + errors.GetAwaiter().GetResult();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}: {output}");
        return output;
    }

    [GeneratedRegex(@"errors: (\d+)")]
    private static partial Regex ErrorCount();

    [GeneratedRegex(@"(\d+) states, stored")]
    private static partial Regex StateCount();

    [GeneratedRegex(@"^\t\S+\.pml:\d+, state .*$", RegexOptions.Multiline)]
    private static partial Regex Statement();
}

/// <summary>A test that needs SPIN: skipped where it is not installed, unless <see cref="Spin.RequireVariable"/> asks for it.</summary>
internal sealed class SpinFactAttribute : FactAttribute
{
    public SpinFactAttribute() => Skip = Spin.IsRequired ? null : Spin.Missing;
}

/// <summary>A theory that needs SPIN: skipped where it is not installed, unless <see cref="Spin.RequireVariable"/> asks for it.</summary>
internal sealed class SpinTheoryAttribute : TheoryAttribute
{
    public SpinTheoryAttribute() => Skip = Spin.IsRequired ? null : Spin.Missing;
}

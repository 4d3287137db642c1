using System.ComponentModel;
using System.Diagnostics;

namespace Verify;

/// <summary>Runs a program to its end, its output going where ours goes.</summary>
/// <returns>Its exit code.</returns>
internal delegate int RunTool(string program, IReadOnlyList<string> arguments, string directory, CancellationToken stop);

/// <summary>Runs a program to its end and returns its exit code and what it said on standard output. What it complains of is for nobody.</summary>
internal delegate (int Exit, string Said) AskTool(string program, IReadOnlyList<string> arguments, string directory);

/// <summary>The real programs.</summary>
internal static class Tools
{
    /// <inheritdoc cref="RunTool"/>
    /// <exception cref="EnvironmentException">The program is not installed.</exception>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public static int Run(string program, IReadOnlyList<string> arguments, string directory, CancellationToken stop)
    {
        using Process process = Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = directory });
        using CancellationTokenRegistration onStop = stop.Register(() => process.Kill(entireProcessTree: true));
        process.WaitForExit();
        stop.ThrowIfCancellationRequested();
        return process.ExitCode;
    }

    /// <inheritdoc cref="AskTool"/>
    /// <exception cref="EnvironmentException">The program is not installed.</exception>
    public static (int Exit, string Said) Ask(string program, IReadOnlyList<string> arguments, string directory)
    {
        using Process process = Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = directory, RedirectStandardOutput = true, RedirectStandardError = true });
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginErrorReadLine();
        string said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, said);
    }

    private static Process Start(ProcessStartInfo what)
    {
        try
        {
            return Process.Start(what) ?? throw new EnvironmentException($"{what.FileName} did not start");
        }
        catch (Win32Exception e)
        {
            throw new EnvironmentException($"{what.FileName} cannot be started: {e.Message}; expected it on the PATH", e);
        }
    }
}

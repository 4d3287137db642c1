using System.Diagnostics;

namespace Mutation.Hunting;

/// <summary>Programs that run with a mutant in them.</summary>
internal static class Child
{
    /// <summary>Runs one to its end.</summary>
    /// <param name="program">The assembly.</param>
    /// <param name="environment">Environment variables that are added.</param>
    /// <param name="atMost">When it is ended.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <returns>Its exit code, null if it has not ended in time; and what it said on standard error.</returns>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public static (int? Exit, string Error) Run(
        string program, IReadOnlyDictionary<string, string> environment, TimeSpan atMost, CancellationToken stop, params IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", ["exec", program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        // It is over in seconds: what would be measured in order to optimize it better never pays.
        start.Environment["DOTNET_TieredPGO"] = "0";
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{start.FileName} did not start");
        using CancellationTokenRegistration onStop = stop.Register(() => process.Kill(entireProcessTree: true));
        Task<string> output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        Task<string> error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        bool hasEnded = process.WaitForExit(atMost);
        if (!hasEnded) process.Kill(entireProcessTree: true);
        process.WaitForExit();
        stop.ThrowIfCancellationRequested();
        _ = output.GetAwaiter().GetResult();
        return (hasEnded ? process.ExitCode : null, error.GetAwaiter().GetResult());
    }
}

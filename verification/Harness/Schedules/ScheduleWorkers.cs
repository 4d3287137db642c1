using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Harness.Schedules;

/// <summary>Worker processes, and what they say in the order in which it arrives.</summary>
internal sealed class ScheduleWorkers : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);
    private readonly BlockingCollection<string> _lines = [];
    private readonly List<Process> _processes = [];
    private readonly StringBuilder _errors = new();
    private int _open;

    /// <summary>Starts one more.</summary>
    /// <param name="assembly">The worker.</param>
    /// <param name="arguments">Its command line.</param>
    /// <param name="environment">Environment variables that it has beside ours.</param>
    /// <param name="isSlow">Whether each method is compiled for itself, so that the stack says which statement calls.</param>
    public void Start(string assembly, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment, bool isSlow = false)
    {
        ProcessStartInfo start = StartOf(assembly, arguments);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        if (isSlow)
        {
            start.Environment["DOTNET_TC_QuickJit"] = start.Environment["DOTNET_TC_QuickJitForLoops"] = "1";
            // In hexadecimal: never compiled anew.
            start.Environment["DOTNET_TC_CallCountThreshold"] = "7FFFFFFF";
            start.Environment["DOTNET_TieredPGO"] = "0";
        }

        var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, line) => Received(line.Data);
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null) return;
            lock (_errors) _errors.Append(line.Data).Append('\n');
        };
        process.Start();
        _open++;
        _processes.Add(process);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    /// <summary>Starts one that does a batch for each line that it is given, and says when it is done.</summary>
    /// <param name="assembly">The worker.</param>
    /// <param name="what">What a schedule is.</param>
    /// <param name="number">Which of those that run at the same time, from 0: each has a processor of its own.</param>
    public static Process StartMeasuring(string assembly, string what, int number)
    {
        var process = new Process { StartInfo = StartOf(assembly, ["measure", what, $"{number % Environment.ProcessorCount}"]) };
        process.ErrorDataReceived += static (_, _) => { };
        process.Start();
        process.BeginErrorReadLine();
        return process;
    }

    /// <summary>Waits for the next message.</summary>
    /// <param name="atMost">How long; then the message is null.</param>
    /// <param name="message">The message.</param>
    /// <returns>False once all workers have ended and said all they had to say.</returns>
    /// <exception cref="InvalidOperationException">A worker broke down.</exception>
    public bool TryTake(TimeSpan atMost, out WorkerMessage? message)
    {
        message = null;
        if (_open == 0) return false;
        if (!_lines.TryTake(out string? line, atMost)) return true;
        if (line.Length != 0)
        {
            message = WorkerMessage.Parse(line);
            return true;
        }

        if (--_open == 0) CheckEnds();
        return true;
    }

    /// <summary>Tells all to end.</summary>
    public void CloseInputs()
    {
        foreach (Process process in _processes) process.StandardInput.Close();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Process process in _processes)
        {
            process.StandardInput.Close();
            if (!process.WaitForExit(Patience)) process.Kill(entireProcessTree: true);
            process.Dispose();
        }
    }

    // An empty line stands for the end of one worker's output.
    private void Received(string? line) => _lines.Add(line ?? "");

    private void CheckEnds()
    {
        foreach (Process process in _processes)
        {
            process.WaitForExit();
            if (process.ExitCode is 0 or 2 or 3) continue;
            lock (_errors) throw new InvalidOperationException($"the schedule explorer ended with {process.ExitCode}: {_errors.ToString().Trim()}");
        }
    }

    private static ProcessStartInfo StartOf(string assembly, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(DotnetHost())
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            UseShellExecute = false,
        };
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add(assembly);
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        // One task runs at a time. On one processor the next is woken in a few microseconds; on two it takes several times that.
        start.Environment["DOTNET_PROCESSOR_COUNT"] = "1";
        start.Environment["COYOTE_CLI_TELEMETRY_OPTOUT"] = "1";
        return start;
    }

    /// <summary>The dotnet command of the runtime that runs this.</summary>
    private static string DotnetHost()
    {
        string name = OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet";
        string beside = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", name));
        return File.Exists(beside) ? beside : name;
    }
}

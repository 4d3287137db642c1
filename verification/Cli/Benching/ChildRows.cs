using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Verify.Output;
using Workloads;

namespace Verify.Benching;

/// <summary>
/// Measures each row in a process of its own. The JIT compiles a method for how it was used at first and then keeps it: in one
/// process a row would be measured with code made for the rows before it, and figures would depend on which those were.
/// </summary>
/// <param name="stop">Set when the user wants to stop.</param>
internal sealed class ChildRows(CancellationToken stop)
{
    private static readonly JsonSerializerOptions Json = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    /// <summary>Runs <c>verify bench --row</c> and reads what it prints.</summary>
    /// <param name="row">The row, by its name.</param>
    /// <param name="budget">For the rounds.</param>
    public RowOutcome Measure(Row row, TimeSpan budget)
    {
        if (stop.IsCancellationRequested) return Stopped(row);
        (int exit, string output, string error) = Run(CommandOf(row, budget));
        if (stop.IsCancellationRequested) return Stopped(row);
        try
        {
            return JsonSerializer.Deserialize<Figures>(output, Json)!.Of(row);
        }
        catch (JsonException e)
        {
            return new RowOutcome(row, RowState.Broke) { Note = $"its process ended with exit code {exit}: {Line.Of(error)}", Trace = e.ToString() };
        }
    }

    /// <summary>What a process prints that measured a row.</summary>
    public static string Print(RowOutcome outcome) => JsonSerializer.Serialize(Figures.From(outcome), Json);

    private static RowOutcome Stopped(Row row) => new(row, RowState.Stopped) { Note = RowTimer.StoppedNote };

    /// <summary>This command line, whatever program this process is: a test's, perhaps.</summary>
    private static ProcessStartInfo CommandOf(Row row, TimeSpan budget)
    {
        string assembly = typeof(ChildRows).Assembly.Location;
        string seconds = budget.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
        return new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", ["exec", assembly, "bench", "--row", row.Name, "--time", seconds])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
    }

    private (int Exit, string Output, string Error) Run(ProcessStartInfo command)
    {
        using Process process = Process.Start(command) ?? throw new EnvironmentException($"{command.FileName} did not start");
        using CancellationTokenRegistration onStop = stop.Register(() => process.Kill(entireProcessTree: true));
        Task<string> error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.GetAwaiter().GetResult());
    }

    /// <summary>A <see cref="RowOutcome"/> without its row.</summary>
    private sealed record Figures(
        RowState State, Timing? Timing, Timing? Baseline, int RoundCount, bool IsSettled, double? AllocatedBytes, double? WeighedBytes, string? Note, string? Trace)
    {
        public static Figures From(RowOutcome outcome) => new(
            outcome.State, outcome.Timing, outcome.Baseline, outcome.RoundCount, outcome.IsSettled, outcome.AllocatedBytes, outcome.WeighedBytes, outcome.Note, outcome.Trace);

        public RowOutcome Of(Row row) => new(row, State)
        {
            Timing = Timing,
            Baseline = Baseline,
            RoundCount = RoundCount,
            IsSettled = IsSettled,
            AllocatedBytes = AllocatedBytes,
            WeighedBytes = WeighedBytes,
            Note = Note,
            Trace = Trace,
        };
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Harness.Failures;
using Harness.Schedules;
using Mutation.Schema;
using Vcmm.Spec;

namespace Mutation.Hunting;

/// <summary>Runs an engine on the library with one mutant in it, in a process of its own: a mutant may hang, or take the process with it.</summary>
/// <param name="programs">The engines with the mutated library.</param>
/// <param name="time">The clock for how long hunts take.</param>
public sealed class Hunter(MutatedPrograms programs, TimeProvider time)
{
    // A counterexample is shrunk after the time for finding it.
    private static readonly TimeSpan ForShrinking = TimeSpan.FromSeconds(60);

    /// <summary>Generated sequences of operations.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="seed">Where every random choice comes from.</param>
    /// <param name="budget">For how long.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public Hunt Sequences(int number, ulong seed, TimeSpan budget, CancellationToken stop) =>
        Stage(number, "sequences", seed, budget, null, InvariantSet.None, stop);

    /// <summary>A stage of <c>verify run</c>.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="seed">Where every random choice comes from.</param>
    /// <param name="budget">For how long.</param>
    /// <param name="count">For how many sequences, cases or units at most; null: as many as there is time for.</param>
    /// <param name="muted">Invariants of which no violation is told.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public Hunt Stage(int number, string stage, ulong seed, TimeSpan budget, long? count, InvariantSet muted, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        string folder = Directory.CreateTempSubdirectory("vcmm-hunt-").FullName;
        try
        {
            string json = Path.Combine(folder, "run.json");
            string seconds = budget.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
            List<string> arguments = ["run", "--stage", stage, "--seed", $"{seed}", "--time", seconds, "--json", json, "--failures", folder];
            if (count is { } most) arguments.AddRange(["--count", $"{most}"]);
            foreach (Invariant invariant in muted.Members) arguments.AddRange(["--mute", invariant.Id()]);
            (int? exit, string error) = Run(number, budget + ForShrinking, stop, arguments);
            TimeSpan elapsed = time.GetElapsedTime(begun);
            if (exit is not (0 or 1) || !File.Exists(json)) return new(HuntEnd.Broke, 0, elapsed) { Report = exit is null ? "it did not end" : $"it ended with {exit}: {error.Trim()}" };
            JsonNode report = JsonNode.Parse(File.ReadAllText(json))!["stages"]![0]!;
            long tries = (long)report["ran"]![0]!["count"]!;
            if (report["failures"] is not JsonArray { Count: > 0 } failures) return new(HuntEnd.NotFound, tries, elapsed) { Muted = Sum(report["muted"]!.AsArray()) };
            FailureFile file = FailureFile.Parse(File.ReadAllText(Path.Combine(folder, Path.GetFileName((string)failures[0]!["file"]!))));
            return new(HuntEnd.Found, tries, elapsed)
            {
                Named = file.Invariant,
                Size = stage == "sequences" ? $"{Harness.Scenarios.Scenario.FromJson(file.Scenario).Steps.Length} operations" : "",
                Report = (string?)failures[0]!["report"] ?? "",
            };
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static long Sum(JsonArray muted) => muted.Sum(static one => (long)one!["count"]!);

    /// <summary>All sequences of a small world, one after the other.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="depth">Up to so many operations.</param>
    /// <param name="budget">For how long at most.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public Hunt Exhaust(int number, long depth, TimeSpan budget, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        string folder = Directory.CreateTempSubdirectory("vcmm-hunt-").FullName;
        try
        {
            string seconds = budget.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
            (int? exit, string error) = Run(number, budget + ForShrinking, stop, "model", "--library", "--depth", $"{depth}", "--time", seconds, "--failures", folder);
            TimeSpan elapsed = time.GetElapsedTime(begun);
            if (exit == 0) return new(HuntEnd.NotFound, depth, elapsed);
            if (exit != 1 || Directory.GetFiles(folder) is not [var found, ..]) return new(HuntEnd.Broke, 0, elapsed) { Report = exit is null ? "it did not end" : $"it ended with {exit}: {error.Trim()}" };
            return new(HuntEnd.Found, depth, elapsed) { Named = FailureFile.Parse(File.ReadAllText(found)).Invariant };
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Controlled schedules of a scenario.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="request">What to explore; a worker's environment is added.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public Hunt Schedules(int number, ScheduleRequest request, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        ScheduleTally tally = ScheduleHunt.Run(programs.Worker, request with { Environment = EnvironmentOf(number) }, time, static (_, _) => { }, stop);
        stop.ThrowIfCancellationRequested();
        TimeSpan elapsed = time.GetElapsedTime(begun);
        if (tally.Failures.FirstOrDefault() is not { } found)
            return tally.Problem is { } problem ? new(HuntEnd.Broke, tally.Schedules, elapsed) { Report = problem } : new(HuntEnd.NotFound, tally.Schedules, elapsed) { Muted = tally.Muted.Values.Sum() };
        return new(HuntEnd.Found, found.Schedule, elapsed) { Named = found.Failure.Invariant, Size = found.Size, Report = found.Failure.Report };
    }

    private static Dictionary<string, string> EnvironmentOf(int number) => new() { [MutantSchema.Variable] = number.ToString(CultureInfo.InvariantCulture) };

    /// <summary>Runs <c>verify</c>; null if it has not ended in time.</summary>
    private (int? Exit, string Error) Run(int number, TimeSpan atMost, CancellationToken stop, params IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", ["exec", programs.Verify, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in EnvironmentOf(number)) start.Environment[name] = value;
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

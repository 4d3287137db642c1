using System.Collections.Immutable;
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

    private const string Generated = "sequences";

    /// <summary>Generated sequences of operations.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="seed">Where every random choice of the first hunt comes from; of each other from the next seed.</param>
    /// <param name="seeds">How many hunts at most. They share a process, which has most to compile in its first seconds.</param>
    /// <param name="misses">After how many that do not find it there is no other.</param>
    /// <param name="budget">For how long each at most.</param>
    /// <param name="count">How many sequences each at most; null: as many as there is time for.</param>
    /// <param name="isBrief">Whether every failure is told as it was found; else for the first seed's something smaller is looked for that fails as well.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <returns>What the first came to, the next, and so on; none comes after one that broke.</returns>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public ImmutableArray<Hunt> Sequences(int number, ulong seed, int seeds, int misses, TimeSpan budget, long? count, bool isBrief, CancellationToken stop) =>
        Stage(number, Generated, seed, seeds, misses, budget, count, InvariantSet.None, isBrief, stop);

    /// <summary>A stage of <c>verify run</c>.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="seed">Where every random choice comes from.</param>
    /// <param name="budget">For how long.</param>
    /// <param name="count">For how many sequences, cases or units at most; null: as many as there is time for.</param>
    /// <param name="muted">Invariants of which no violation is told.</param>
    /// <param name="isBrief">Whether a failure is told as it was found: nothing smaller is looked for that fails as well.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public Hunt Stage(int number, string stage, ulong seed, TimeSpan budget, long? count, InvariantSet muted, bool isBrief, CancellationToken stop) =>
        Stage(number, stage, seed, 1, 1, budget, count, muted, isBrief, stop)[0];

    private ImmutableArray<Hunt> Stage(int number, string stage, ulong seed, int seeds, int misses, TimeSpan budget, long? count, InvariantSet muted, bool isBrief, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        string folder = Directory.CreateTempSubdirectory("vcmm-hunt-").FullName;
        try
        {
            Reached reached = Reached.Nothing(folder, programs.MutantCount);
            string json = Path.Combine(folder, "run.json");
            string seconds = budget.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
            List<string> arguments = ["run", "--stage", stage, "--seed", $"{seed}", "--seeds", $"{seeds}", "--clean", $"{misses}", "--time", seconds, "--json", json, "--failures", folder, "--shrink", isBrief ? "none" : "first"];
            if (count is { } most) arguments.AddRange(["--count", $"{most}"]);
            foreach (Invariant invariant in muted.Members) arguments.AddRange(["--mute", invariant.Id()]);
            (int? exit, string error) = Child.Run(programs.Verify, EnvironmentOf(reached, number), (budget * seeds) + ForShrinking, stop, arguments);
            var hunts = ImmutableArray.CreateBuilder<Hunt>(seeds);
            for (int i = 0; i < seeds && hunts.Count(static hunt => hunt.End == HuntEnd.NotFound) < misses && (i == 0 || hunts[^1].End != HuntEnd.Broke); i++)
            {
                string one = Path.ChangeExtension(json, $"{unchecked(seed + (ulong)i)}.json");
                JsonNode? run = File.Exists(one) ? JsonNode.Parse(File.ReadAllText(one)) : null;
                hunts.Add((int?)run?["exitCode"] is 0 or 1 ? HuntOf(run!, folder, stage, reached.Has(number)) : new(HuntEnd.Broke, 0, TimeSpan.Zero)
                {
                    Report = exit is null ? "it did not end" : $"it ended with {exit}: {error.Trim()}",
                });
            }

            // The first pays for the start of the process, and a last one that broke for the end of it.
            TimeSpan rest = time.GetElapsedTime(begun) - hunts.Aggregate(TimeSpan.Zero, static (sum, hunt) => sum + hunt.Elapsed);
            int payer = hunts[^1].End == HuntEnd.Broke ? hunts.Count - 1 : 0;
            hunts[payer] = hunts[payer] with { Elapsed = hunts[payer].Elapsed + rest };
            return hunts.ToImmutable();
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <param name="run">The file of a run of one stage that did not break.</param>
    /// <param name="folder">Where its failures are.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="isReached">Whether what the mutant changes was called.</param>
    private static Hunt HuntOf(JsonNode run, string folder, string stage, bool isReached)
    {
        JsonNode report = run["stages"]![0]!;
        long tries = (long)report["ran"]![0]!["count"]!;
        var elapsed = TimeSpan.FromSeconds((double)run["elapsedSeconds"]!);
        if (report["failures"] is not JsonArray { Count: > 0 } failures) return new(HuntEnd.NotFound, tries, elapsed) { IsReached = isReached, Muted = Sum(report["muted"]!.AsArray()) };
        FailureFile file = FailureFile.Parse(File.ReadAllText(Path.Combine(folder, Path.GetFileName((string)failures[0]!["file"]!))));
        return new(HuntEnd.Found, tries, elapsed)
        {
            Named = file.Invariant,
            Size = stage == Generated ? $"{Harness.Scenarios.Scenario.FromJson(file.Scenario).Steps.Length} operations" : "",
            Report = (string?)failures[0]!["report"] ?? "",
        };
    }

    /// <summary>What is generated and explored does the same over and over, for seconds: to compile it once, optimized, is a fifth less work than to compile it again because it is called often.</summary>
    private static Dictionary<string, string> EnvironmentOf(Reached reached, int number) => new(reached.EnvironmentOf(number)) { ["DOTNET_TieredCompilation"] = "0" };

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
            Reached reached = Reached.Nothing(folder, programs.MutantCount);
            string failures = Directory.CreateDirectory(Path.Combine(folder, "failures")).FullName;
            (int? exit, string error) = Child.Run(programs.Verify, EnvironmentOf(reached, number), budget + ForShrinking, stop, "model", "--library", "--depth", $"{depth}", "--time", seconds, "--failures", failures);
            TimeSpan elapsed = time.GetElapsedTime(begun);
            if (exit == 0) return new(HuntEnd.NotFound, depth, elapsed) { IsReached = reached.Has(number) };
            if (exit != 1 || Directory.GetFiles(failures) is not [var found, ..]) return new(HuntEnd.Broke, 0, elapsed) { Report = exit is null ? "it did not end" : $"it ended with {exit}: {error.Trim()}" };
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
        string folder = Directory.CreateTempSubdirectory("vcmm-hunt-").FullName;
        try
        {
            Reached reached = Reached.Nothing(folder, programs.MutantCount);
            ScheduleTally tally = ScheduleHunt.Run(programs.Worker, request with { Environment = EnvironmentOf(reached, number) }, time, static (_, _) => { }, stop);
            stop.ThrowIfCancellationRequested();
            TimeSpan elapsed = time.GetElapsedTime(begun);
            if (tally.Failures.FirstOrDefault() is { } found)
                return new(HuntEnd.Found, found.Schedule, elapsed) { Named = found.Failure.Invariant, Size = found.Size, Report = found.Failure.Report };
            return tally.Problem is { } problem
                ? new(HuntEnd.Broke, tally.Schedules, elapsed) { Report = problem }
                : new(HuntEnd.NotFound, tally.Schedules, elapsed) { IsReached = reached.Has(number), Muted = tally.Muted.Values.Sum() };
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Looks which of the project's own tests reach which mutants.</summary>
    /// <param name="engines">The engines that will hunt.</param>
    /// <param name="part">Only classes of tests will whose full name has this in it.</param>
    /// <param name="lanes">How many classes of tests run beside each other.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="InvalidOperationException">There are no programs of the tests, or they cannot be run.</exception>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public TestMap LookAtTests(IReadOnlyList<string> engines, string part, int lanes, CancellationToken stop)
    {
        string[] assemblies = [.. engines.Select(static engine => engine == Engines.Conformance ? TestPrograms.Conformance : TestPrograms.Properties).Distinct()];
        var store = new TestMapStore(Path.Combine(Path.GetDirectoryName(programs.Folder)!, "reach"));
        string name = TestMapStore.NameOf(Tested, assemblies, part);
        if (store.Find(name) is { } known) return known with { IsKnown = true };
        TestMap map = new TestSurvey(Runs, time).Run(assemblies, part, lanes, stop);
        store.Keep(name, map);
        return map;
    }

    /// <summary>The project's own tests of one engine, until one fails.</summary>
    /// <param name="number">The mutant.</param>
    /// <param name="engine">The engine.</param>
    /// <param name="order">Which tests, and which first; is told of the one that fails.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    internal Hunt Tests(int number, string engine, TestOrder order, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        ImmutableArray<TestBatch> batches = order.Of(number, engine);
        if (batches.IsEmpty) return new(HuntEnd.NotFound, 0, TimeSpan.Zero) { IsReached = false };
        (TestRun run, ImmutableHashSet<int> reaches) = Runs.Hunt(number, batches, stop);
        if (run.Failed is { } failed)
        {
            TestClass type = batches.First(batch => batch.Class.Name == failed.Class).Class;
            if (type.Methods.FirstOrDefault(method => method.Name == failed.Method) is { } method) order.Found(type, method);
        }

        return HuntOf(number, run, reaches, time.GetElapsedTime(begun));
    }

    /// <summary>The project's own tests of one class, until one fails. What fails with no mutant active says nothing of this one.</summary>
    /// <param name="type">The class, by its full name; its assembly is what that begins with.</param>
    /// <param name="number">The mutant.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    internal Hunt TestsIn(string type, int number, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        (TestClass? found, ImmutableArray<string> leftOut) = new TestSurvey(Runs, time).LookAt(type.Split('.')[0], type, stop);
        if (!leftOut.IsEmpty) return new(HuntEnd.Broke, 0, time.GetElapsedTime(begun)) { Report = $"with nothing planted: {leftOut[0]}" };
        if (found is null) return new(HuntEnd.NotFound, 0, time.GetElapsedTime(begun)) { IsReached = false };
        (TestRun run, ImmutableHashSet<int> reaches) = Runs.Hunt(number, [new(found, found.Methods)], stop);
        return HuntOf(number, run, reaches, time.GetElapsedTime(begun));
    }

    private static Hunt HuntOf(int number, TestRun run, ImmutableHashSet<int> reaches, TimeSpan elapsed) => run switch
    {
        { Failed: { } failed } => new(HuntEnd.Found, run.Count, elapsed) { Test = failed.Name, Report = failed.Message ?? "" },
        { Problem: { } problem } => new(HuntEnd.Broke, run.Count, elapsed) { Report = problem },
        _ => new(HuntEnd.NotFound, run.Count, elapsed) { IsReached = reaches.Contains(number) },
    };

    private TestPrograms Tested => programs.Tests ?? throw new InvalidOperationException("no programs of the tests were made");

    private TestRuns Runs => new(Tested, programs.MutantCount);
}

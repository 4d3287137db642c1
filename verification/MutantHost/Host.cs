using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Text.Json;
using Harness.Generating;

namespace MutantHost;

/// <summary>
/// Runs the tests of an assembly for Stryker.NET, which speaks to it as to a server of Microsoft.Testing.Platform: one process tries mutant after mutant. What a
/// mutant leaves behind in static state must not count as finding the next one: <see cref="Trial"/> sees to that.
/// </summary>
public sealed class Host
{
    private const string Server = "--server";
    private const string Help = "--help";
    private const string Port = "--client-port";
    private const string Filter = "--filter";

    // States of a test in the protocol.
    private const string Discovered = "discovered";
    private const string Passed = "passed";
    private const string Failed = "failed";

    // The first of all runs measures what tests cost: there is no budget yet.
    private static readonly TimeSpan NoLimit = TimeSpan.FromDays(1);

    // Nobody knows yet what a test takes where mutants are: what an earlier mutant left may have it go round for ever.
    private static readonly TimeSpan ForFirst = TimeSpan.FromMinutes(2);

    private readonly Wire _wire;
    private readonly Suite _suite;
    private readonly Costs _costs;
    private readonly Unended _unended = new(ActiveMutant.Runner);
    private readonly string _filter;
    private bool _isUsed;

    private Host(Wire wire, Assembly assembly, string filter)
    {
        _wire = wire;
        _suite = new(assembly);
        _costs = Costs.Of(assembly.GetName().Name!);
        _filter = filter;
    }

    /// <summary>Whether a program of tests was started to be such a server, or to tell that it can be one.</summary>
    public static bool IsAskedFor(IReadOnlyList<string> args) => args is [Server, ..] or [Help];

    /// <summary>Serves until the other side has enough.</summary>
    /// <param name="args">How the program was started.</param>
    /// <param name="assembly">The tests.</param>
    public static int Run(IReadOnlyList<string> args, Assembly assembly)
    {
        if (args is [Help])
        {
            Console.WriteLine($"{Server} jsonrpc {Port} PORT\n  {Filter} EXPRESSION  only tests that it selects, as dotnet test has it");
            return 0;
        }

        Optimization.Allow(AppContext.BaseDirectory);
        List<Type> controls = Controls.Of(assembly);
        Coverage.Start(controls);
        ActiveMutant.Start(controls);
        using Wire wire = Wire.To(int.Parse(Valued(args, Port) ?? throw new ArgumentException($"{Port} is missing"), provider: null));
        new Host(wire, assembly, Valued(args, Filter) ?? "").Serve();
        return 0;
    }

    private static string? Valued(IReadOnlyList<string> args, string option)
    {
        for (int at = 0; at < args.Count - 1; at++)
        {
            if (args[at] == option) return args[at + 1];
        }

        return null;
    }

    private void Serve()
    {
        while (_wire.Read() is { } message)
        {
            using (message)
            {
                JsonElement root = message.RootElement;
                if (!root.TryGetProperty("method", out JsonElement method)) continue;
                switch (method.GetString())
                {
                    case "initialize":
                        _wire.Answer(root.GetProperty("id").GetInt32(), Introduce);
                        break;
                    case "testing/discoverTests":
                        Discover(root);
                        break;
                    case "testing/runTests":
                        RunTests(root);
                        break;
                    case "exit":
                        return;
                }
            }
        }
    }

    private static void Introduce(Utf8JsonWriter json)
    {
        json.WriteNumber("processId", Environment.ProcessId);
        json.WriteStartObject("serverInfo");
        json.WriteString("name", "MutantHost");
        json.WriteString("version", "1.0.0");
        json.WriteEndObject();
        json.WriteStartObject("capabilities");
        json.WriteStartObject("testing");
        json.WriteBoolean("supportsDiscovery", true);
        json.WriteBoolean("experimental_multiRequestSupport", false);
        json.WriteBoolean("vstestProvider", false);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static string RunOf(JsonElement request) => request.GetProperty("params").GetProperty("runId").GetString()!;

    private List<string> FindAll() => _suite.Find(_filter.Length == 0 ? static (_, _) => true : Selection.Parse(_filter));

    private void Discover(JsonElement request)
    {
        _wire.Tell(RunOf(request), [.. FindAll().Select(static test => (test, Discovered))]);
        _wire.Answer(request.GetProperty("id").GetInt32(), static _ => { });
    }

    private void RunTests(JsonElement request)
    {
        List<string> tests = request.GetProperty("params").TryGetProperty("tests", out JsonElement asked) && asked.ValueKind == JsonValueKind.Array
            ? [.. asked.EnumerateArray().Select(static test => test.GetProperty("uid").GetString()!)]
            : FindAll();
        int mutant = ActiveMutant.Read();
        bool isOver = false;
        List<(string Test, string State)> states = mutant == ActiveMutant.None ? Measure(tests) : Try(mutant, tests, out isOver);
        _isUsed = true;
        _wire.Tell(RunOf(request), states);
        _wire.Answer(request.GetProperty("id").GetInt32(), static _ => { });
        if (isOver) Leave();
    }

    private List<(string Test, string State)> Measure(List<string> tests)
    {
        if (UnderMutation.IsOn && !Coverage.IsNoted)
        {
            _costs.Clear();
            Unended.Clear();
        }

        List<(string Test, string State)> states = [];
        foreach (string test in tests)
        {
            TimeSpan start = Environment.CpuUsage.TotalTime;
            states.Add((test, _suite.Run(test, NoLimit, static () => { }, Coverage.IsNoted ? Coverage.Take : null) == Outcome.Passed ? Passed : Failed));
            Coverage.PutBack();
            if (UnderMutation.IsOn) _costs.Tell(ActiveMutant.Runner, test, Environment.CpuUsage.TotalTime - start, isExact: false);
        }

        return states;
    }

    private List<(string Test, string State)> Try(int mutant, List<string> tests, out bool isOver)
    {
        isOver = false;
        if (tests.Count == 0) return [];
        if (_unended.DiedIn(mutant) is { } last && tests.Contains(last))
        {
            _unended.End();
            _unended.Tell(mutant);
            return [(last, Failed)];
        }

        // What initializes statics is asked for with all tests.
        bool isOfStatics = tests.Count >= _costs.Count;
        var trial = new Trial(_isUsed, (active, test) =>
        {
            // A static must not be initialized before the mutant is active that is in it.
            if (active != ActiveMutant.None && !isOfStatics && !_costs.IsExact(test)) MeasureExactly(mutant, test);
            return RunWith(active, mutant, test, _costs.BudgetOf(test));
        });
        Verdict? verdict = trial.Of(mutant, _costs.CheapestFirst(tests), isOfStatics);
        if (verdict is null)
        {
            _unended.End();
            Leave();
        }

        // The next process finds it noted under which test this one ended: it answers, and is good for other mutants.
        if (verdict.IsEndless && verdict.IsOver && _isUsed) Leave();
        ActiveMutant.Set(ActiveMutant.None);
        if (verdict.IsEndless)
        {
            _unended.End();
            _unended.Tell(mutant);
        }

        isOver = verdict.IsOver;
        List<(string Test, string State)> states = [.. verdict.Passed.Select(static test => (test, Passed))];
        if (verdict.Failed is { } failed) states.Add((failed, Failed));
        return states;
    }

    private Outcome RunWith(int active, int mutant, string test, TimeSpan budget)
    {
        _unended.Begin(mutant, test);
        ActiveMutant.Set(active);
        Outcome outcome = _suite.Run(test, budget, ActiveMutant.Interrupt);
        if (outcome == Outcome.Interrupted) ActiveMutant.Resume();
        if (outcome != Outcome.Endless) _unended.End();
        return outcome;
    }

    // What was static is as an earlier mutant left it, if one was tried here: a test that does not pass says nothing of what it costs.
    private void MeasureExactly(int mutant, string test)
    {
        TimeSpan start = Environment.CpuUsage.TotalTime;
        Outcome outcome = RunWith(ActiveMutant.None, mutant, test, ForFirst);
        if (outcome == Outcome.Endless && _isUsed)
        {
            _unended.End();
            Leave();
        }

        if (outcome != Outcome.Passed) return;
        TimeSpan cost = Environment.CpuUsage.TotalTime - start;
        _costs.KnowExactly(test, cost);
        _costs.Tell(ActiveMutant.Runner, test, cost, isExact: true);
    }

    /// <summary>Ends the process. Stryker.NET starts another, and asks that one what this one has not answered.</summary>
    [DoesNotReturn]
    private void Leave()
    {
        _wire.Dispose();
        Environment.Exit(0);
    }
}

using System.Collections.Immutable;
using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>Looks which tests reach which mutants: each class runs once, in a process of its own, in the library as it is.</summary>
/// <param name="runs">Runs tests.</param>
/// <param name="time">The clock for how long they take.</param>
internal sealed class TestSurvey(TestRuns runs, TimeProvider time)
{
    /// <summary>Looks at all.</summary>
    /// <param name="assemblies">The assemblies with tests that will hunt.</param>
    /// <param name="part">Only classes will whose full name has this in it.</param>
    /// <param name="lanes">How many classes run beside each other.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="InvalidOperationException">The tests cannot be run.</exception>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public TestMap Run(IReadOnlyList<string> assemblies, string part, int lanes, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        ImmutableArray<(string Assembly, string Class)> classes = [.. runs.List(assemblies, stop).Where(listed => listed.Class.Contains(part, StringComparison.Ordinal))];
        var found = new (TestClass? Class, ImmutableArray<string> LeftOut)[classes.Length];
        Lanes.Run(lanes, classes.Length, stop, (i, _) => found[i] = LookAt(classes[i].Assembly, classes[i].Class, stop));
        return new([.. found.Select(static one => one.Class).OfType<TestClass>()], classes.Length, time.GetElapsedTime(begun)) { LeftOut = [.. found.SelectMany(static one => one.LeftOut)] };
    }

    /// <summary>Looks at one class.</summary>
    /// <param name="assembly">Its assembly, by the simple name.</param>
    /// <param name="type">The class, by its full name.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <returns>What of it may hunt, null if it reaches no mutant; and what may not, since it fails in the library as it is, and why.</returns>
    public (TestClass? Class, ImmutableArray<string> LeftOut) LookAt(string assembly, string type, CancellationToken stop)
    {
        (TestRun run, ImmutableHashSet<int> reaches) = runs.Measure(assembly, type, stop);
        if (reaches.IsEmpty) return (null, []);
        // It would find every mutant.
        if (run.Problem is { } problem) return (null, [$"{type}: {problem}"]);
        if (run.Results.FirstOrDefault(static result => result.Message is not null && result.Method.Length == 0) is { } whole) return (null, [$"{type}: {whole.Message}"]);
        ILookup<bool, IGrouping<string, TestResult>> methods = run.Results.GroupBy(static result => result.Method).ToLookup(static rows => rows.All(static row => row.Message is null));
        TestMethod[] sound = [.. methods[true].Select(rows => new TestMethod(rows.Key, EngineOf(assembly, rows), rows.Aggregate(TimeSpan.Zero, static (sum, row) => sum + row.Elapsed)))];
        string[] unsound = [.. methods[false].SelectMany(static rows => rows).Where(static row => row.Message is not null).Select(static row => $"{row.Name}: {row.Message}")];
        return (sound.Length == 0 ? null : new TestClass(assembly, type, [.. sound], reaches), [.. unsound]);
    }

    private static string EngineOf(string assembly, IEnumerable<TestResult> rows) =>
        assembly == TestPrograms.Conformance ? Engines.Conformance
        : rows.Any(static row => row.IsGenerated) ? Engines.Properties
        : Engines.Laws;
}

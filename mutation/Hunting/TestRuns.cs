using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Nodes;
using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>Runs tests in a process of their own, and reads what became of them.</summary>
/// <param name="programs">The tests with the mutated library.</param>
/// <param name="mutantCount">How many mutants are in it.</param>
internal sealed class TestRuns(TestPrograms programs, int mutantCount)
{
    // The runner ends tests that take too long by itself, unless it is no longer able to.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    // Nobody knows yet how long a class takes.
    private static readonly TimeSpan ForFirst = TimeSpan.FromMinutes(5);

    /// <summary>All classes that have a test which may hunt.</summary>
    /// <param name="assemblies">Of these assemblies.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="InvalidOperationException">The tests cannot be run.</exception>
    public ImmutableArray<(string Assembly, string Class)> List(IReadOnlyList<string> assemblies, CancellationToken stop)
    {
        TestRun run = Run("list", 0, assemblies, ForFirst, stop).Run;
        return run.Problem is null ? run.Classes : throw new InvalidOperationException($"the tests cannot be run: {run.Problem}");
    }

    /// <summary>Runs all tests of a class in the library as it is.</summary>
    /// <returns>What became of them, and which mutants they reach.</returns>
    public (TestRun Run, ImmutableHashSet<int> Reaches) Measure(string assembly, string type, CancellationToken stop) =>
        Run("measure", 0, [Line(assembly, type, ForFirst, [])], ForFirst + Patience, stop);

    /// <summary>Runs tests until one fails.</summary>
    /// <returns>What became of them, and which mutants they reached.</returns>
    public (TestRun Run, ImmutableHashSet<int> Reaches) Hunt(int number, ImmutableArray<TestBatch> batches, CancellationToken stop) => Run(
        "hunt", number, [.. batches.Select(static batch => Line(batch.Class.Assembly, batch.Class.Name, batch.Budget, batch.Methods.Select(static method => method.Name)))],
        batches.Aggregate(Patience, static (sum, batch) => sum + batch.Budget), stop);

    private static string Line(string assembly, string type, TimeSpan budget, IEnumerable<string> methods) =>
        string.Join('\t', assembly, type, budget.TotalSeconds.ToString(CultureInfo.InvariantCulture), string.Join(' ', methods));

    private (TestRun Run, ImmutableHashSet<int> Reaches) Run(string mode, int number, IReadOnlyList<string> plan, TimeSpan atMost, CancellationToken stop)
    {
        string folder = Directory.CreateTempSubdirectory("vcmm-tests-").FullName;
        try
        {
            Reached reached = Reached.Nothing(folder, mutantCount);
            string planned = Path.Combine(folder, "plan");
            string told = Path.Combine(folder, "told");
            File.WriteAllLines(planned, plan);
            (int? exit, string error) = Child.Run(programs.Runner, reached.EnvironmentOf(number), atMost, stop, mode, planned, told);
            return (TestRun.Read(File.Exists(told) ? File.ReadAllLines(told) : [], exit, error), [.. reached.Numbers()]);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}

/// <summary>A test that is over, or a row of one.</summary>
/// <param name="Class">Its class.</param>
/// <param name="Method">Its method; empty if what failed is the class itself.</param>
/// <param name="Name">Its full name.</param>
/// <param name="Elapsed">How long it took.</param>
/// <param name="IsGenerated">Whether it generated what it checked.</param>
/// <param name="Message">Why it failed; null if it passed.</param>
internal sealed record TestResult(string Class, string Method, string Name, TimeSpan Elapsed, bool IsGenerated, string? Message);

/// <summary>What became of tests that ran in one process.</summary>
/// <param name="Classes">Those that were listed.</param>
/// <param name="Results">Each test that is over, in order.</param>
/// <param name="Problem">What ended the process before all were; null if nothing did.</param>
internal sealed record TestRun(ImmutableArray<(string Assembly, string Class)> Classes, ImmutableArray<TestResult> Results, string? Problem)
{
    /// <summary>How many tests ran.</summary>
    public long Count => Results.Length;

    /// <summary>The first that failed; null if none did.</summary>
    public TestResult? Failed => Results.FirstOrDefault(static result => result.Message is not null);

    /// <summary>Reads what the runner told.</summary>
    /// <param name="lines">Its lines.</param>
    /// <param name="exit">Its exit code; null if it did not end.</param>
    /// <param name="error">What it said on standard error.</param>
    public static TestRun Read(IReadOnlyList<string> lines, int? exit, string error)
    {
        var classes = ImmutableArray.CreateBuilder<(string, string)>();
        var results = ImmutableArray.CreateBuilder<TestResult>();
        string? begun = null;
        foreach (string line in lines)
        {
            // The process may end in the middle of a line.
            if (!line.EndsWith('}')) break;
            JsonNode told = JsonNode.Parse(line)!;
            switch (Field(told, "event"))
            {
                case "class":
                    classes.Add((Field(told, "assembly"), Field(told, "class")));
                    break;
                case "begin":
                    begun = Field(told, "test");
                    break;
                case "passed" or "failed":
                    results.Add(new(
                        Field(told, "class"), Field(told, "method"), Field(told, "test"), TimeSpan.FromSeconds(double.Parse(Field(told, "seconds"), CultureInfo.InvariantCulture)),
                        Field(told, "generated") == "yes", (string?)told["message"]));
                    begun = null;
                    break;
            }
        }

        return new(classes.ToImmutable(), results.ToImmutable(), ProblemOf(exit, begun ?? "a class of tests", error.Trim()));
    }

    private static string? ProblemOf(int? exit, string test, string error) => exit switch
    {
        0 or 1 => null,
        null or 2 => $"{test} did not end",
        _ => $"{test} ended the process with {exit}: {error}",
    };

    private static string Field(JsonNode told, string name) => (string?)told[name] ?? "";
}

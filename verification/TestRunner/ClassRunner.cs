using System.Reflection;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace TestRunner;

/// <summary>Runs tests class by class, each in its turn, in this process.</summary>
/// <param name="told">Where it is told what becomes of each.</param>
/// <param name="stops">Whether none begins after one has failed.</param>
internal sealed class ClassRunner(Told told, bool stops)
{
    /// <summary>The exit code if all passed.</summary>
    public const int Passed = 0;

    /// <summary>The exit code if one failed.</summary>
    public const int Failed = 1;

    /// <summary>The exit code if one did not end.</summary>
    public const int Endless = 2;

    // QEMU may not be there; schedules have an engine of their own; the rooms' rules are about the library as it is built; what is slow checks the checks.
    private static readonly string[] LeftOut = ["Qemu", "Schedules", "House", "Slow"];

    private readonly Dictionary<string, (ITestFrameworkDiscoverer Finds, ITestFrameworkExecutor Runs)> _assemblies = [];

    /// <summary>Tells all classes of an assembly in which there is a test to run.</summary>
    /// <param name="assembly">The assembly, by its simple name.</param>
    /// <param name="told">Where.</param>
    public static void List(string assembly, Told told)
    {
        using var found = FrameworkOf(assembly).Finds;
        var sink = new Found();
        found.Find(includeSourceInformation: false, sink, new Options());
        sink.IsOver.Wait();
        IEnumerable<string> classes = sink.Tests.Where(IsToRun).Select(static test => test.TestMethod.TestClass.Class.Name).Distinct();
        foreach (string name in classes.Order(StringComparer.Ordinal)) told.Tell(("event", "class"), ("assembly", assembly), ("class", name));
    }

    /// <summary>Runs all.</summary>
    /// <param name="batches">In this order.</param>
    /// <returns>One of the exit codes.</returns>
    public int Run(IEnumerable<Batch> batches)
    {
        bool hasFailed = false;
        foreach (Batch batch in batches)
        {
            var sink = new Running(batch.Class, told, stops);
            // In a thread of its own: this one waits no longer than the batch may take.
            var thread = new Thread(() => Start(batch, sink)) { IsBackground = true };
            thread.Start();
            if (!sink.IsOver.Wait(batch.Budget))
            {
                told.Tell(("event", "endless"), ("class", batch.Class));
                return Endless;
            }

            hasFailed |= sink.HasFailed;
            if (hasFailed && stops) return Failed;
        }

        return hasFailed ? Failed : Passed;
    }

    private void Start(Batch batch, Running sink)
    {
        if (!_assemblies.TryGetValue(batch.Assembly, out (ITestFrameworkDiscoverer Finds, ITestFrameworkExecutor Runs) framework)) _assemblies.Add(batch.Assembly, framework = FrameworkOf(batch.Assembly));
        var found = new Found();
        framework.Finds.Find(batch.Class, includeSourceInformation: false, found, new Options());
        found.IsOver.Wait();
        framework.Runs.RunTests(
            found.Tests.Where(test => IsToRun(test) && (batch.Methods.Count == 0 || batch.Methods.Contains(test.TestMethod.Method.Name))), sink, new Options());
    }

    private static bool IsToRun(ITestCase test) => !test.Traits.TryGetValue("Category", out List<string>? categories) || !categories.Exists(static category => LeftOut.Contains(category));

    private static (ITestFrameworkDiscoverer Finds, ITestFrameworkExecutor Runs) FrameworkOf(string assembly)
    {
        var framework = new XunitTestFramework(new Xunit.Sdk.NullMessageSink()) { SourceInformationProvider = new NoSources() };
        Assembly loaded = Assembly.Load(assembly);
        return (framework.GetDiscoverer(Reflector.Wrap(loaded)), framework.GetExecutor(loaded.GetName()));
    }
}

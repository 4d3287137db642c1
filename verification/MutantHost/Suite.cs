using System.Diagnostics;
using System.Reflection;
using TestRunner;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace MutantHost;

/// <summary>What became of a test.</summary>
internal enum Outcome
{
    /// <summary>It passed, or was skipped.</summary>
    Passed,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>It did not end before it was interrupted; then it did.</summary>
    Interrupted,

    /// <summary>It does not end. It may still run: this process is good for nothing more.</summary>
    Endless,
}

/// <summary>The tests of an assembly, each named by its class and its method. The rows of a theory are one test.</summary>
/// <param name="assembly">The assembly.</param>
internal sealed class Suite(Assembly assembly)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50), OftenLook = TimeSpan.FromMilliseconds(2);

    // A test that waits for what never comes uses no processor time, and none sleeps. On the most loaded machine a process gets as much in so long a time.
    private static readonly TimeSpan Still = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Work = TimeSpan.FromMilliseconds(20);

    // What a test that was interrupted may still use.
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    private readonly Dictionary<string, List<IXunitTestCase>> _cases = [];
    private readonly HashSet<string> _classes = [];
    private readonly (ITestFrameworkDiscoverer Finds, ITestFrameworkExecutor Runs) _framework = FrameworkOf(assembly);

    /// <summary>The names of all tests that are selected.</summary>
    public List<string> Find(Func<string, Func<string, IReadOnlyList<string>>, bool> isSelected)
    {
        var sink = new Found();
        _framework.Finds.Find(includeSourceInformation: false, sink, new Options());
        sink.IsOver.Wait();
        return [.. sink.Tests.Where(test => isSelected(NameOf(test), trait => test.Traits.TryGetValue(trait, out List<string>? values) ? values : [])).Select(NameOf).Distinct()];
    }

    /// <summary>Runs one test.</summary>
    /// <param name="name">The test.</param>
    /// <param name="budget">How much processor time it may use.</param>
    /// <param name="interrupt">Has it throw, after that time.</param>
    /// <param name="look">What is done again and again while it runs; null: nothing.</param>
    public Outcome Run(string name, TimeSpan budget, Action interrupt, Action? look = null)
    {
        var sink = new Judged();
        bool isInterrupted = false;
        IReadOnlyList<IXunitTestCase> cases = CasesOf(name);
        TimeSpan start = Environment.CpuUsage.TotalTime;
        // In a thread of its own: this one waits no longer than the test may take.
        new Thread(() => _framework.Runs.RunTests(cases, sink, new Options())) { IsBackground = true }.Start();
        TimeSpan worked = start;
        long workedAt = Stopwatch.GetTimestamp();
        while (!sink.IsOver.Wait(look is null ? Look : OftenLook))
        {
            look?.Invoke();
            TimeSpan now = Environment.CpuUsage.TotalTime;
            if (now - start > budget)
            {
                if (isInterrupted) return Outcome.Endless;
                interrupt();
                isInterrupted = true;
                budget = now - start + Rest;
            }

            if (now - worked >= Work) (worked, workedAt) = (now, Stopwatch.GetTimestamp());
            else if (Stopwatch.GetElapsedTime(workedAt) > Still) return Outcome.Endless;
        }

        return isInterrupted ? Outcome.Interrupted : sink.HasFailed ? Outcome.Failed : Outcome.Passed;
    }

    private static string NameOf(ITestCase test) => $"{test.TestMethod.TestClass.Class.Name}.{test.TestMethod.Method.Name}";

    private static (ITestFrameworkDiscoverer Finds, ITestFrameworkExecutor Runs) FrameworkOf(Assembly assembly)
    {
        var framework = new XunitTestFramework(new NullMessageSink()) { SourceInformationProvider = new NoSources() };
        return (framework.GetDiscoverer(Reflector.Wrap(assembly)), framework.GetExecutor(assembly.GetName()));
    }

    // A class is looked into when the first of its tests is to run.
    private List<IXunitTestCase> CasesOf(string name)
    {
        string type = name[..name.LastIndexOf('.')];
        if (_classes.Add(type))
        {
            var sink = new Found();
            _framework.Finds.Find(type, includeSourceInformation: false, sink, new Options());
            sink.IsOver.Wait();
            foreach (IXunitTestCase test in sink.Tests.Cast<IXunitTestCase>())
            {
                if (_cases.TryGetValue(NameOf(test), out List<IXunitTestCase>? known)) known.Add(test);
                else _cases.Add(NameOf(test), [test]);
            }
        }

        return _cases.TryGetValue(name, out List<IXunitTestCase>? cases) ? cases : throw new ArgumentException($"there is no test {name}");
    }
}

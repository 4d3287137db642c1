using System.Globalization;
using Xunit.Abstractions;

namespace TestRunner;

/// <summary>Tells what becomes of tests.</summary>
/// <param name="type">Their class.</param>
/// <param name="told">Where.</param>
/// <param name="stops">Whether none begins after one has failed.</param>
internal sealed class Running(string type, Told told, bool stops) : IMessageSink
{
    private long _drawn;

    /// <summary>Whether one failed.</summary>
    public bool HasFailed { get; private set; }

    /// <summary>Set when all are over.</summary>
    public ManualResetEventSlim IsOver { get; } = new();

    /// <inheritdoc/>
    public bool OnMessage(IMessageSinkMessage message)
    {
        switch (message)
        {
            case ITestStarting starting:
                _drawn = Generated.Count;
                told.Tell(("event", "begin"), ("test", starting.Test.DisplayName));
                break;
            case ITestPassed passed:
                told.Tell([.. ResultOf("passed", passed)]);
                break;
            case ITestFailed failed:
                HasFailed = true;
                told.Tell([.. ResultOf("failed", failed), ("message", string.Join("\n", failed.Messages))]);
                break;
            // What a class or a collection does before its first test, or after its last.
            case IFailureInformation failure:
                HasFailed = true;
                told.Tell(("event", "failed"), ("class", type), ("method", ""), ("test", type), ("seconds", "0"), ("generated", "no"), ("message", string.Join("\n", failure.Messages)));
                break;
            case ITestAssemblyFinished:
                IsOver.Set();
                break;
        }

        return !(stops && HasFailed);
    }

    private (string Name, string Value)[] ResultOf(string what, ITestResultMessage result) =>
    [
        ("event", what), ("class", type), ("method", result.TestMethod.Method.Name), ("test", result.Test.DisplayName),
        ("seconds", result.ExecutionTime.ToString(CultureInfo.InvariantCulture)), ("generated", Generated.Is(result.TestCase, _drawn) ? "yes" : "no"),
    ];
}

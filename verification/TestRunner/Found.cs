using Xunit.Abstractions;

namespace TestRunner;

/// <summary>Takes what discovery finds.</summary>
internal sealed class Found : IMessageSink
{
    /// <summary>The tests.</summary>
    public List<ITestCase> Tests { get; } = [];

    /// <summary>Set when all are found.</summary>
    public ManualResetEventSlim IsOver { get; } = new();

    /// <inheritdoc/>
    public bool OnMessage(IMessageSinkMessage message)
    {
        if (message is ITestCaseDiscoveryMessage found) Tests.Add(found.TestCase);
        if (message is IDiscoveryCompleteMessage) IsOver.Set();
        return true;
    }
}

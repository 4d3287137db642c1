using Xunit.Abstractions;

namespace MutantHost;

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

/// <summary>Takes what becomes of one test; after the first row that fails none begins.</summary>
internal sealed class Judged : IMessageSink
{
    private volatile bool _hasFailed;

    /// <summary>Whether it failed.</summary>
    public bool HasFailed => _hasFailed;

    /// <summary>Set when it is over.</summary>
    public ManualResetEventSlim IsOver { get; } = new();

    /// <inheritdoc/>
    public bool OnMessage(IMessageSinkMessage message)
    {
        if (message is IFailureInformation) _hasFailed = true;
        if (message is ITestAssemblyFinished) IsOver.Set();
        return !_hasFailed;
    }
}

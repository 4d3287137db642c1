using Xunit.Abstractions;

namespace MutantHost;

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

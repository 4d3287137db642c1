using Xunit.Abstractions;

namespace TestRunner;

/// <summary>How the framework is to find and run tests: in one thread, one after the other, and told of where they happen.</summary>
internal sealed class Options : ITestFrameworkDiscoveryOptions, ITestFrameworkExecutionOptions
{
    private readonly Dictionary<string, object?> _values = new()
    {
        // The rows of a theory are read when it runs: what is not run is not read.
        ["xunit.discovery.PreEnumerateTheories"] = false,
        ["xunit.discovery.SynchronousMessageReporting"] = true,
        ["xunit.execution.DisableParallelization"] = true,
        ["xunit.execution.SynchronousMessageReporting"] = true,
    };

    /// <inheritdoc/>
    public TValue GetValue<TValue>(string name) => _values.TryGetValue(name, out object? value) && value is TValue given ? given : default!;

    /// <inheritdoc/>
    public void SetValue<TValue>(string name, TValue value) => _values[name] = value;
}

/// <summary>Where a test's source is: nobody asks.</summary>
internal sealed class NoSources : ISourceInformationProvider
{
    /// <inheritdoc/>
    public ISourceInformation GetSourceInformation(ITestCase testCase) => new Nowhere();

    /// <inheritdoc/>
    public void Dispose()
    {
        // It holds nothing.
    }

    private sealed class Nowhere : ISourceInformation
    {
        public string FileName { get; set; } = "";

        public int? LineNumber { get; set; }

        public void Deserialize(IXunitSerializationInfo info) => throw new NotSupportedException();

        public void Serialize(IXunitSerializationInfo info) => throw new NotSupportedException();
    }
}

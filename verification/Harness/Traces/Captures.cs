namespace Harness.Traces;

/// <summary>The captures of a real kernel that come with the suite; <c>Captures/README.md</c> says where they are from.</summary>
public static class Captures
{
    /// <summary>Their names.</summary>
    public static IReadOnlyList<string> Names { get; } = ["linux-6.12-vtd-nvme-strict.trace.gz", "linux-6.12-vtd-nvme-lazy.trace.gz"];

    /// <summary>A capture as it is stored, gzip.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="ArgumentException">There is no such capture.</exception>
    public static Stream Open(string name) =>
        typeof(Captures).Assembly.GetManifestResourceStream(name) ?? throw new ArgumentException($"no capture is called {name}", nameof(name));
}

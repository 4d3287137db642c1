using System.Diagnostics;
using Harness.Traces;
using Xunit.Abstractions;

namespace Conformance.Traces;

/// <summary>Measures memory, so nothing else may run beside it.</summary>
[CollectionDefinition(nameof(EndlessTraceTests), DisableParallelization = true)]
public sealed class Alone;

[Collection(nameof(EndlessTraceTests))]
[Trait("Category", "Broad")]
public sealed class EndlessTraceTests(ITestOutputHelper output)
{
    [Fact]
    public void Ten_million_events_take_no_more_memory_than_one_million()
    {
        const long events = 10_000_001;
        var held = new List<long>();
        var clock = Stopwatch.StartNew();
        using var trace = new EndlessTrace(events, 1_000_000, () => held.Add(GC.GetTotalMemory(forceFullCollection: true)));
        TraceOutcome outcome = TraceCheck.Run(trace);
        output.WriteLine($"{events} events in {clock.Elapsed.TotalSeconds:0.0} s; bytes held after each million: {string.Join(", ", held)}");
        Assert.Null(outcome.Refusal);
        Assert.Equal((events, (events - 1) / 4), (outcome.Report.Events, outcome.Report.Maps));
        Assert.Equal(10, held.Count);

        // Noise of the runtime and the test host is some tens of KB; a byte for each event would be 9 MB.
        Assert.True(held.Skip(1).Max() - held[0] < 1 << 20, string.Join(", ", held));
    }
}

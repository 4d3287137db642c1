using Harness.Failures;
using Harness.Hostile;
using Harness.Stages;
using IommuSim;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Conformance.Simulator;

/// <summary>A slice of the hostile stage: fixed seeds, and everything that can be met was.</summary>
public sealed class HostileTests(ITestOutputHelper output)
{
    /// <summary>Conditions that need somebody to change an entry again and again between two reads of the unit.</summary>
    private static readonly VtdFaultReason[] NotMet = [VtdFaultReason.FirstStageFlagsNotUpdated, VtdFaultReason.SecondStageFlagsNotUpdated];

    [Fact]
    public void Whatever_is_in_memory_and_registers_an_access_ends_in_a_transfer_or_a_fault()
    {
        (StageReport report, HostileCounts counts) = Run(seed: 1, worlds: 150);
        output.WriteLine(string.Join(", ", report.Ran.Select(ran => $"{ran.Count} {ran.What}")));
        output.WriteLine(string.Join(' ', counts.Reasons.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}={pair.Value}")));
        output.WriteLine(string.Join(", ", counts.Sometimes.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}")));
        Assert.True(report.Failures.Count == 0, report.Failures.FirstOrDefault()?.Report);

        // Sometimes: every condition was met, and every part of the unit was used.
        Assert.Empty(Enum.GetValues<VtdFaultReason>().Except(NotMet).Except(counts.Reasons.Keys));
        Assert.InRange(counts.Reasons[VtdFaultReason.None], counts.Accesses / 10, counts.Accesses * 9 / 10);
        // Of the seventeen things that are counted one may be too rare for so few units.
        Assert.InRange(counts.Sometimes.Count, 16, 17);
        Assert.NotEqual(0, counts.Stalled);
    }

    [Fact]
    public void The_same_seed_gives_the_same_run()
    {
        (_, HostileCounts first) = Run(seed: 2, worlds: 6);
        (_, HostileCounts second) = Run(seed: 2, worlds: 6);
        Assert.Equal(first.Reasons.OrderBy(pair => pair.Key), second.Reasons.OrderBy(pair => pair.Key));
        Assert.Equal(first.Sometimes.OrderBy(pair => pair.Key, StringComparer.Ordinal), second.Sometimes.OrderBy(pair => pair.Key, StringComparer.Ordinal));
        Assert.Equal((first.Stores, first.Commands, first.RegisterWrites), (second.Stores, second.Commands, second.RegisterWrites));
    }

    private static (StageReport Report, HostileCounts Counts) Run(ulong seed, uint worlds)
    {
        var counts = new HostileCounts();
        StageReport report = new HostileStage().Run(new(seed, TimeSpan.MaxValue, TimeProvider.System, _ => { }, CancellationToken.None), worlds, counts);
        return (report, counts);
    }
}

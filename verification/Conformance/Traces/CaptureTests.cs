using System.Diagnostics;
using Harness.Stages;
using Harness.Traces;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Conformance.Traces;

/// <summary>What a real kernel did is what the model permits.</summary>
public sealed class CaptureTests(ITestOutputHelper output)
{
    [Fact]
    public void The_strict_capture_is_accepted_with_the_counts_of_its_description()
    {
        TraceReport report = Accepted(Captures.Names[0]);
        Assert.Equal(TraceMode.Strict, report.Mode);
        Assert.Equal((16_608, 9_216, 2_453, 2_453), (report.Events, report.Maps, report.Unmaps, report.Flushes));
        Assert.Equal((1, 0, 2_453), (report.GlobalInvalidations, report.DomainInvalidations, report.PageInvalidations));
        Assert.InRange(report.LongestStaleMicroseconds, 735, 744);
    }

    [Fact]
    public void The_lazy_capture_is_accepted_with_the_counts_of_its_description()
    {
        TraceReport report = Accepted(Captures.Names[1]);
        Assert.Equal(TraceMode.Lazy, report.Mode);
        Assert.Equal((10_815, 8_167, 2_479, 68), (report.Events, report.Maps, report.Unmaps, report.Flushes));
        Assert.Equal((1, 68, 0), (report.GlobalInvalidations, report.DomainInvalidations, report.PageInvalidations));
        Assert.InRange(report.LongestStaleMicroseconds, 26_250, 26_349);
    }

    [Fact]
    public void The_stage_holds_both_captures_and_finds_nothing()
    {
        var progress = new List<double>();
        StageReport report = new TraceStage().Run(new(1, TimeSpan.FromSeconds(1), TimeProvider.System, at => progress.Add(at.Fraction), CancellationToken.None));
        Assert.Equal([("traces", 2), ("events", 27_423)], report.Ran);
        Assert.Empty(report.Failures);
        Assert.Equal(2_453 + 2_479, report.Checks[Invariant.Conservation]);
        Assert.Equal(9_216 + 8_167, report.Checks[Invariant.BreakBeforeMake]);
        Assert.Equal(1, progress[^1]);
    }

    [Fact]
    public void The_stage_stops_when_it_is_told_to()
    {
        StageReport report = new TraceStage().Run(new(1, TimeSpan.FromSeconds(1), TimeProvider.System, _ => { }, new(canceled: true)));
        Assert.Equal([("traces", 0), ("events", 0)], report.Ran);
    }

    [Fact]
    public void A_capture_is_judged_in_far_less_than_a_second()
    {
        var clock = Stopwatch.StartNew();
        Accepted(Captures.Names[0]);
        output.WriteLine($"16,608 events in {clock.Elapsed.TotalMilliseconds:0} ms");
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(2), $"{clock.Elapsed}");
    }

    private TraceReport Accepted(string name)
    {
        using Stream capture = Captures.Open(name);
        TraceOutcome outcome = TraceCheck.Run(capture);
        output.WriteLine(outcome.ToString());
        Assert.Null(outcome.Refusal);
        TraceReport report = outcome.Report;
        Assert.Equal("dmar0 domain 5", report.Domain);
        Assert.Equal((4_140UL, 0UL, 8), (report.LivePages, report.StalePages, report.Assignments));
        Assert.Equal(
            [("add_device_to_group", 8), ("attach_device_to_domain", 8), ("qi_submit cc_inv", 1), ("tracing_mark_write", 7)],
            report.Skipped.Select(skip => (skip.Key, skip.Value)).Order());
        Assert.Equal(report.Events, report.Maps + report.Unmaps + report.Flushes + report.Invalidations + report.Assignments + report.Skipped.Values.Sum());
        return report;
    }
}

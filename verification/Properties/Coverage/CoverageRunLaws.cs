using Harness.Coverage;
using Harness.ModelChecking;
using Harness.Running;
using Harness.Stages;
using Properties.Sequences;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Coverage;

/// <summary>What of all that can happen runs have led the library into.</summary>
[Trait("Category", "Slow")]
public sealed class CoverageRunLaws(ITestOutputHelper output)
{
    private static readonly Scope Least = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 1 };

    [Fact]
    public void Each_kind_of_run_covers_something_and_nothing_is_counted_that_was_not_seen()
    {
        CoverageReport report = Run(Least, SubjectParts.Own, steps: 2000);
        Assert.True(report.Failure is null, report.Failure?.Report);
        Assert.Null(report.CutOff);
        foreach (CoveredBy by in report.By) output.WriteLine($"{by.Kind}: {by.Ran}; {by.Situations.Count(report.Possible.Contains)} of {report.Possible.Count}, {by.Situations.Count} in all");
        Assert.Equal(["exhaustive", "directed", "random", "concurrent"], report.By.Select(static by => by.Kind));
        Assert.All(report.By, by => Assert.InRange(by.Situations.Count(report.Possible.Contains), 20, report.Possible.Count));
        // No short sequence of the small world leaves it; but of faults that nobody was told of there may be more.
        Assert.Equal("", string.Join("\n", report.By[0].Situations.Except(report.Possible).Where(static situation => situation.Operation != typeof(DeviceAccess))));
        Assert.Equal(report.Possible.Count, report.Missing.Count() + report.Possible.Count(situation => report.By.Any(by => by.Situations.Contains(situation))));
    }

    [Fact]
    public void A_fault_in_the_library_ends_it()
    {
        PlantedFault planted = PlantedFault.All.Single(static fault => fault.Name == "a detach that is not done");
        CoverageReport report = Run(Least, planted.Parts, steps: 100_000);
        Assert.Equal(planted.CaughtBy, report.Failure?.Invariant);
        Assert.Single(report.By);
    }

    /// <summary>Runs for so many looks at the clock, of which each part gets a fifth.</summary>
    private static CoverageReport Run(Scope scope, SubjectParts parts, int steps) =>
        CoverageRun.Run(scope, new StageContext(1, TimeSpan.FromMilliseconds(steps), new LookClock(), static _ => { }, CancellationToken.None), 1L << 30, parts);
}

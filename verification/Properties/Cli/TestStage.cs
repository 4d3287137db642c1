using System.Text.Json.Nodes;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;

namespace Properties.Cli;

/// <summary>A stage that does what a test says.</summary>
internal sealed class TestStage(string name, Func<StageContext, StageReport> run) : IStage, IReplayer
{
    public string Name => name;

    public string? Missing { get; init; }

    /// <summary>What a replay finds.</summary>
    public Func<FailureFile, StageFailure?> Again { get; init; } = _ => null;

    public StageReport Run(StageContext context) => run(context);

    public StageFailure? Replay(FailureFile file) => Again(file);

    /// <summary>A stage that takes this long and finds nothing.</summary>
    public static TestStage Taking(string name, FakeClock clock, Func<TimeSpan, TimeSpan> ofBudget, List<TimeSpan>? budgets = null) => new(name, context =>
    {
        budgets?.Add(context.Budget);
        TimeSpan took = ofBudget(context.Budget);
        clock.Advance(took);
        return ReportOf(name, took);
    });

    /// <summary>A stage that finds these failures.</summary>
    public static TestStage Finding(string name, params StageFailure[] failures) =>
        new(name, _ => ReportOf(name, TimeSpan.FromSeconds(2)) with { Failures = failures });

    /// <summary>A report of 8,000 sequences, 3 operations and two invariants checked.</summary>
    public static StageReport ReportOf(string name, TimeSpan elapsed) => new()
    {
        Name = name,
        Elapsed = elapsed,
        Ran = [("sequences", 8000), ("operations", 3)],
        Checks = new Dictionary<Invariant, long> { [Invariant.FrameSafety] = 12345, [Invariant.NoOverlap] = 7 },
        Failures = [],
    };

    /// <summary>A failure whose file is of the stage.</summary>
    public static StageFailure FailureOf(string stage, Invariant invariant, string summary, string report) =>
        new(invariant, summary, report, FileOf(stage, invariant, summary).ToString());

    /// <summary>A failure file of the stage.</summary>
    public static FailureFile FileOf(string stage, Invariant invariant, string observed) => new()
    {
        Format = FailureFile.Magic,
        Stage = stage,
        Invariant = invariant,
        Observed = observed,
        Expected = "something else",
        Scenario = new JsonObject { ["threads"] = 1 },
    };
}

using Verify.Benching;
using Workloads;

namespace Properties.Speed;

/// <summary>The rows of controlled schedules do what they say they do.</summary>
[Trait("Category", "Schedules")]
public sealed class ExplorerRowLaws
{
    public static TheoryData<string> Names => [.. ExplorerRows.All.Select(static row => row.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_row_runs_its_batches_and_its_baseline(string name)
    {
        var row = (TimedRow)ExplorerRows.All.Single(row => row.Name == name);
        using IWorkload workload = row.Workload();
        using IWorkload baseline = row.Baseline!();
        workload.Check();
        baseline.Check();
        Assert.InRange(workload.OperationsPerBatch, 1, 1_000_000);
        Assert.InRange(baseline.OperationsPerBatch, 1, 1_000_000);
    }

    [Fact]
    public void What_is_not_measured_is_refused()
    {
        var failure = Assert.Throws<InvalidOperationException>(static () => new ExplorerBatches("nothing"));
        Assert.Contains("expected empty, bare-steps, two-threads", failure.Message);
    }
}

using Workloads;

namespace Properties.Speed;

/// <summary>What is timed does what it says, and its limits are what was promised.</summary>
public sealed class WorkloadLaws
{
    public static TheoryData<string> Rows => Names(static row => !IsLarge(row));

    public static TheoryData<string> LargeRows => Names(IsLarge);

    [Theory]
    [MemberData(nameof(Rows))]
    public void A_workload_and_its_baseline_do_what_they_say(string name) => RunOnce(name);

    [Theory]
    [Trait("Category", "Slow")]
    [MemberData(nameof(LargeRows))]
    public void A_large_workload_and_its_baseline_do_what_they_say(string name) => RunOnce(name);

    [Fact]
    public void Names_are_one_of_a_kind_and_ratios_have_a_baseline()
    {
        Assert.Distinct(AllRows.All.Select(row => row.Name));
        Assert.All(AllRows.All.OfType<TimedRow>(), row => Assert.True(row.Baseline is not null || row.RatioLimit is null, row.Name));
        Assert.All(AllRows.All.OfType<TimedRow>(), row => Assert.Equal(row.Baseline is null, row.BaselineWhat.Length == 0));
    }

    [Fact]
    public void An_error_of_the_second_thread_is_the_batchs()
    {
        using var two = new TwoThreads(new Failing(() => { }), new Failing(() => throw new InvalidOperationException("oh")));
        Assert.Equal("the second thread: oh", Assert.Throws<InvalidOperationException>(two.Batch).Message);
    }

    private static TheoryData<string> Names(Func<TimedRow, bool> which) => [.. AllRows.All.OfType<TimedRow>().Where(which).Select(row => row.Name)];

    private static bool IsLarge(TimedRow row) => row.Name is "E6 ranges 100k" or "E6 ranges 1M" or "E6 cached 100k" or "E6 cached 1M";

    private static void RunOnce(string name)
    {
        TimedRow row = AllRows.All.OfType<TimedRow>().Single(row => row.Name == name);
        foreach (Func<IWorkload> setUp in row.Baseline is { } baseline ? [row.Workload, baseline] : new[] { row.Workload })
        {
            using IWorkload workload = setUp();
            Assert.True(workload.OperationsPerBatch > 0);
            workload.Batch();
            workload.Check();
            // What a batch and a check leave behind is what they found.
            workload.Batch();
            workload.Check();
        }
    }

    private sealed class Failing(Action onBatch) : IWorkload
    {
        public int OperationsPerBatch => 1;

        public void Batch() => onBatch();

        public void Check()
        {
        }

        public void Dispose()
        {
        }
    }
}

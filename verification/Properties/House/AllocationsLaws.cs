using Harness;

namespace Properties.House;

/// <summary>What tests count of allocations is right whatever else the process does.</summary>
public sealed class AllocationsLaws
{
    private static object? s_kept;

    [Fact]
    public void A_collection_is_no_allocation()
    {
        s_kept = new byte[100];
        int runs = 0;
        Assert.Equal(0, Allocations.Of(() =>
        {
            runs++;
            GC.Collect(0, GCCollectionMode.Forced, blocking: true);
        }));
        Assert.Equal(1, runs);
    }

    [Fact]
    public void What_is_allocated_is_counted_to_the_byte()
    {
        // A header of 16 bytes, a count of 8 in it.
        Assert.Equal(1024 + 2 * 24 + 1000, Allocations.Of(() =>
        {
            s_kept = new byte[1024];
            s_kept = new byte[1000];
        }));
    }

    [Fact]
    public void Where_each_run_is_uncertain_nothing_is_told() =>
        Assert.Throws<InvalidOperationException>(() => Allocations.Of(() =>
        {
            s_kept = new byte[8];
            GC.Collect(0, GCCollectionMode.Forced, blocking: true);
        }));
}

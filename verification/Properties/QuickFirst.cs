using Xunit.Abstractions;

[assembly: TestCollectionOrderer("Properties.QuickFirst", "Properties")]

namespace Properties;

/// <summary>
/// Where one test runs after the other, classes that run for seconds come last. Under mutation a run ends with the first test that fails: what a quick
/// test finds then costs no more than that.
/// </summary>
public sealed class QuickFirst : ITestCollectionOrderer
{
    /// <summary>What the name of the collection of such a class begins with.</summary>
    public const string Last = "Last: ";

    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderBy(static collection => collection.DisplayName.StartsWith(Last, StringComparison.Ordinal)).ThenBy(static collection => collection.DisplayName, StringComparer.Ordinal);
}

using House;

namespace Conformance.Promela;

/// <summary>What clauses of the promise, <c>spec/README.md</c>, name of the protocol and of these tests is there; the rest is held by <c>Properties</c>.</summary>
public sealed class ClauseLaws
{
    private const string Tests = "Conformance.", Order = "WRONG=";

    [Fact]
    public void Tests_that_clauses_name_are_there()
    {
        (Clause Clause, string Name)[] named = [.. Clause.All.SelectMany(static clause => Of(clause.Tests.Concat(clause.Mutants), Tests).Select(name => (clause, name)))];
        Assert.NotEmpty(named);
        Assert.Empty(named.Where(static pair => !ClauseNames.IsTest(typeof(ClauseLaws).Assembly, pair.Name)).Select(static pair => $"{pair.Clause} names {pair.Name}, which is no test"));
    }

    [Fact]
    public void Each_wrong_order_shows_a_clause_and_no_clause_names_another() => Assert.Equal(
        UnmapModelTests.WrongOrders.Select(static row => $"{row[1]}").Order(StringComparer.Ordinal),
        Clause.All.SelectMany(static clause => Of(clause.Mutants, Order)).Distinct().Order(StringComparer.Ordinal));

    private static IEnumerable<string> Of(IEnumerable<string> names, string prefix) => names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).Select(name => name[prefix.Length..]);
}

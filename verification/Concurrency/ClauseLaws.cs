using Explorer.Faults;
using House;

namespace Concurrency;

/// <summary>What clauses of the promise, <c>spec/README.md</c>, name of the explorer and of its tests is there; the rest is held by <c>Properties</c>.</summary>
public sealed class ClauseLaws
{
    private const string Tests = "Concurrency.", Code = "Explorer.", Fault = "--fault ";

    [Fact]
    public void Tests_that_clauses_name_are_there() => AllAre(
        clause => clause.Tests.Concat(clause.Mutants), Tests, static name => ClauseNames.IsTest(typeof(ClauseLaws).Assembly, name));

    [Fact]
    public void Code_that_clauses_name_is_there() => AllAre(static clause => clause.Code, Code, static name => ClauseNames.IsCode([typeof(PlantedFault).Assembly], name));

    [Fact]
    public void Planted_faults_that_clauses_name_are_there_and_break_their_invariant()
    {
        AllAre(static clause => clause.Mutants, Fault, static name => PlantedFault.Find(name) is not null);
        foreach (Clause clause in Clause.All)
            Assert.All(Of(clause.Mutants, Fault), name => Assert.Equal(clause.Invariant, (int)PlantedFault.Find(name)!.CaughtBy));
    }

    [Fact]
    public void Each_planted_fault_shows_a_clause() =>
        Assert.Empty(PlantedFault.All.Select(static fault => fault.Name).Except(Clause.All.SelectMany(static clause => Of(clause.Mutants, Fault))));

    private static void AllAre(Func<Clause, IEnumerable<string>> names, string prefix, Func<string, bool> isThere)
    {
        (Clause Clause, string Name)[] named = [.. Clause.All.SelectMany(clause => Of(names(clause), prefix).Select(name => (clause, name)))];
        Assert.NotEmpty(named);
        Assert.Empty(named.Where(pair => !isThere(pair.Name)).Select(static pair => $"{pair.Clause} names {pair.Name}, which is not there"));
    }

    private static IEnumerable<string> Of(IEnumerable<string> names, string prefix) => names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).Select(name => name[prefix.Length..]);
}

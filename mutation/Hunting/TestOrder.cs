using System.Collections.Immutable;

namespace Mutation.Hunting;

/// <summary>
/// Which tests hunt the mutants of one file, in which order: those first that found others there, the last one foremost; then class by class, the quicker ones first.
/// What other files' mutants were found by plays no part: so the order does not depend on how many are hunted beside each other.
/// </summary>
/// <param name="map">Who reaches what.</param>
internal sealed class TestOrder(TestMap map)
{
    // Beyond that they are as slow as whole classes.
    private const int MostKillers = 8;

    private readonly List<(TestClass Class, TestMethod Method)> _killers = [];

    /// <summary>The tests that hunt a mutant.</summary>
    /// <param name="number">The mutant.</param>
    /// <param name="engine">The engine that runs them.</param>
    public ImmutableArray<TestBatch> Of(int number, string engine)
    {
        var first = _killers.Where(killer => killer.Method.Engine == engine && killer.Class.Reaches.Contains(number)).Take(MostKillers).ToImmutableArray();
        IEnumerable<TestBatch> rest = map.Classes.Where(type => type.Reaches.Contains(number))
            .Select(type => new TestBatch(type, [.. type.Methods.Where(method => method.Engine == engine && !first.Contains((type, method)))]))
            .Where(static batch => batch.Methods.Length != 0)
            .OrderBy(static batch => Rank(batch.Elapsed)).ThenBy(static batch => batch.Class.Name, StringComparer.Ordinal);
        return [.. first.Select(static killer => new TestBatch(killer.Class, [killer.Method])), .. rest];
    }

    /// <summary>Notes that a test found a mutant.</summary>
    public void Found(TestClass type, TestMethod method)
    {
        _killers.Remove((type, method));
        _killers.Insert(0, (type, method));
    }

    // In steps of four: a measured time is not the same twice, and the order should be.
    private static int Rank(TimeSpan elapsed) => (int)Math.Log(Math.Max(1, elapsed.TotalMilliseconds), 4);
}

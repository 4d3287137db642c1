using System.Collections.Immutable;

namespace Mutation.Hunting;

/// <summary>A test: a method, with all rows that it has.</summary>
/// <param name="Name">The method.</param>
/// <param name="Engine">Which engine runs it.</param>
/// <param name="Elapsed">How long it took.</param>
public sealed record TestMethod(string Name, string Engine, TimeSpan Elapsed);

/// <summary>A class of tests.</summary>
/// <param name="Assembly">Its assembly, by the simple name.</param>
/// <param name="Name">Its full name.</param>
/// <param name="Methods">Its tests; without those that fail in the library as it is.</param>
/// <param name="Reaches">The numbers of all mutants that change a member which the tests call.</param>
public sealed record TestClass(string Assembly, string Name, ImmutableArray<TestMethod> Methods, ImmutableHashSet<int> Reaches);

/// <summary>Which tests reach which mutants.</summary>
/// <param name="Classes">Classes that reach one.</param>
/// <param name="ClassCount">How many classes were looked at.</param>
/// <param name="Elapsed">How long that took.</param>
public sealed record TestMap(ImmutableArray<TestClass> Classes, int ClassCount, TimeSpan Elapsed)
{
    /// <summary>What fails with no mutant active, and why: it would find every mutant, so it hunts none.</summary>
    public ImmutableArray<string> LeftOut { get; init; } = [];
}

/// <summary>Tests of one class that run together.</summary>
/// <param name="Class">The class.</param>
/// <param name="Methods">The tests.</param>
internal sealed record TestBatch(TestClass Class, ImmutableArray<TestMethod> Methods)
{
    // A loaded machine is slower than it was; the first tests of a process are.
    private const int Factor = 8;
    private static readonly TimeSpan More = TimeSpan.FromSeconds(15);

    /// <summary>How long they may take before they count as not ending.</summary>
    public TimeSpan Budget => More + (Factor * Elapsed);

    /// <summary>How long they took in the library as it is.</summary>
    public TimeSpan Elapsed => Methods.Aggregate(TimeSpan.Zero, static (sum, method) => sum + method.Elapsed);
}

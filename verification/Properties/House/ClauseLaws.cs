using System.Reflection;
using House;
using Properties.Sequences;
using Vcmm.Spec;

namespace Properties.House;

/// <summary>
/// The promise, <c>spec/README.md</c>, is true of what there is: each clause has code, tests and planted faults, and each rule, operation and
/// call has a clause. What stands in other test projects they look for themselves.
/// </summary>
[Trait("Category", "House")]
public sealed class ClauseLaws
{
    private static readonly Assembly Tests = typeof(ClauseLaws).Assembly;
    private static readonly Assembly[] Rooms = [typeof(World).Assembly, typeof(Harness.Running.SequenceRunner).Assembly];
    private static readonly string[] Others = ["Concurrency.", "Conformance.", "Explorer.", "--fault ", "WRONG="];

    /// <summary>What is planted here, and which invariants name it.</summary>
    private static readonly ILookup<string, Invariant> Planted = AllPlanted().ToLookup(static planted => planted.Name, static planted => planted.Invariant);

    private static IEnumerable<(string Name, Invariant Invariant)> AllPlanted() =>
    [
        .. PlantedFault.All.Select(static fault => (fault.Name, fault.CaughtBy)),
        .. PlantedEagerFault.All.Select(static fault => (fault.Name, fault.CaughtBy)),
        .. PlantedLie.All.Select(static lie => (lie.Name, lie.CaughtBy)),
        .. ParallelHistories.Faults.Select(static row => ((string)row[0], (Invariant)row[4])),
    ];

    [Fact]
    public void The_page_is_true() => Assert.Empty(Complaints(Clause.Page));

    [Fact]
    public void A_driver_author_reads_it_in_twenty_minutes()
    {
        // 200 words a minute, for what is read: not the names under the clauses.
        int words = Clause.Page.Split("\n\n").Where(static paragraph => !paragraph.StartsWith("> ", StringComparison.Ordinal)).Sum(static paragraph => paragraph.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.InRange(words, 1000, 20 * 200);
    }

    /// <summary>What is wrong on a page, and what is said of it.</summary>
    public static TheoryData<string, string, string> Wrong => new()
    {
        { "· *code* `World.Taken`, `World.WhyNotGiven`, `NoOverlapOracle` ·", "·", "I1.2 has no code" },
        { "*tests* `SequenceLaws`, `RangeAllocatorProperties`, `AllocatorThreads`, `Concurrency.ScenarioTests`", "*tests*", "I1.2 has no tests" },
        { "*mutants* `an owner count that ends too early`", "", "I1.7 has no mutants" },
        { "`World.Taken`", "`World.Token`", "I1.2 names World.Token, which is no code" },
        { "`World.Judge(ReserveAt)`", "`World.Judge(Nothing)`", "I1.3 names World.Judge(Nothing), which is no code" },
        { "`AllocatorThreads`", "`AllocatorThread`", "I1.2 names AllocatorThread, which is no test" },
        { "`LockOrderLaws`", "`LockOrderLaws.Nothing`", "I12.4 names LockOrderLaws.Nothing, which is no test" },
        { "`a range that another has`", "`a range that nobody has`", "I1.2 names a range that nobody has, which is not planted" },
        { "`an unback that throws`", "`a copy that goes one word too far`", "I10.3 names a copy that goes one word too far, which breaks I8" },
        { "`a clone that shares backings`", "`a split that loses a page`", "a clone that shares backings is planted and shows no clause of I2" },
        { "`done though the bound has reservations`", "`a bound that lets others in`", "done though the bound has reservations is planted and shows no clause of I1" },
        { "**I3.1**", "**I3.2**", "I3.2 stands where I3.1 is due" },
        { "**I14.1** ", "**I15.1** ", "there is no invariant 15" },
        { "**I11.", "I11.", "I11 has no clause" },
        { "`CloneVcm`", "`CreateVcm`", "CloneVcm is an operation and in no clause" },
        { "`CloneVcm`", "`CreateVcm`", "Vcm.TryClone is a call and in no clause" },
        { "`Vcm.TryInvalidate`", "`Adopt`", "Vcm.TryInvalidate is a call and in no clause" },
        { "`GoIdle`", "`GoAway`", "I4.4 names GoAway, which is no call" },
        { "`NoDevice`", "`Busy`", "NoDevice is a refusal and in no clause" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void A_page_that_is_not_true_is_seen(string right, string wrong, string complaint)
    {
        // Names under clauses stand on as many lines as they take.
        string lines = Clause.Page.Replace("\n\n> ", "\n\n\0", StringComparison.Ordinal).Replace("\n> ", " ", StringComparison.Ordinal).Replace("\0", "> ", StringComparison.Ordinal);
        Assert.Contains(right, lines, StringComparison.Ordinal);
        string page = lines.Replace(right, wrong, StringComparison.Ordinal);
        Assert.Contains(complaint, Complaints(page));
    }

    private static List<string> Complaints(string page)
    {
        IReadOnlyList<Clause> clauses = Clause.Parse(page);
        return [.. Numbers(clauses), .. clauses.SelectMany(Names), .. Coverage(clauses)];
    }

    private static IEnumerable<string> Numbers(IReadOnlyList<Clause> clauses)
    {
        (int invariant, int number) = (0, 0);
        foreach (Clause clause in clauses)
        {
            if (!Enum.IsDefined((Invariant)clause.Invariant)) yield return $"there is no invariant {clause.Invariant}";
            (int, int) due = clause.Invariant == invariant ? (invariant, number + 1) : (invariant + 1, 1);
            if ((clause.Invariant, clause.Number) != due) yield return $"{clause} stands where I{due.Item1}.{due.Item2} is due";
            (invariant, number) = due;
        }

        foreach (Invariant each in Enum.GetValues<Invariant>())
        {
            if (clauses.All(clause => clause.Invariant != (int)each)) yield return $"{each.Id()} has no clause";
        }
    }

    private static IEnumerable<string> Names(Clause clause)
    {
        if (clause.Code.Count == 0) yield return $"{clause} has no code";
        if (clause.Tests.Count == 0) yield return $"{clause} has no tests";
        if (clause.Mutants.Count == 0) yield return $"{clause} has no mutants";
        foreach (string call in clause.Calls)
        {
            if (!Operations.Contains(call) && !PublicCalls.Select(static pair => pair.Key).Contains(call)) yield return $"{clause} names {call}, which is no call";
        }

        foreach (string code in clause.Code.Where(IsOurs))
        {
            if (!ClauseNames.IsCode(Rooms, code)) yield return $"{clause} names {code}, which is no code";
        }

        foreach (string test in clause.Tests.Where(IsOurs))
        {
            if (!ClauseNames.IsTest(Tests, test)) yield return $"{clause} names {test}, which is no test";
        }

        foreach (string mutant in clause.Mutants.Where(IsOurs))
        {
            if (!Planted.Contains(mutant)) yield return $"{clause} names {mutant}, which is not planted";
            else if (!Planted[mutant].Contains((Invariant)clause.Invariant)) yield return $"{clause} names {mutant}, which breaks {string.Join(", ", Planted[mutant].Select(static invariant => invariant.Id()))}";
        }
    }

    private static IEnumerable<string> Coverage(IReadOnlyList<Clause> clauses)
    {
        HashSet<string> calls = [.. clauses.SelectMany(static clause => clause.Calls)];
        foreach (string operation in Operations.Where(operation => !calls.Contains(operation))) yield return $"{operation} is an operation and in no clause";
        foreach ((string call, Type? operation) in PublicCalls)
        {
            if (!calls.Contains(operation?.Name ?? call)) yield return $"{call} is a call and in no clause";
        }

        foreach (Outcome outcome in Enum.GetValues<Outcome>())
        {
            if (outcome is not (Outcome.None or Outcome.Waits) && !clauses.Any(clause => clause.Text.Contains($"`{outcome}`", StringComparison.Ordinal))) yield return $"{outcome} is a refusal and in no clause";
        }

        foreach ((string name, Invariant invariant) in AllPlanted())
        {
            if (!clauses.Any(clause => clause.Invariant == (int)invariant && clause.Mutants.Contains(name))) yield return $"{name} is planted and shows no clause of {invariant.Id()}";
        }
    }

    private static IEnumerable<string> Operations => typeof(Operation).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(Operation))).Select(static type => type.Name);

    /// <summary>The calls of the contract, overloads not told apart, and their operations.</summary>
    private static IEnumerable<KeyValuePair<string, Type?>> PublicCalls => HouseRules.Contract.Select(static pair => KeyValuePair.Create(pair.Key.Split('/')[0], pair.Value));

    private static bool IsOurs(string name) => !Others.Any(other => name.StartsWith(other, StringComparison.Ordinal));
}

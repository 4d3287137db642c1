using System.Globalization;

namespace MutantHost;

/// <summary>
/// What each test cost with no mutant active: when all ran before anything was mutated, which costs less than to run with a mutant active; when it was noted
/// what each covers, which costs more, in a loop a hundred times as much; and before it tried its first mutant, which is what counts. Written beside the tests, and
/// read by each process that runs them later.
/// </summary>
internal sealed class Costs
{
    private const string Exact = "exact";

    // A mutant may make an honest test slower.
    private const int Factor = 2;

    // How much slower a test may be for the question at each place that was changed whether it is the one.
    private const int MutatedFactor = 5;
    private static readonly TimeSpan More = TimeSpan.FromSeconds(2);

    private readonly string _assembly;
    private readonly Dictionary<string, (TimeSpan Least, TimeSpan? Most)> _costs = [];
    private readonly Dictionary<string, TimeSpan> _exact = [];

    private Costs(string assembly) => _assembly = assembly;

    /// <summary>How many tests there are.</summary>
    public int Count => _costs.Count;

    /// <summary>Those of an assembly, from runs before; none if there were none.</summary>
    public static Costs Of(string assembly)
    {
        var costs = new Costs(assembly);
        foreach (string line in costs.Files().SelectMany(File.ReadLines))
        {
            string[] fields = line.Split('\t');
            var cost = TimeSpan.FromMilliseconds(double.Parse(fields[1], CultureInfo.InvariantCulture));
            if (fields[^1] == Exact) costs.KnowExactly(fields[0], cost);
            else costs.Know(fields[0], cost);
        }

        return costs;
    }

    /// <summary>Takes in what a test cost.</summary>
    public void Know(string test, TimeSpan cost)
    {
        bool isKnown = _costs.TryGetValue(test, out (TimeSpan Least, TimeSpan? Most) known);
        _costs[test] = isKnown ? (Min(known.Least, cost), Max(known.Most ?? known.Least, cost)) : (cost, null);
    }

    /// <summary>Takes in what a test cost where mutants are, with none active.</summary>
    public void KnowExactly(string test, TimeSpan cost) => _exact[test] = cost;

    /// <summary>Whether it is known what a test costs where mutants are, with none active.</summary>
    public bool IsExact(string test) => _exact.ContainsKey(test);

    /// <summary>Forgets all costs.</summary>
    public void Clear()
    {
        foreach (string file in Files()) File.Delete(file);
    }

    /// <summary>Writes down what a test cost.</summary>
    /// <param name="runner">What is another for each of those who run tests at the same time.</param>
    /// <param name="test">The test.</param>
    /// <param name="cost">Its processor time.</param>
    /// <param name="isExact">Whether mutants were there, and nothing was noted.</param>
    public void Tell(string runner, string test, TimeSpan cost, bool isExact) =>
        File.AppendAllText(Path.Combine(AppContext.BaseDirectory, $"{_assembly}.{runner}.costs.tsv"), string.Create(CultureInfo.InvariantCulture, $"{test}\t{cost.TotalMilliseconds}\t{(isExact ? Exact : "")}\n"));

    /// <summary>The same tests, the cheapest first.</summary>
    public List<string> CheapestFirst(IEnumerable<string> tests) => [.. tests.OrderBy(CostOf).ThenBy(static test => test, StringComparer.Ordinal)];

    /// <summary>How much processor time a test may use with a mutant active before it counts as one that does not end.</summary>
    public TimeSpan BudgetOf(string test) => (CostOf(test) * Factor) + More;

    private string[] Files() => Directory.GetFiles(AppContext.BaseDirectory, $"{_assembly}.*costs.tsv");

    // A test that was ended while it was noted what it covers is known from once alone, and from when it took least.
    private TimeSpan CostOf(string test)
    {
        if (_exact.TryGetValue(test, out TimeSpan exact)) return exact;
        if (!_costs.TryGetValue(test, out (TimeSpan Least, TimeSpan? Most) cost)) return TimeSpan.Zero;
        TimeSpan most = cost.Least * MutatedFactor;
        return cost.Most is { } known ? Min(known, most) : most;
    }

    private static TimeSpan Min(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private static TimeSpan Max(TimeSpan one, TimeSpan other) => one > other ? one : other;
}

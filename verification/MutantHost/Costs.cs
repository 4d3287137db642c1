using System.Globalization;

namespace MutantHost;

/// <summary>What each test cost when all ran with no mutant active: written beside the tests, and read by each process that runs them later.</summary>
internal sealed class Costs
{
    // A mutant may make an honest test slower, and code that is mutated is slower than it was.
    private const int Factor = 10;
    private static readonly TimeSpan More = TimeSpan.FromSeconds(2);

    private readonly string _file;
    private readonly Dictionary<string, TimeSpan> _costs = [];

    private Costs(string file) => _file = file;

    /// <summary>How many tests there are.</summary>
    public int Count => _costs.Count;

    /// <summary>Those of an assembly, from a run before; none if there was none.</summary>
    public static Costs Of(string assembly)
    {
        var costs = new Costs(Path.Combine(AppContext.BaseDirectory, $"{assembly}.costs.tsv"));
        if (!File.Exists(costs._file)) return costs;
        foreach (string line in File.ReadLines(costs._file))
        {
            string[] fields = line.Split('\t');
            costs._costs[fields[0]] = TimeSpan.FromMilliseconds(double.Parse(fields[1], CultureInfo.InvariantCulture));
        }

        return costs;
    }

    /// <summary>Writes anew what each test cost.</summary>
    public void Write(IReadOnlyCollection<(string Test, TimeSpan Cost)> costs)
    {
        _costs.Clear();
        foreach ((string test, TimeSpan cost) in costs) _costs[test] = cost;
        File.WriteAllLines(_file, costs.Select(static cost => string.Create(CultureInfo.InvariantCulture, $"{cost.Test}\t{cost.Cost.TotalMilliseconds}")));
    }

    /// <summary>The same tests, the cheapest first.</summary>
    public List<string> CheapestFirst(IEnumerable<string> tests) => [.. tests.OrderBy(CostOf).ThenBy(static test => test, StringComparer.Ordinal)];

    /// <summary>How much processor time a test may use with a mutant active before it counts as one that does not end.</summary>
    public TimeSpan BudgetOf(string test) => (CostOf(test) * Factor) + More;

    private TimeSpan CostOf(string test) => _costs.TryGetValue(test, out TimeSpan cost) ? cost : TimeSpan.Zero;
}

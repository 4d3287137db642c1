using System.Reflection;

namespace MutantHost;

/// <summary>
/// Which mutants a test covers. Stryker.NET's class in a mutated assembly notes each mutant that is passed in a list, in which it looks from the first to the
/// last whether it is there already: with thousands of them a test of a second takes minutes. So the list is emptied into a set while the test runs, and has
/// all of them again when it is over.
/// </summary>
internal static class Coverage
{
    private const string FileVariable = "STRYKER_COVERAGE_FILE";
    private const string RelayVariable = "STRYKER_COVERAGE_EPOCH_FILE";

    private static Notes[] _all = [];

    /// <summary>Whether it is asked for: then no mutant is active.</summary>
    public static bool IsNoted { get; } = Environment.GetEnvironmentVariable(FileVariable) is { Length: > 0 };

    /// <summary>Begins to note, before any code runs that may be mutated.</summary>
    public static void Start(IEnumerable<Type> controls)
    {
        if (!IsNoted) return;
        // What a process left that was ended: Stryker.NET would wait for its answer after each test, and count what it covered last as covered by each.
        Forget(FileVariable);
        Forget(RelayVariable);
        _all = [.. controls.Select(static control => new Notes(control))];
    }

    /// <summary>Empties the lists. While a test runs: often.</summary>
    public static void Take()
    {
        foreach (Notes notes in _all) notes.Take();
    }

    /// <summary>A test is over: the lists have again all that it has passed.</summary>
    public static void PutBack()
    {
        foreach (Notes notes in _all) notes.PutBack();
    }

    private static void Forget(string variable)
    {
        if (Environment.GetEnvironmentVariable(variable) is not { Length: > 0 } name) return;
        // Each process and each assembly appends its own ending to the name that was given.
        foreach (string left in Directory.GetFiles(Path.GetTempPath(), $"{Path.GetFileNameWithoutExtension(name)}-*{Path.GetExtension(name)}")) File.Delete(left);
    }

    private sealed class Notes(Type control)
    {
        private readonly FieldInfo _list = control.GetField("_coveredMutants", BindingFlags.NonPublic | BindingFlags.Static)!;
        private readonly FieldInfo _lock = control.GetField("_coverageLock", BindingFlags.NonPublic | BindingFlags.Static)!;
        private readonly HashSet<int> _taken = [];

        public void Take()
        {
            lock (_lock.GetValue(null)!)
            {
                var list = (List<int>)_list.GetValue(null)!;
                _taken.UnionWith(list);
                list.Clear();
            }
        }

        public void PutBack()
        {
            Take();
            lock (_lock.GetValue(null)!) ((List<int>)_list.GetValue(null)!).AddRange(_taken);
            _taken.Clear();
        }
    }
}

using Harness;

namespace Mutation.Report;

/// <summary>Makes one report of several.</summary>
/// <param name="paths">How the files of each are called in the repository.</param>
public sealed class ReportMerge(ReportPaths paths)
{
    /// <summary>What the report says that made its mutants, where each says that itself.</summary>
    public const string Framework = "verify report";

    private readonly SortedDictionary<string, (MutatedFile File, string Name, List<MutantResult> Mutants)> _files = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, (string? Source, Dictionary<string, ReportTest> Tests)> _tests = new(StringComparer.Ordinal);
    private readonly Dictionary<object, (int Report, string Name, MutantResult Mutant)> _places = [];
    private readonly HashSet<string> _ids = [];
    private readonly Dictionary<string, string> _testNames = [];

    private ReportThresholds _thresholds = new(0, 0);
    private int _reports;

    /// <summary>Adds a report.</summary>
    /// <param name="name">What the user calls it.</param>
    /// <param name="report">The report.</param>
    /// <exception cref="BadInputException">It is of other sources than one that was added before, or has a mutant that such a one has.</exception>
    public void Add(string name, MutationReport report)
    {
        Func<string, string> testId = AddTests(report);
        string suffix = SuffixFor(name, report);
        foreach ((string given, MutatedFile file) in report.Files)
        {
            // Of a file that a run leaves out as a whole Stryker does not even tell the text.
            if (file.Mutants.Count == 0) continue;
            string path = paths.Of(given, report.ProjectRoot);
            string source = TextOf(file);
            if (!_files.TryGetValue(path, out var known)) _files.Add(path, known = (file with { Source = source, Mutants = [] }, name, []));
            if (known.File.Source != source) throw new BadInputException($"{name}: {path} is another text than in {known.Name}; expected reports on the same sources");
            foreach (MutantResult mutant in file.Mutants)
            {
                string maker = report.MakerOf(mutant);
                MutantResult added = mutant with
                {
                    Id = IdOf(report, mutant, suffix),
                    Framework = maker,
                    CoveredBy = mutant.CoveredBy?.Select(testId).ToArray(),
                    KilledBy = mutant.KilledBy?.Select(testId).ToArray(),
                };
                _ids.Add(added.Id);
                // The same change of the same maker: it would be counted twice.
                object place = (maker, path, mutant.Location, mutant.MutatorName, mutant.Replacement);
                if (_places.TryGetValue(place, out var other) && other.Report != _reports)
                {
                    // A run over a few files tells of all others, too: that it left them out, or that they cannot be compiled.
                    if (TellsOf(mutant) <= Math.Min(TellsOf(other.Mutant), 1)) continue;
                    if (TellsOf(other.Mutant) > 1)
                        throw new BadInputException($"{name}: {mutant.MutatorName} at {path}:{mutant.Location.Start.Line} is in {other.Name}, too; expected each mutant in one report");
                    known.Mutants.Remove(other.Mutant);
                }

                _places[place] = (_reports, name, added);
                known.Mutants.Add(added);
            }
        }

        _reports++;
        _thresholds = new(Math.Max(_thresholds.High, report.Thresholds.High), Math.Max(_thresholds.Low, report.Thresholds.Low));
    }

    /// <summary>How much a result says: 0 nothing, 1 that it cannot be compiled, 2 what became of it.</summary>
    private static int TellsOf(MutantResult mutant) => mutant.Status switch { MutantStatus.Ignored => 0, MutantStatus.CompileError => 1, _ => 2 };

    /// <summary>The report of all that were added.</summary>
    public MutationReport Merged() => new()
    {
        SchemaVersion = "2",
        Thresholds = _thresholds,
        Framework = new(Framework),
        Files = new(_files.ToDictionary(static file => file.Key, static file => file.Value.File with { Mutants = file.Value.Mutants }), StringComparer.Ordinal),
        TestFiles = new(_tests.ToDictionary(static file => file.Key, static file => new TestFile { Source = file.Value.Source, Tests = [.. file.Value.Tests.Values] }), StringComparer.Ordinal),
    };

    /// <summary>Files have their tests together, whoever tells of them; a test that several tell of is one.</summary>
    /// <returns>What a test of the report is called in the merged one.</returns>
    private Func<string, string> AddTests(MutationReport report)
    {
        var names = new Dictionary<string, string>();
        foreach ((string given, TestFile file) in report.TestFiles ?? [])
        {
            string path = paths.Of(given, report.ProjectRoot);
            if (!_tests.TryGetValue(path, out var known)) known = (file.Source, []);
            // The tests changed between two runs: then the text, and where each stands in it, is not shown.
            bool isSame = known.Source == file.Source;
            _tests[path] = isSame ? known : known = (null, known.Tests.ToDictionary(static test => test.Key, static test => test.Value with { Location = null }));
            foreach (ReportTest test in file.Tests)
            {
                string id = IdFor(report, path, test);
                names[test.Id] = id;
                known.Tests.TryAdd(id, test with { Id = id, Location = isSame ? test.Location : null });
            }
        }

        return id => names.GetValueOrDefault(id, id);
    }

    private string IdFor(MutationReport report, string path, ReportTest test)
    {
        string maker = Prefix(report), whole = $"{path} {test.Name}";
        string first = report.Framework?.Name == Framework ? test.Id : $"{maker}/{test.Id}";
        string id = first;
        // Another test may have this number in another run.
        for (int i = 2; !_testNames.TryAdd(id, whole) && _testNames[id] != whole; i++) id = $"{first}-{i}";
        return id;
    }

    /// <summary>What tells the mutants of this report from those of others of the same maker: each counts from the beginning.</summary>
    private string SuffixFor(string name, MutationReport report)
    {
        MutantResult[] mutants = [.. ReportGrid.All(report).Select(static each => each.Mutant)];
        if (mutants.Length != mutants.DistinctBy(static mutant => mutant.Id).Count()) throw new BadInputException($"{name}: two mutants have the same id; expected another for each");
        string suffix = "";
        for (int i = 2; mutants.Any(mutant => _ids.Contains(IdOf(report, mutant, suffix))); i++) suffix = $"-{i}";
        return suffix;
    }

    private static string IdOf(MutationReport report, MutantResult mutant, string suffix) =>
        mutant.Framework is not null ? mutant.Id + suffix : $"{Prefix(report)}{suffix}/{mutant.Id}";

    private static string Prefix(MutationReport report) =>
        string.Concat((report.Framework?.Name ?? MutationReport.Nameless).Select(static c => char.IsAsciiLetterOrDigit(c) ? char.ToLowerInvariant(c) : '-'));

    /// <summary>The text as an editor shows it: without a mark at its beginning.</summary>
    private static string TextOf(MutatedFile file) => file.Source.TrimStart('\uFEFF').Replace("\r\n", "\n", StringComparison.Ordinal);
}

using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Harness;
using Mutation.Hunting;

namespace Mutation.Report;

/// <summary>
/// A report in the schema of mutation testing (mutation-testing-report-schema of the Stryker team, version 2), which other tools write and show. A check of an invariant
/// by an engine is a test there.
/// </summary>
public sealed record MutationReport
{
    /// <summary>Who made the mutants of a report that does not say it: Stryker.NET gives no name in its reports.</summary>
    public const string Nameless = "Stryker.NET";

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        IndentSize = 1,
        NewLine = "\n",
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        // Names, as they are, and no numbers.
        Converters = { new JsonStringEnumConverter(namingPolicy: null, allowIntegerValues: false) },
    };

    /// <summary>The version of the schema.</summary>
    public required string SchemaVersion { get; init; }

    /// <summary>From which score on a file is shown as good, and below which as bad.</summary>
    public required ReportThresholds Thresholds { get; init; }

    /// <summary>Where the paths of files begin; null: not told.</summary>
    public string? ProjectRoot { get; init; }

    /// <summary>Who made the mutants; null: <see cref="Nameless"/>.</summary>
    public ReportFramework? Framework { get; init; }

    /// <summary>The files with mutants in them, by their paths.</summary>
    public required SortedDictionary<string, MutatedFile> Files { get; init; }

    /// <summary>The tests, by the paths of their files or by other names; null: not told.</summary>
    public SortedDictionary<string, TestFile>? TestFiles { get; init; }

    /// <summary>Who made a mutant.</summary>
    public string MakerOf(MutantResult mutant) => mutant.Framework ?? Framework?.Name ?? Nameless;

    /// <summary>Reads a report.</summary>
    /// <exception cref="BadInputException">The text is none.</exception>
    public static MutationReport Parse(string text)
    {
        try
        {
            MutationReport report = JsonSerializer.Deserialize<MutationReport>(text, Json) ?? throw new BadInputException("not a report of mutation testing: it is null");
            if (HasNull(report)) throw new BadInputException("not a report of mutation testing: a file, a mutant or a test is null");
            return report with { Files = Ordered(report.Files), TestFiles = report.TestFiles is { } tests ? Ordered(tests) : null };
        }
        catch (JsonException e)
        {
            throw new BadInputException($"not a report of mutation testing: {e.Message}");
        }

        // A list or a dictionary of what may not be null may have nulls in it, once it is read.
        static bool HasNull(MutationReport report) =>
            report.Files.Values.Any(static file => file is null || file.Mutants.Any(static mutant => mutant is null || Any(mutant.KilledBy) || Any(mutant.CoveredBy) || Any(mutant.EngineRuns)))
            || (report.TestFiles?.Values.Any(static file => file is null || Any(file.Tests)) ?? false);

        static bool Any(IReadOnlyList<object>? list) => list?.Any(static item => item is null) ?? false;

        static SortedDictionary<string, T> Ordered<T>(SortedDictionary<string, T> read) => new(read, StringComparer.Ordinal);
    }

    /// <summary>The report as a file says it.</summary>
    public override string ToString() => JsonSerializer.Serialize(this, Json) + "\n";
}

/// <summary>From which score on a file is shown as good, and below which as bad.</summary>
/// <param name="High">In percent.</param>
/// <param name="Low">In percent.</param>
public sealed record ReportThresholds(int High, int Low);

/// <summary>Who makes mutants.</summary>
/// <param name="Name">The name.</param>
/// <param name="Version">The version; null: not told.</param>
public sealed record ReportFramework(string Name, string? Version = null);

/// <summary>A file with mutants in it.</summary>
public sealed record MutatedFile
{
    /// <summary>The language, as a highlighter of sources calls it.</summary>
    public required string Language { get; init; }

    /// <summary>The text without any mutant.</summary>
    public required string Source { get; init; }

    /// <summary>What became of each mutant.</summary>
    public required IReadOnlyList<MutantResult> Mutants { get; init; }
}

/// <summary>A mutant and what became of it.</summary>
public sealed record MutantResult
{
    /// <summary>Unlike any other's in the report.</summary>
    public required string Id { get; init; }

    /// <summary>What kind of mistake.</summary>
    public required string MutatorName { get; init; }

    /// <summary>What is wrong, in words.</summary>
    public string? Description { get; init; }

    /// <summary>What stands at its place.</summary>
    public string? Replacement { get; init; }

    /// <summary>Its place.</summary>
    public required MutantLocation Location { get; init; }

    /// <summary>What became of it.</summary>
    public required MutantStatus Status { get; init; }

    /// <summary>Why.</summary>
    public string? StatusReason { get; init; }

    /// <summary>Whether it runs but once, when the program starts.</summary>
    public bool? Static { get; init; }

    /// <summary>The ids of the tests that run it.</summary>
    public IReadOnlyList<string>? CoveredBy { get; init; }

    /// <summary>The ids of the tests that failed.</summary>
    public IReadOnlyList<string>? KilledBy { get; init; }

    /// <summary>How many tests, sequences or schedules ran.</summary>
    public double? TestsCompleted { get; init; }

    /// <summary>How long that took, in milliseconds.</summary>
    public double? Duration { get; init; }

    /// <summary>Who made it, where the report has mutants of several. Not in the schema, which lets a mutant have more.</summary>
    public string? Framework { get; init; }

    /// <summary>What each engine came to that was run. Not in the schema, either.</summary>
    public IReadOnlyList<EngineRun>? EngineRuns { get; init; }
}

/// <summary>What an engine came to that was run on a mutant.</summary>
/// <param name="Engine">The engine.</param>
/// <param name="End">How it ended.</param>
/// <param name="Tries">How many sequences, schedules or tests ran.</param>
/// <param name="Milliseconds">How long that took.</param>
/// <param name="Invariant">Which invariant was named, by its id; null: none.</param>
/// <param name="Test">Which test failed; null: none.</param>
public sealed record EngineRun(string Engine, HuntEnd End, long Tries, double Milliseconds, string? Invariant = null, string? Test = null);

/// <summary>What became of a mutant.</summary>
public enum MutantStatus
{
    /// <summary>A test failed.</summary>
    Killed,

    /// <summary>Tests ran it, and none failed.</summary>
    Survived,

    /// <summary>No test ran it.</summary>
    NoCoverage,

    /// <summary>It cannot be compiled.</summary>
    CompileError,

    /// <summary>It could not be tested.</summary>
    RuntimeError,

    /// <summary>The tests did not end.</summary>
    Timeout,

    /// <summary>It was left out.</summary>
    Ignored,

    /// <summary>It was not tested yet.</summary>
    Pending,
}

/// <summary>A place in a source.</summary>
/// <param name="Start">Where it begins.</param>
/// <param name="End">Where the next one begins.</param>
public sealed record MutantLocation(MutantPosition Start, MutantPosition End)
{
    /// <summary>The text at this place; null if the source has no such place.</summary>
    public string? TextIn(string source)
    {
        string[] lines = source.Replace("\r\n", "\n", StringComparison.Ordinal).Split('\n');
        if (Start.Line < 1 || End.Line > lines.Length || Start.Line > End.Line) return null;
        string last = lines[End.Line - 1], first = lines[Start.Line - 1];
        if (Start.Column < 1 || Start.Column - 1 > first.Length || End.Column < 1 || End.Column - 1 > last.Length) return null;
        if (Start.Line == End.Line) return Start.Column <= End.Column ? first[(Start.Column - 1)..(End.Column - 1)] : null;
        return string.Join('\n', [first[(Start.Column - 1)..], .. lines[Start.Line..(End.Line - 1)], last[..(End.Column - 1)]]);
    }
}

/// <summary>A place between two characters of a source.</summary>
/// <param name="Line">Counted from 1.</param>
/// <param name="Column">Counted from 1.</param>
public sealed record MutantPosition(int Line, int Column);

/// <summary>A file of tests, or an engine.</summary>
public sealed record TestFile
{
    /// <summary>Its text; null: not told.</summary>
    public string? Source { get; init; }

    /// <summary>The tests.</summary>
    public required IReadOnlyList<ReportTest> Tests { get; init; }
}

/// <summary>A test, or the check of an invariant by an engine.</summary>
/// <param name="Id">Unlike any other's in the report.</param>
/// <param name="Name">The name.</param>
public sealed record ReportTest(string Id, string Name)
{
    /// <summary>Where it stands; null: not told.</summary>
    public TestLocation? Location { get; init; }
}

/// <summary>Where a test stands.</summary>
/// <param name="Start">Where it begins.</param>
/// <param name="End">Where it ends; null: not told.</param>
public sealed record TestLocation(MutantPosition Start, MutantPosition? End = null);

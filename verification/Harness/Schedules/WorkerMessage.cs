using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Vcmm.Spec;

namespace Harness.Schedules;

/// <summary>What the worker that explores schedules says: one message a line on its standard output.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(RoundMessage), "round")]
[JsonDerivedType(typeof(FailureMessage), "failure")]
[JsonDerivedType(typeof(ExhaustedMessage), "exhausted")]
[JsonDerivedType(typeof(BatchMessage), "batch")]
[JsonDerivedType(typeof(CleanMessage), "clean")]
[JsonDerivedType(typeof(RefusedMessage), "refused")]
[JsonDerivedType(typeof(UnsoundMessage), "unsound")]
[JsonDerivedType(typeof(CatalogueMessage), "catalogue")]
public abstract record WorkerMessage
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter() },
    };

    /// <summary>Reads one line.</summary>
    /// <exception cref="InvalidDataException">It is not such a message.</exception>
    public static WorkerMessage Parse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<WorkerMessage>(line, Json) ?? throw new InvalidDataException("the worker said null");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new InvalidDataException($"the worker said \"{line}\"", e);
        }
    }

    /// <summary>The message as a line, without its end.</summary>
    public string ToLine() => JsonSerializer.Serialize(this, Json);
}

/// <summary>A round of one scenario is over.</summary>
/// <param name="Scenario">Its name.</param>
/// <param name="Round">The number of the round, from 0.</param>
/// <param name="Strategy">How the scheduler chose.</param>
/// <param name="Seed">From which it chose.</param>
/// <param name="Schedules">Schedules that ran.</param>
/// <param name="Steps">Scheduling decisions in them.</param>
/// <param name="Checks">How often each invariant was checked.</param>
/// <param name="Reached">In how many of the schedules each interesting state was reached.</param>
/// <param name="Behaviours">A number for each way to behave that no round of this worker before had come to.</param>
public sealed record RoundMessage(
    string Scenario, int Round, string Strategy, long Seed, long Schedules, long Steps,
    IReadOnlyDictionary<Invariant, long> Checks, IReadOnlyDictionary<string, long> Reached, IReadOnlyList<ulong> Behaviours) : WorkerMessage
{
    /// <summary>How often each muted invariant was found broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted { get; init; } = new Dictionary<Invariant, long>();
}

/// <summary>A schedule breaks something.</summary>
/// <param name="Scenario">The scenario's name.</param>
/// <param name="Strategy">The strategy that found it; of a replay, that of the file.</param>
/// <param name="Schedule">The number of the schedule that found it among those of the scenario, from 1; 0 on replay.</param>
/// <param name="Invariant">What is broken.</param>
/// <param name="Observed">What was seen, on one line.</param>
/// <param name="Expected">What may be seen, on one line.</param>
/// <param name="Report">The whole counterexample.</param>
/// <param name="File">The failure file's text.</param>
public sealed record FailureMessage(
    string Scenario, string Strategy, long Schedule, Invariant Invariant, string Observed, string Expected, string Report, string File) : WorkerMessage
{
    /// <summary>The counterexample as a page for a browser, where it was asked for.</summary>
    public string? Page { get; init; }

    /// <summary>How large the counterexample is, in words: switches, interruptions, and of a script threads and operations.</summary>
    public string Size { get; init; } = "";
}

/// <summary>Of a scenario every schedule was run in which at most so many times a thread is interrupted that could have gone on, and none failed.</summary>
/// <param name="Scenario">Its name.</param>
/// <param name="Preemptions">How many interruptions.</param>
public sealed record ExhaustedMessage(string Scenario, int Preemptions) : WorkerMessage;

/// <summary>A batch of schedules that somebody times is done.</summary>
/// <param name="Schedules">How many.</param>
/// <param name="Steps">Scheduling decisions in them.</param>
/// <param name="CompiledMethods">What the worker's JIT has compiled since it started.</param>
public sealed record BatchMessage(long Schedules, long Steps, long CompiledMethods) : WorkerMessage;

/// <summary>A replayed schedule breaks nothing.</summary>
public sealed record CleanMessage : WorkerMessage;

/// <summary>The worker cannot do what it was asked.</summary>
/// <param name="Reason">One line: what was found, what is expected.</param>
public sealed record RefusedMessage(string Reason) : WorkerMessage;

/// <summary>What the worker explores means nothing: an assembly is not rewritten, an agent was not controlled, or none ran beside another.</summary>
/// <param name="Reason">One line.</param>
public sealed record UnsoundMessage(string Reason) : WorkerMessage;

/// <summary>What there is to explore, in the order to show.</summary>
/// <param name="Scenarios">Scenarios that are written as code.</param>
/// <param name="Scripts">Scenarios that are written as data.</param>
/// <param name="Strategies">Strategies.</param>
/// <param name="Faults">Faults that can be planted.</param>
public sealed record CatalogueMessage(
    IReadOnlyList<CatalogueEntry> Scenarios, IReadOnlyList<CatalogueEntry> Scripts, IReadOnlyList<CatalogueEntry> Strategies,
    IReadOnlyList<CatalogueEntry> Faults) : WorkerMessage;

/// <summary>Something that has a name.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Summary">What it is, on one line.</param>
public sealed record CatalogueEntry(string Name, string Summary);

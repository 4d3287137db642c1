using System.Text.Json;
using System.Text.Json.Serialization;
using Harness;
using Vcmm.Spec;

namespace Mutation.SelfCheck;

/// <summary>Which mistakes show that each oracle is needed, as a file says it: data, which is checked by running it.</summary>
public sealed record WitnessFile
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-witnesses-1";

    /// <summary>The engines, in the order to show.</summary>
    public static readonly IReadOnlyList<string> Engines = ["sequences", "schedules", "traces", "foreign", "differential", "hostile", "model", "tests"];

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        ReadCommentHandling = JsonCommentHandling.Disallow,
    };

    /// <summary><see cref="Magic"/>.</summary>
    public required string Format { get; init; }

    /// <summary>For each invariant a mistake that it alone sees, or why there is none.</summary>
    public required IReadOnlyList<InvariantWitness> Invariants { get; init; }

    /// <summary>For each engine a mistake that it alone finds, or why there is none.</summary>
    [JsonPropertyName("engines")]
    public required IReadOnlyList<EngineWitness> EngineWitnesses { get; init; }

    /// <summary>Reads a file's text.</summary>
    /// <exception cref="BadInputException">It is none, or an invariant or an engine is not in it once.</exception>
    public static WitnessFile Parse(string text)
    {
        WitnessFile file;
        try
        {
            file = JsonSerializer.Deserialize<WitnessFile>(text, Json) ?? throw new BadInputException("witnesses: it says null");
        }
        catch (JsonException e)
        {
            throw new BadInputException($"witnesses: {e.Message.ReplaceLineEndings(" ")}");
        }

        if (file.Format != Magic) throw new BadInputException($"witnesses: format is \"{file.Format}\"; expected \"{Magic}\"");
        Once("invariants", file.Invariants.Select(static witness => witness.Invariant), [.. Enum.GetValues<Invariant>().Select(static invariant => invariant.Id())]);
        Once("engines", file.EngineWitnesses.Select(static witness => witness.Engine), Engines);
        foreach (InvariantWitness witness in file.Invariants) Check(witness.Invariant, witness.Planted, witness.Why, witness.Hunt is null ? [] : [witness.Hunt]);
        foreach (EngineWitness witness in file.EngineWitnesses) Check(witness.Engine, witness.Planted, witness.Why, witness.Hunt is null ? [] : [witness.Hunt, .. witness.Others]);
        return file;
    }

    private static void Once(string field, IEnumerable<string> found, IReadOnlyList<string> expected)
    {
        string[] all = [.. found];
        if (all.FirstOrDefault(name => !expected.Contains(name)) is { } unknown) throw new BadInputException($"witnesses: {field} has \"{unknown}\"; expected one of {string.Join(", ", expected)}");
        if (expected.FirstOrDefault(name => all.Count(other => other == name) != 1) is { } wrong) throw new BadInputException($"witnesses: {field} has {wrong} {all.Count(name => name == wrong)} times; expected once");
    }

    private static void Check(string of, Planted? planted, string? why, HuntPlan[] hunts)
    {
        if (planted is null != (hunts.Length == 0) || planted is null == (why is null)) throw new BadInputException($"witnesses: {of}: expected a mistake that is planted and how it is hunted, or why there is none");
        if (planted is not null && new[] { planted.Patch, planted.Fault, planted.Trace }.Count(static name => name is not null) != 1) throw new BadInputException($"witnesses: {of}: expected a patch, a fault or a trace");
        foreach (HuntPlan hunt in hunts)
        {
            if (!Engines.Contains(hunt.Engine)) throw new BadInputException($"witnesses: {of}: \"{hunt.Engine}\" is no engine; expected one of {string.Join(", ", Engines)}");
            if (hunt.Engine == "tests" == (hunt.Class is null)) throw new BadInputException($"witnesses: {of}: {hunt.Engine}: expected a class where tests hunt, and nowhere else");
            if (hunt.Count < 1) throw new BadInputException($"witnesses: {of}: count is {hunt.Count}; expected at least 1");
        }
    }
}

/// <summary>A mistake that one invariant alone sees; or why there is none.</summary>
/// <param name="Invariant">The invariant's id.</param>
public sealed record InvariantWitness(string Invariant)
{
    /// <summary>The mistake.</summary>
    public Planted? Planted { get; init; }

    /// <summary>How it is hunted: once with all invariants, and once with this one muted.</summary>
    public HuntPlan? Hunt { get; init; }

    /// <summary>Why nothing is planted.</summary>
    public string? Why { get; init; }

    /// <summary>The invariant.</summary>
    [JsonIgnore]
    public Invariant Names => Invariants.TryParse(Invariant, out Invariant invariant) ? invariant : throw new BadInputException($"witnesses: \"{Invariant}\" is no invariant");
}

/// <summary>A mistake that one engine alone finds; or why there is none.</summary>
/// <param name="Engine">The engine.</param>
public sealed record EngineWitness(string Engine)
{
    /// <summary>The mistake.</summary>
    public Planted? Planted { get; init; }

    /// <summary>How the engine hunts it.</summary>
    public HuntPlan? Hunt { get; init; }

    /// <summary>How the others do that can run on it.</summary>
    public IReadOnlyList<HuntPlan> Others { get; init; } = [];

    /// <summary>Why nothing is planted.</summary>
    public string? Why { get; init; }
}

/// <summary>Something that is wrong on purpose; one of the three.</summary>
public sealed record Planted
{
    /// <summary>A patch of the library, in <c>mutation/Museum</c> or in <c>mutation/Witnesses</c>.</summary>
    public string? Patch { get; init; }

    /// <summary>A fault that the explorer of schedules plants in what it gives the library.</summary>
    public string? Fault { get; init; }

    /// <summary>What is changed in a recorded trace.</summary>
    public string? Trace { get; init; }

    /// <summary>What it is, in words.</summary>
    public override string ToString() => Patch is not null ? Patch : Fault is not null ? $"fault {Fault}" : $"trace {Trace}";
}

/// <summary>How something is hunted; the same each time.</summary>
/// <param name="Engine">By which engine.</param>
/// <param name="Count">How many sequences, schedules, cases or units; of the exhaustive search how many operations deep; of tests and traces 1.</param>
public sealed record HuntPlan(string Engine, long Count = 1)
{
    /// <summary>The scenario of schedules; null: all.</summary>
    public string? Scenario { get; init; }

    /// <summary>The class of tests that hunts, by its full name; null unless tests do.</summary>
    public string? Class { get; init; }

    /// <summary>Where every random choice comes from.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Engine, and scenario or class.</summary>
    public override string ToString() => (Scenario ?? Class) is { } of ? $"{Engine}, {of}" : Engine;
}

using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scripts;
using Harness;

namespace Explorer.Worker;

/// <summary>Which scenarios the worker explores in a round of the campaign.</summary>
/// <param name="always">Those that each round explores.</param>
internal sealed class ScenarioChoice(IReadOnlyList<ConcurrentScenario> always)
{
    /// <summary>Those written as code in each round, and beside them one that is written as data and one that is generated: a round takes little longer.</summary>
    public static ScenarioChoice All { get; } = new(ConcurrentScenario.All) { HasScript = true, HasGenerated = true };

    private bool HasScript { get; init; }

    private bool HasGenerated { get; init; }

    /// <summary>Reads a choice.</summary>
    /// <exception cref="BadInputException">There is no such scenario.</exception>
    public static ScenarioChoice Parse(string value, string field) => value switch
    {
        "all" => All,
        "code" => new(ConcurrentScenario.All),
        "scripts" => new(ScriptLibrary.All),
        "generated" => new([]) { HasGenerated = true },
        _ => new([Names.Scenario(value, field)]),
    };

    /// <summary>What a round explores.</summary>
    /// <param name="seed">The campaign's.</param>
    /// <param name="round">The round.</param>
    public IEnumerable<Turn> Of(ulong seed, int round)
    {
        foreach (ConcurrentScenario scenario in always) yield return new(scenario, round, round);
        if (HasScript) yield return new(ScriptLibrary.All[round % ScriptLibrary.All.Count], round / ScriptLibrary.All.Count, round / ScriptLibrary.All.Count);
        if (HasGenerated) yield return new(GeneratedScripts.Make(seed, round).ToScenario(), round, 0);
    }
}

/// <summary>A round of one scenario.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Round">Its own number of the round, by which it takes turns with strategies.</param>
/// <param name="Earlier">How many rounds of it come before, in whatever worker.</param>
internal readonly record struct Turn(ConcurrentScenario Scenario, int Round, int Earlier);

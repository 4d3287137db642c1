using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>A concurrent scenario written as data: what is set up, what each thread does, and what must be reached.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Summary">What runs beside what.</param>
/// <param name="Scenario">The machine, the steps before, and those of each thread. A thread of nothing but accesses is a device.</param>
/// <param name="States">What must be reached in some schedules, or the scenario shows nothing.</param>
public sealed record Script(string Name, string Summary, Scenario Scenario, ImmutableArray<ScriptState> States)
{
    private static readonly string[] Fields = ["summary", "sometimes", "scenario"];

    /// <summary>The lane of each thread.</summary>
    public IReadOnlyList<string> Agents { get; } = LanesOf(Scenario);

    /// <summary>The pages that devices access.</summary>
    public IReadOnlyList<ulong> Pages { get; } =
        [.. Scenario.Threads.SelectMany(static thread => thread).Select(static step => step.Operation).OfType<DeviceAccess>().Select(static access => access.Address & ~(World.PageBytes - 1)).Distinct().DefaultIfEmpty()];

    /// <summary>Whether a thread asks what devices used.</summary>
    public bool Collects { get; } = ScriptLimits.Collects(Scenario);

    /// <summary>Whether a thread has hooks told of faults.</summary>
    public bool Dispatches { get; } = ScriptLimits.Dispatches(Scenario);

    /// <summary>Whether an access of a thread may wait for a page.</summary>
    public bool Waits { get; } = ScriptLimits.Waits(Scenario);

    /// <summary>The script as a scenario to explore.</summary>
    public ConcurrentScenario ToScenario() => new(
        Name, Summary, [.. States.Select(static state => state.Text)], (attempt, fault, _) => ScriptRun.Prepare(attempt, this, fault)) { Script = this };

    /// <summary>Reads a script.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="node">The text.</param>
    /// <exception cref="BadInputException">It is none, or one that cannot run.</exception>
    public static Script FromJson(string name, JsonNode? node)
    {
        if (node is not JsonObject fields || fields["scenario"] is not { } inner) throw new BadInputException($"script: expected an object with {string.Join(", ", Fields)}");
        string? surplus = fields.Select(static field => field.Key).Except(Fields).FirstOrDefault();
        if (surplus is not null) throw new BadInputException($"script.{surplus} is unknown; expected {string.Join(", ", Fields)}");
        string summary = fields["summary"] is JsonValue value && value.TryGetValue(out string? text) ? text : throw new BadInputException("script.summary is not there; expected a sentence");
        Scenario scenario = Scenario.FromJson(inner);
        ScriptLimits.Check(scenario);
        if (scenario.Threads.Length < 2) throw new BadInputException("script.scenario.threads has fewer than two; expected some that run beside each other");
        ImmutableArray<ScriptState> states = [.. (fields["sometimes"] as JsonArray ?? []).Select(static one => ScriptState.Parse(one is JsonValue line && line.TryGetValue(out string? given) ? given : ""))];
        return new(name, summary, scenario, states);
    }

    /// <summary>The script as <see cref="FromJson"/> reads it.</summary>
    public JsonObject ToJson() => new()
    {
        ["summary"] = Summary,
        ["sometimes"] = new JsonArray([.. States.Select(static state => (JsonNode)state.Text)]),
        ["scenario"] = Scenario.ToJson(),
    };

    /// <summary>Whether an operation is what devices and cores do, and no call of the library.</summary>
    public static bool IsAccess(Operation operation) => operation is DeviceAccess or CrossingAccess or CoreAccess or GoIdle;

    private static string[] LanesOf(Scenario scenario)
    {
        int cpus = 0, devices = 0;
        return
        [
            .. scenario.Threads.Select(thread => thread.All(static step => step.Operation is DeviceAccess or CrossingAccess) ? $"device {devices++}"
                : thread.All(static step => step.Operation is CoreAccess or GoIdle) ? $"core {ScriptLimits.CoresOf(thread).First().Number}"
                : $"cpu {cpus++}"),
        ];
    }
}

using System.Text;
using System.Text.Json.Nodes;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scripts;
using Harness;
using Harness.Failures;
using Vcmm.Spec;

namespace Explorer.Reporting;

/// <summary>A failing schedule for a person, and as a file.</summary>
public static class FailureReport
{
    /// <summary>The stage that reads the file again.</summary>
    public const string Stage = "schedules";

    private const string Fields = "name, fault, strategy, bound, seed, script if it is written as data, and interruptions if it is shrunk";

    /// <summary>The counterexample as printed. It depends on nothing but what the schedule recorded.</summary>
    public static string Print(FoundFailure found)
    {
        ScheduleFailure failure = found.Failure;
        var text = new StringBuilder();
        void Line(string name, string value) => text.Append($"{name,-10}{value}\n");
        text.Append($"{failure.Violation.Invariant.Label()} is broken\n");
        Line("scenario", $"{found.Scenario.Name}: {found.Scenario.Summary}");
        if (found.Fault != PlantedFault.None) Line("planted", $"{found.Fault.Name}: {found.Fault.Summary}");
        Line("observed", failure.Violation.Observed);
        Line("expected", failure.Violation.Expected);
        string drawing = Lanes.Draw(failure.Attempt.Events, out int shown);
        Line("schedule", $"{failure.Switches} switches between agents; {(found.Interruptions is { } interruptions ? $"{interruptions}; " : "")}{shown} of {failure.Attempt.Events.Count} events are shown");
        return text.Append('\n').Append(drawing).ToString();
    }

    /// <summary>The failure as a file.</summary>
    public static FailureFile ToFile(FoundFailure found) => new()
    {
        Format = FailureFile.Magic,
        Stage = Stage,
        Invariant = found.Failure.Violation.Invariant,
        Observed = found.Failure.Violation.Observed,
        Expected = found.Failure.Violation.Expected,
        Scenario = ToJson(found),
        Schedule = found.Failure.Trace,
    };

    /// <summary>Runs the schedule in a file once.</summary>
    /// <returns>The failure, or null if nothing fails.</returns>
    /// <exception cref="BadInputException">The file cannot be used.</exception>
    public static FoundFailure? Replay(FailureFile file)
    {
        if (file.Stage != Stage) throw new BadInputException($"stage is \"{file.Stage}\"; expected \"{Stage}\"");
        if (file.Schedule is null) throw new BadInputException("schedule is missing; expected the scheduler's trace");
        if (file.Scenario is not JsonObject fields) throw new BadInputException($"scenario is not an object; expected {Fields}");
        string? surplus = fields.Select(field => field.Key).Except(["name", "fault", "strategy", "bound", "seed", "script", "interruptions"]).FirstOrDefault();
        if (surplus is not null) throw new BadInputException($"scenario.{surplus} is unknown; expected {Fields}");
        Interruptions? interruptions = InterruptionsOf(fields);
        string name = Text(fields, "name");
        // A script is in the file, whatever is known under its name by now.
        ConcurrentScenario scenario = fields["script"] is { } script ? Script.FromJson(name, script).ToScenario() : Names.Scenario(name, "scenario.name");
        PlantedFault fault = Names.Fault(Text(fields, "fault"), "scenario.fault");
        var plan = new ExplorationPlan(Names.Strategy(Text(fields, "strategy"), "scenario.strategy"), (uint)Number(fields, "seed", int.MaxValue), 1)
        {
            Bound = (int)Number(fields, "bound", 1000),
        };
        Exploration result = Controlled.Replay(plan, file.Schedule, attempt => scenario.Run(attempt, fault));
        return result.Failure is null ? null : new(scenario, fault, plan, result.Failure) { Interruptions = interruptions };
    }

    private static JsonObject ToJson(FoundFailure found)
    {
        var fields = new JsonObject
        {
            ["name"] = found.Scenario.Name,
            ["fault"] = found.Fault.Name,
            ["strategy"] = found.Plan.Strategy.ToString(),
            ["bound"] = (long)found.Plan.Bound,
            ["seed"] = (long)found.Plan.Seed,
        };
        if (found.Scenario.Script is { } script) fields["script"] = script.ToJson();
        if (found.Interruptions is { } interruptions) fields["interruptions"] = new JsonArray(interruptions.Count, interruptions.Excluded, interruptions.Schedules);
        return fields;
    }

    // A replay cannot tell it: it is a statement on other schedules.
    private static Interruptions? InterruptionsOf(JsonObject fields)
    {
        if (fields["interruptions"] is not { } given) return null;
        if (given is JsonArray { Count: 3 } numbers && numbers.All(static number => number is JsonValue value && value.TryGetValue(out int n) && n >= -1))
            return new(numbers[0]!.GetValue<int>(), numbers[1]!.GetValue<int>(), numbers[2]!.GetValue<int>());
        throw new BadInputException("scenario.interruptions is not understood; expected how many, with how many all schedules were run, and how many those are");
    }

    private static string Text(JsonObject fields, string name) =>
        fields[name] is JsonValue value && value.TryGetValue(out string? text)
            ? text
            : throw new BadInputException($"scenario.{name} is not there; expected a name");

    private static long Number(JsonObject fields, string name, long max) =>
        fields[name] is JsonValue value && value.TryGetValue(out long number) && number >= 0 && number <= max
            ? number
            : throw new BadInputException($"scenario.{name} is not a number; expected 0 to {max}");
}

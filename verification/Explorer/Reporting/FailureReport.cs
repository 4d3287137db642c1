using System.Text;
using System.Text.Json.Nodes;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Replaying;
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

    /// <summary>The counterexample as printed. It depends on nothing but what the schedule recorded, and what was seen by who looked on.</summary>
    /// <param name="found">What was found.</param>
    /// <param name="whole">Whether steps that do not matter are shown, too.</param>
    public static string Print(FoundFailure found, bool whole = false)
    {
        var text = new StringBuilder();
        foreach ((string name, string value) in Heading(found)) text.Append(name.Length == 0 ? $"{value}\n" : $"{name,-10}{value}\n");
        return text.Append('\n').Append(Lanes.Draw(PictureOf(found), whole)).ToString();
    }

    /// <summary>What the counterexample is about: names, and what there is to say; the first line has no name.</summary>
    internal static IEnumerable<(string Name, string Value)> Heading(FoundFailure found)
    {
        ScheduleFailure failure = found.Failure;
        yield return ("", $"{failure.Violation.Invariant.Label()} is broken");
        yield return ("scenario", $"{found.Scenario.Name}: {found.Scenario.Summary}");
        if (found.Fault != PlantedFault.None) yield return ("planted", $"{found.Fault.Name}: {found.Fault.Summary}");
        yield return ("observed", failure.Violation.Observed);
        yield return ("expected", failure.Violation.Expected);
        if (found.Sights.Count != 0 && failure.Attempt.RaceLines is { } lines) yield return ("lines", lines);
        Picture picture = PictureOf(found);
        yield return ("schedule", $"{failure.Switches} switches between agents; {(found.Interruptions is { } interruptions ? $"{interruptions}; " : "")}{picture.Rows.Count(static row => row.Matters)} of {picture.Rows.Count} steps matter");
    }

    /// <summary>How large it is, in words.</summary>
    public static string SizeOf(FoundFailure found)
    {
        string script = found.Scenario.Script is { } written && ScriptSize.Of(written.Scenario) is var size ? $"{size.Threads} threads, {size.Operations} operations, " : "";
        return $"{script}{found.Failure.Switches} switches{(found.Interruptions is { } interruptions ? $", {interruptions}" : "")}";
    }

    /// <summary>What is shown of it.</summary>
    public static Picture PictureOf(FoundFailure found) => Picture.Of(found.Failure.Attempt.Events, found.Pages, found.Sights);

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
        Muted = FailureFile.ToField(found.Plan.Muted),
    };

    /// <summary>Runs the schedule in a file, and looks on.</summary>
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
            Muted = file.MutedSet,
        };
        var accesses = new AccessWatcher();
        if (Run(accesses) is not { } failure) return null;
        // Which pages matter is known at the end alone: so they are looked at in another run, which is the same.
        IReadOnlyList<WatchedPage> pages = Picture.PagesOf(failure.Violation, accesses.Pages);
        var watcher = new PageWatcher(pages);
        ScheduleFailure? seen = Run(watcher);
        if (seen is null || !seen.Attempt.Events.SequenceEqual(failure.Attempt.Events) || watcher.Sights.Count != failure.Attempt.Events.Count)
            throw new InvalidOperationException("a schedule ran otherwise because somebody looked on");
        return new(scenario, fault, plan, failure) { Pages = pages, Sights = watcher.Sights, Interruptions = interruptions };

        ScheduleFailure? Run(IScheduleWatcher looksOn) => Controlled.Replay(plan, file.Schedule, attempt =>
        {
            attempt.Watcher = looksOn;
            scenario.Run(attempt, fault);
        }).Failure;
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

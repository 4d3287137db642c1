using System.Globalization;
using Harness.Stages;
using Vcmm.Spec;

namespace Harness.Schedules;

/// <summary>Adds up what workers say.</summary>
public sealed class ScheduleTally
{
    private readonly Dictionary<Invariant, long> _checks = [];
    private readonly SortedDictionary<Invariant, long> _muted = [];
    private readonly SortedDictionary<string, ScenarioTally> _scenarios = new(StringComparer.Ordinal);
    private string _latest = "starting";

    /// <summary>Schedules that ran.</summary>
    public long Schedules { get; private set; }

    /// <summary>Scheduling decisions in them.</summary>
    public long Steps { get; private set; }

    /// <summary>Ways to behave, of all scenarios, that workers came to; what several did is one.</summary>
    public int Behaviours => _scenarios.Values.Sum(static scenario => scenario.Behaviours);

    /// <summary>How often each invariant was checked.</summary>
    public IReadOnlyDictionary<Invariant, long> Checks => _checks;

    /// <summary>How often each muted invariant was found broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted => _muted;

    /// <summary>What each scenario came to, by name; generated ones are one.</summary>
    public IReadOnlyCollection<ScenarioTally> Scenarios => _scenarios.Values;

    /// <summary>What failed; the same failure found twice is one.</summary>
    public IReadOnlyList<FoundSchedule> Failures => [.. _scenarios.Values.SelectMany(static scenario => scenario.Failures)];

    /// <summary>What broke down, on one line; null if nothing did.</summary>
    public string? Problem { get; private set; }

    /// <summary>Adds a message.</summary>
    /// <exception cref="BadInputException">The worker refused what it was asked.</exception>
    public void Add(WorkerMessage message)
    {
        switch (message)
        {
            case RefusedMessage refused:
                throw new BadInputException(refused.Reason);
            case UnsoundMessage unsound:
                Break(unsound.Reason);
                break;
            case RoundMessage round:
                Schedules += round.Schedules;
                Steps += round.Steps;
                Of(round.Scenario).Add(round);
                _latest = $"{round.Scenario}, {round.Strategy}";
                foreach ((Invariant invariant, long count) in round.Muted) _muted[invariant] = _muted.GetValueOrDefault(invariant) + count;
                foreach ((Invariant invariant, long count) in round.Checks) _checks[invariant] = _checks.GetValueOrDefault(invariant) + count;
                break;
            case ExhaustedMessage exhausted:
                Of(exhausted.Scenario).Add(exhausted);
                break;
            case FailureMessage failure:
                Of(failure.Scenario).Add(failure);
                break;
        }
    }

    /// <summary>How far it is, in a few words.</summary>
    /// <param name="elapsed">Since the workers were started.</param>
    public string Describe(TimeSpan elapsed) => string.Create(
        CultureInfo.InvariantCulture,
        $"{Schedules:N0} schedules, {Schedules / Math.Max(1, elapsed.TotalSeconds):N0} a second, {Behaviours:N0} behaviours, {Failures.Count} failed ({_latest})");

    /// <summary>Takes for the report of each of the first few failures a better one.</summary>
    /// <param name="most">How many.</param>
    /// <param name="better">Given a failure file, a better report, or null.</param>
    internal void Explain(int most, Func<string, string?> better)
    {
        foreach (ScenarioTally scenario in _scenarios.Values)
        {
            if (most <= 0) return;
            most -= scenario.Explain(most, better);
        }
    }

    /// <summary>Something broke down; the first that did is told.</summary>
    internal void Break(string problem) => Problem ??= problem;

    private ScenarioTally Of(string scenario)
    {
        string name = scenario.StartsWith(ScenarioTally.GeneratedPrefix, StringComparison.Ordinal) ? ScenarioTally.Generated : scenario;
        if (!_scenarios.TryGetValue(name, out ScenarioTally? tally)) _scenarios[name] = tally = new(name);
        return tally;
    }
}

/// <summary>What one scenario came to.</summary>
/// <param name="name">Its name.</param>
public sealed class ScenarioTally(string name)
{
    /// <summary>What the names of generated scenarios begin with.</summary>
    public const string GeneratedPrefix = Generated + "-";

    /// <summary>The name of all generated ones.</summary>
    internal const string Generated = "generated";

    private readonly HashSet<(string Scenario, ulong Behaviour)> _behaviours = [];
    private readonly HashSet<string> _names = [];
    private readonly SortedDictionary<(string Scenario, Invariant Invariant), FailureMessage> _failures = new(Comparer<(string Scenario, Invariant Invariant)>.Create(
        static (one, other) => string.CompareOrdinal(one.Scenario, other.Scenario) is var order && order != 0 ? order : one.Invariant.CompareTo(other.Invariant)));

    /// <summary>Its name.</summary>
    public string Name => name;

    /// <summary>How many scenarios it stands for.</summary>
    public int Count => _names.Count;

    /// <summary>Schedules that ran.</summary>
    public long Schedules { get; private set; }

    /// <summary>Scheduling decisions in them.</summary>
    public long Steps { get; private set; }

    /// <summary>Ways to behave that workers came to.</summary>
    public int Behaviours => _behaviours.Count;

    /// <summary>With so many interruptions every schedule was run; null: not.</summary>
    public int? Exhausted { get; private set; }

    /// <summary>What failed: for each invariant that is broken the schedule with the lowest number.</summary>
    public IReadOnlyList<FoundSchedule> Failures => [.. _failures.Values.Select(FoundSchedule.Of)];

    internal int Explain(int most, Func<string, string?> better)
    {
        (string, Invariant)[] first = [.. _failures.Keys.Take(most)];
        foreach ((string, Invariant) what in first) _failures[what] = _failures[what] with { Report = better(_failures[what].File) ?? _failures[what].Report };
        return first.Length;
    }

    internal void Add(RoundMessage round)
    {
        _names.Add(round.Scenario);
        Schedules += round.Schedules;
        Steps += round.Steps;
        foreach (ulong behaviour in round.Behaviours) _behaviours.Add((round.Scenario, behaviour));
    }

    internal void Add(ExhaustedMessage exhausted) => Exhausted = exhausted.Preemptions;

    internal void Add(FailureMessage failure)
    {
        _names.Add(failure.Scenario);
        // Several workers may find the same; which schedule is the earliest does not depend on their speed.
        (string, Invariant) what = (failure.Scenario, failure.Invariant);
        if (!_failures.TryGetValue(what, out FailureMessage? known) || failure.Schedule < known.Schedule) _failures[what] = failure;
    }
}

/// <summary>A schedule that breaks something, and who found it.</summary>
/// <param name="Scenario">The scenario's name.</param>
/// <param name="Strategy">By which the scheduler chose.</param>
/// <param name="Schedule">The number of the schedule among those of the scenario, from 1, whichever worker ran them.</param>
/// <param name="Size">How large the counterexample is, in words.</param>
/// <param name="Failure">What is broken, with its report and its file.</param>
public sealed record FoundSchedule(string Scenario, string Strategy, long Schedule, string Size, StageFailure Failure)
{
    /// <summary>What a worker said.</summary>
    internal static FoundSchedule Of(FailureMessage message) => new(
        message.Scenario, message.Strategy, message.Schedule, message.Size,
        new(message.Invariant, $"{message.Scenario}: {message.Observed}; expected: {message.Expected}", message.Report, message.File));
}

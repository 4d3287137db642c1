using Explorer.Faults;
using Explorer.Replaying;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scheduling.Choosers;
using Vcmm.Spec;

namespace Explorer.Campaigns;

/// <summary>How a scenario is explored: round after round, each with its own strategy and seed.</summary>
/// <param name="Seed">Every choice of every round comes from it.</param>
public sealed record CampaignPlan(ulong Seed)
{
    /// <summary>The strategies among which the rounds are shared out.</summary>
    public IReadOnlyList<Strategy> Strategies { get; init; } = Portfolio.All;

    /// <summary>Schedules in a round.</summary>
    public int SchedulesPerRound { get; init; } = 50;

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Asked before each schedule; true ends the round.</summary>
    public Func<bool>? Stop { get; init; }

    /// <summary>The plan of one round of one scenario.</summary>
    public ExplorationPlan Round(ConcurrentScenario scenario, int round, Strategy strategy) => new(strategy, SeedOf(scenario.Name, round), SchedulesPerRound) { Stop = Stop, Muted = Muted };

    // SplitMix64 over the seed, the name and the number: rounds that run in several workers share nothing but the seed.
    private uint SeedOf(string name, int round)
    {
        unchecked
        {
            ulong state = Seed + 0x9E37_79B9_7F4A_7C15UL * (ulong)(round + 1);
            foreach (char c in name) state = (state ^ c) * 0x0000_0100_0000_01B3UL;
            state = (state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9UL;
            state = (state ^ (state >> 27)) * 0x94D0_49BB_1331_11EBUL;
            return (uint)(state ^ (state >> 31)) & int.MaxValue;
        }
    }
}

/// <summary>The rounds of one scenario, one after the other, and what they did.</summary>
/// <param name="scenario">What runs.</param>
/// <param name="fault">What is wrong on purpose.</param>
/// <param name="plan">How.</param>
public sealed class Campaign(ConcurrentScenario scenario, PlantedFault fault, CampaignPlan plan)
{
    /// <summary>
    /// After so many schedules it is told whether agents ever ran beside each other: in one alone, a strategy may start the second agent when the first has ended.
    /// </summary>
    private const int EnoughToTell = 20;

    private readonly HashSet<ulong> _behaviours = [];
    private Portfolio? _portfolio;

    /// <summary>What runs.</summary>
    public ConcurrentScenario Scenario => scenario;

    /// <summary>What all rounds did.</summary>
    public CampaignTotals Totals { get; } = new();

    /// <summary>How many schedules behaved as none before had (<see cref="HappensBefore"/>).</summary>
    public int BehaviourCount => _behaviours.Count;

    /// <summary>The failure at which the last round ended, with the plan that found it.</summary>
    public FoundFailure? Failure { get; private set; }

    /// <summary>Runs one round.</summary>
    /// <param name="round">Its number, 0 ….</param>
    /// <param name="atMost">The most schedules that it may have.</param>
    /// <exception cref="UnsoundException">Something ran that the scheduler does not control, or no two agents ran beside each other.</exception>
    public RoundResult Run(int round, int atMost = int.MaxValue)
    {
        // Scenarios of which each has one round take turns, too.
        _portfolio ??= new(plan.Strategies, round);
        ExplorationPlan exploration = plan.Round(scenario, round, _portfolio.Next());
        exploration = exploration with { Schedules = Math.Min(exploration.Schedules, atMost) };
        RoundResult result = Count(exploration, (body, finished) => Controlled.Explore(exploration, body, finished));
        _portfolio.Tell(exploration.Strategy, result.Totals.Schedules, result.NewBehaviours.Count);
        return result;
    }

    /// <summary>Runs every schedule in which at most so many times a thread is interrupted that could have gone on.</summary>
    /// <param name="preemptions">How many interruptions, 0 ….</param>
    /// <param name="limit">How many schedules at most.</param>
    /// <returns>Whether there is no other such schedule; false, too, if one failed.</returns>
    /// <exception cref="UnsoundException">As for <see cref="Run"/>.</exception>
    public (bool IsComplete, RoundResult Result) Exhaust(int preemptions, int limit)
    {
        var search = new BoundedSearch(preemptions);
        RoundResult result = Exhaust(search, limit);
        return (search.IsDone && Failure is null, result);
    }

    /// <summary>The same, a part of it.</summary>
    /// <param name="search">Goes on where it is.</param>
    /// <param name="limit">How many schedules at most.</param>
    /// <exception cref="UnsoundException">As for <see cref="Run"/>.</exception>
    public RoundResult Exhaust(BoundedSearch search, int limit)
    {
        var exploration = new ExplorationPlan(Strategy.Random, 0, limit) { Stop = plan.Stop, Muted = plan.Muted };
        return Count(exploration, (body, finished) => Controlled.Exhaust(exploration, search, body, finished));
    }

    private RoundResult Count(ExplorationPlan exploration, Func<Action<Attempt>, Action<Attempt>, Exploration> explore)
    {
        var totals = new CampaignTotals();
        var isNew = new List<ulong>();
        string? uncontrolled = null;
        Exploration result = explore(attempt => scenario.Run(attempt, fault), attempt =>
        {
            totals.Add(attempt);
            uncontrolled ??= attempt.UncontrolledAgent;
            ulong behaviour = HappensBefore.Fingerprint(attempt.Events);
            if (_behaviours.Add(behaviour)) isNew.Add(behaviour);
        });
        if (result.Uncontrolled.Count != 0) throw new UnsoundException($"scenario {scenario.Name}: not controlled: {string.Join(", ", result.Uncontrolled)}");
        if (uncontrolled is not null) throw new UnsoundException($"scenario {scenario.Name}: agent {uncontrolled} ran on a thread that the scheduler does not control");
        totals.Add(result);
        Totals.Add(totals);
        if (Totals.MostRunnable < 2 && Totals.Schedules >= EnoughToTell)
            throw new UnsoundException($"scenario {scenario.Name}: in none of {Totals.Schedules} schedules could two agents go on at the same time, so there was no order to choose");
        if (result.Failure is { } failure) Failure = new(scenario, fault, exploration, failure);
        return new(exploration, totals, isNew);
    }
}

/// <summary>What one round did.</summary>
/// <param name="Plan">How it explored.</param>
/// <param name="Totals">What it counted.</param>
/// <param name="NewBehaviours">The fingerprints that no round before had.</param>
public sealed record RoundResult(ExplorationPlan Plan, CampaignTotals Totals, IReadOnlyList<ulong> NewBehaviours);

/// <summary>What schedules did, counted.</summary>
public sealed class CampaignTotals
{
    private readonly Dictionary<Invariant, long> _checks = [];
    private readonly SortedDictionary<Invariant, long> _muted = [];
    private readonly Dictionary<string, long> _reached = [];

    /// <summary>Schedules that ran.</summary>
    public long Schedules { get; private set; }

    /// <summary>Scheduling decisions in them.</summary>
    public long Steps { get; private set; }

    /// <summary>How many agents could go on at the same time, at most.</summary>
    public int MostRunnable { get; private set; }

    /// <summary>How often each invariant was checked.</summary>
    public IReadOnlyDictionary<Invariant, long> Checks => _checks;

    /// <summary>How often each muted invariant was found broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted => _muted;

    /// <summary>In how many schedules each interesting state was reached.</summary>
    public IReadOnlyDictionary<string, long> Reached => _reached;

    /// <summary>What one schedule recorded.</summary>
    internal void Add(Attempt attempt)
    {
        foreach (string state in attempt.Reached.Keys) _reached[state] = _reached.GetValueOrDefault(state) + 1;
        foreach (Invariant invariant in Enum.GetValues<Invariant>())
        {
            long count = attempt.Checks[(int)invariant];
            if (count != 0) _checks[invariant] = _checks.GetValueOrDefault(invariant) + count;
            Mute(invariant, attempt.MutedBreaches[(int)invariant]);
        }
    }

    /// <summary>How much an exploration ran.</summary>
    internal void Add(Exploration exploration)
    {
        Schedules += exploration.Schedules;
        Steps += exploration.Steps;
        MostRunnable = Math.Max(MostRunnable, exploration.MostRunnable);
        foreach (Invariant invariant in exploration.MutedEnds) Mute(invariant, 1);
    }

    private void Mute(Invariant invariant, long times)
    {
        if (times != 0) _muted[invariant] = _muted.GetValueOrDefault(invariant) + times;
    }

    /// <summary>What others counted.</summary>
    public void Add(CampaignTotals others)
    {
        Schedules += others.Schedules;
        Steps += others.Steps;
        MostRunnable = Math.Max(MostRunnable, others.MostRunnable);
        foreach ((Invariant invariant, long count) in others._muted) Mute(invariant, count);
        foreach ((Invariant invariant, long count) in others._checks) _checks[invariant] = _checks.GetValueOrDefault(invariant) + count;
        foreach ((string state, long count) in others._reached) _reached[state] = _reached.GetValueOrDefault(state) + count;
    }
}

/// <summary>A schedule that breaks something, and all that is needed to run it again.</summary>
/// <param name="Scenario">What ran.</param>
/// <param name="Fault">What was wrong on purpose.</param>
/// <param name="Plan">The plan that found it.</param>
/// <param name="Failure">What happened.</param>
public sealed record FoundFailure(ConcurrentScenario Scenario, PlantedFault Fault, ExplorationPlan Plan, ScheduleFailure Failure)
{
    /// <summary>How often it interrupts a task that could have gone on; null: it was not shrunk.</summary>
    public Interruptions? Interruptions { get; init; }

    /// <summary>The pages that were looked at when it was run again.</summary>
    public IReadOnlyList<WatchedPage> Pages { get; init; } = [];

    /// <summary>What was seen then, one for each event; none before it was run again.</summary>
    public IReadOnlyList<Sight> Sights { get; init; } = [];
}

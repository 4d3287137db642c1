using System.Collections.Immutable;
using Harness.Schedules;
using Mutation.Exhibits;
using Mutation.Schema;
using Vcmm.Spec;

namespace Mutation.Hunting;

/// <summary>Hunts each exhibit with several seeds.</summary>
/// <param name="hunter">Runs the engines.</param>
/// <param name="plan">How long, and how often.</param>
/// <param name="stop">Set when the user wants to stop.</param>
public sealed class MuseumTour(Hunter hunter, MuseumPlan plan, CancellationToken stop)
{
    // A schedule that hangs outside of the scheduler's sight ends here.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>A sequence that hangs ends here: after a minute, and as long as it takes at ten sequences a second, a tenth of what is usual.</summary>
    private TimeSpan PatienceWithSequences => TimeSpan.FromMinutes(1) + TimeSpan.FromSeconds(plan.Sequences / 10);

    /// <summary>Hunts all, several beside each other, and tells of each exhibit once its hunts are over; then by tests what was not found, and tells of each of these again.</summary>
    /// <param name="library">The library with all of them in it.</param>
    /// <param name="exhibits">The exhibits; each has the number that its mutant has in the library.</param>
    /// <param name="surveyed">Called once it is known which tests reach which exhibits, if tests hunt.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time.</param>
    public IReadOnlyList<ExhibitOutcome> Run(MutatedLibrary library, IReadOnlyList<Exhibit> exhibits, Action<TestMap> surveyed, Action<ExhibitOutcome> told)
    {
        var numbers = library.Mutants.Select(static (mutant, i) => (mutant.Name, Number: i + 1)).ToDictionary(static pair => pair.Name, static pair => pair.Number);
        var outcomes = new ExhibitOutcome[exhibits.Count];
        Lanes.Run(plan.Lanes, exhibits.Count, stop, (i, lane) =>
        {
            outcomes[i] = HuntOf(exhibits[i], numbers[exhibits[i].Name], library, lane);
            lock (outcomes) told(outcomes[i]);
        });
        int[] left = [.. Enumerable.Range(0, outcomes.Length).Where(i => outcomes[i] is { Broken: null, Engines: [{ Median: null }] })];
        if (!plan.WithTests || left.Length == 0) return outcomes;
        TestMap map = hunter.LookAtTests(Engines.OfTests, "", plan.Lanes, stop);
        surveyed(map);
        Lanes.Run(plan.Lanes, left.Length, stop, (next, _) =>
        {
            int i = left[next];
            var hunts = new List<(string, Hunt)>();
            foreach (string engine in Engines.OfTests)
            {
                hunts.Add((engine, hunter.Tests(numbers[exhibits[i].Name], engine, new TestOrder(map), stop)));
                if (hunts[^1].Item2.End != HuntEnd.NotFound) break;
            }

            outcomes[i] = outcomes[i] with { Tests = [.. hunts] };
            lock (outcomes) told(outcomes[i]);
        });
        return outcomes;
    }

    private ExhibitOutcome HuntOf(Exhibit exhibit, int number, MutatedLibrary library, int lane)
    {
        if (library.Broken.GetValueOrDefault(number) is { } why) return new(exhibit, []) { Broken = why };
        var columns = ImmutableArray.CreateBuilder<EngineOutcome>();
        IReadOnlyList<string> strategies = plan.Strategies.Count != 0 ? plan.Strategies : exhibit.NeedsThreads ? [Engines.Portfolio] : [];
        if (strategies.Count == 0) columns.Add(HuntUntilDecided(Engines.Sequences, (seed, seeds, misses) => hunter.Sequences(number, seed, seeds, misses, PatienceWithSequences, plan.Sequences, isBrief: seed != plan.FirstSeed, stop)));
        foreach (string strategy in strategies) columns.Add(HuntUntilDecided(strategy, (seed, _, _) => [Explore(exhibit, number, seed, strategy, isBrief: seed != plan.FirstSeed || strategy != strategies[0], lane)]));
        return new(exhibit, columns.ToImmutable());
    }

    /// <summary>Seed after seed, until all have hunted or so many did not find it that what the others come to makes no difference.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="hunt">Hunts with a seed, and with up to so many in all, each the next, until so many did not find it.</param>
    private EngineOutcome HuntUntilDecided(string engine, Func<ulong, int, int, ImmutableArray<Hunt>> hunt)
    {
        var outcome = new EngineOutcome(engine, [], plan.Seeds);
        for (int done = 0; done < plan.Seeds && !outcome.IsDecided; done = outcome.Hunts.Length)
        {
            ulong seed = unchecked(plan.FirstSeed + (ulong)done);
            outcome = outcome with { Hunts = outcome.Hunts.AddRange(hunt(seed, plan.Seeds - done, outcome.MissesLeft)) };
        }

        return outcome;
    }

    /// <summary>One scenario after the other, until one shows it. Only what the first seed finds is shrunk.</summary>
    private Hunt Explore(Exhibit exhibit, int number, ulong seed, string strategy, bool isBrief, int lane)
    {
        Hunt? hunt = null;
        foreach (string scenario in exhibit.Scenarios)
        {
            Hunt next = hunter.Schedules(
                number,
                new(seed)
                {
                    Scenario = scenario,
                    Strategies = strategy == Engines.Portfolio ? [] : [strategy],
                    Schedules = plan.Schedules,
                    Workers = 1,
                    FirstProcessor = lane,
                    Budget = Patience,
                    IsBrief = isBrief,
                },
                stop);
            hunt = next with { Tries = next.Tries + (hunt?.Tries ?? 0), Elapsed = next.Elapsed + (hunt?.Elapsed ?? TimeSpan.Zero) };
            if (hunt.End == HuntEnd.Found) break;
        }

        return hunt!;
    }
}

/// <summary>What one engine made of an exhibit.</summary>
/// <param name="Engine">The engine: sequences, the portfolio of strategies, or a strategy.</param>
/// <param name="Hunts">One for each seed that hunted.</param>
/// <param name="Seeds">How many seeds were to hunt.</param>
public sealed record EngineOutcome(string Engine, ImmutableArray<Hunt> Hunts, int Seeds)
{
    /// <summary>How many hunts found it.</summary>
    public int Found => Hunts.Count(static hunt => hunt.End == HuntEnd.Found);

    /// <summary>After how many more that do not find it there is no <see cref="Median"/>, whatever the others come to.</summary>
    public int MissesLeft => Seeds - (Seeds / 2) - (Hunts.Length - Found);

    /// <summary>Whether so many did not find it.</summary>
    public bool IsDecided => MissesLeft <= 0;

    /// <summary>
    /// In how many sequences or schedules, as the median of all seeds; a seed that did not find it counts as more than any that did. Null if half of
    /// them or more did not. Of an even number the upper one of the two in the middle.
    /// </summary>
    public long? Median
    {
        get
        {
            long[] tries = [.. Hunts.Where(static hunt => hunt.End == HuntEnd.Found).Select(static hunt => hunt.Tries).Order()];
            int middle = Seeds / 2;
            return middle < tries.Length ? tries[middle] : null;
        }
    }

    /// <summary>Which invariants were named, the most frequent first.</summary>
    public IReadOnlyList<Invariant> Named =>
        [.. Hunts.Select(static hunt => hunt.Named).OfType<Invariant>().GroupBy(static named => named).OrderByDescending(static group => group.Count()).ThenBy(static group => group.Key).Select(static group => group.Key)];
}

/// <summary>What became of an exhibit.</summary>
/// <param name="Exhibit">The exhibit.</param>
/// <param name="Engines">What each engine made of it.</param>
public sealed record ExhibitOutcome(Exhibit Exhibit, ImmutableArray<EngineOutcome> Engines)
{
    /// <summary>Why it does not compile; null if it does.</summary>
    public string? Broken { get; init; }

    /// <summary>What the project's own tests came to; empty if they did not hunt it, because its engine found it.</summary>
    public ImmutableArray<(string Engine, Hunt Hunt)> Tests { get; init; } = [];

    /// <summary>The test that found it, by its full name; null if none did, or none hunted.</summary>
    public string? Test => Tests.Select(static run => run.Hunt.Test).FirstOrDefault(static test => test is not null);

    /// <summary>Whether the first engine found it with more than half of the seeds, and never named an invariant that the exhibit does not.</summary>
    public bool IsFoundByName => Engines is [{ Median: not null } first, ..] && first.Named.All(named => Exhibit.Breaks.Contains(named));
}

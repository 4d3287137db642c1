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

    /// <summary>Hunts all, several beside each other, and tells of each exhibit once its hunts are over.</summary>
    /// <param name="library">The library with all of them in it.</param>
    /// <param name="exhibits">The exhibits; each has the number that its mutant has in the library.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time.</param>
    public IReadOnlyList<ExhibitOutcome> Run(MutatedLibrary library, IReadOnlyList<Exhibit> exhibits, Action<ExhibitOutcome> told)
    {
        var numbers = library.Mutants.Select(static (mutant, i) => (mutant.Name, Number: i + 1)).ToDictionary(static pair => pair.Name, static pair => pair.Number);
        var outcomes = new ExhibitOutcome[exhibits.Count];
        Lanes.Run(plan.Lanes, exhibits.Count, stop, (i, lane) =>
        {
            outcomes[i] = HuntOf(exhibits[i], numbers[exhibits[i].Name], library, lane);
            lock (outcomes) told(outcomes[i]);
        });
        return outcomes;
    }

    private ExhibitOutcome HuntOf(Exhibit exhibit, int number, MutatedLibrary library, int lane)
    {
        if (library.Broken.GetValueOrDefault(number) is { } why) return new(exhibit, []) { Broken = why };
        var columns = ImmutableArray.CreateBuilder<EngineOutcome>();
        if (exhibit.NeedsThreads)
        {
            foreach (string strategy in plan.Strategies) columns.Add(new(strategy, [.. Seeds().Select(seed => Explore(exhibit, number, seed, strategy, lane))]));
        }
        else
        {
            columns.Add(new("sequences", [.. Seeds().Select(seed => hunter.Sequences(number, seed, plan.Budget, stop))]));
        }

        return new(exhibit, columns.ToImmutable());
    }

    /// <summary>One scenario after the other, until one shows it. Only what the first seed finds is shrunk.</summary>
    private Hunt Explore(Exhibit exhibit, int number, ulong seed, string strategy, int lane)
    {
        Hunt? hunt = null;
        foreach (string scenario in exhibit.Scenarios)
        {
            Hunt next = hunter.Schedules(
                number,
                new(seed)
                {
                    Scenario = scenario,
                    Strategies = strategy == MuseumPlan.Portfolio ? [] : [strategy],
                    Schedules = plan.Schedules,
                    Workers = 1,
                    FirstProcessor = lane,
                    Budget = Patience,
                    IsBrief = seed != plan.FirstSeed || strategy != plan.Strategies[0],
                },
                stop);
            hunt = next with { Tries = next.Tries + (hunt?.Tries ?? 0), Elapsed = next.Elapsed + (hunt?.Elapsed ?? TimeSpan.Zero) };
            if (hunt.End == HuntEnd.Found) break;
        }

        return hunt!;
    }

    private IEnumerable<ulong> Seeds() => Enumerable.Range(0, plan.Seeds).Select(i => unchecked(plan.FirstSeed + (ulong)i));
}

/// <summary>What one engine made of an exhibit.</summary>
/// <param name="Engine">The engine: sequences, the portfolio of strategies, or a strategy.</param>
/// <param name="Hunts">One for each seed.</param>
public sealed record EngineOutcome(string Engine, ImmutableArray<Hunt> Hunts)
{
    /// <summary>How many hunts found it.</summary>
    public int Found => Hunts.Count(static hunt => hunt.End == HuntEnd.Found);

    /// <summary>
    /// In how many sequences or schedules, as the median of all seeds; a seed that did not find it counts as more than any that did. Null if half of
    /// them or more did not. Of an even number the upper one of the two in the middle.
    /// </summary>
    public long? Median
    {
        get
        {
            long[] tries = [.. Hunts.Where(static hunt => hunt.End == HuntEnd.Found).Select(static hunt => hunt.Tries).Order()];
            int middle = Hunts.Length / 2;
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

    /// <summary>Whether the first engine found it with more than half of the seeds, and never named an invariant that the exhibit does not.</summary>
    public bool IsFoundByName => Engines is [{ Median: not null } first, ..] && first.Named.All(named => Exhibit.Breaks.Contains(named));
}

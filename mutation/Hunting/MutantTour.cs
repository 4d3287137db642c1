using Harness.Schedules;
using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>How long mutants are hunted.</summary>
/// <param name="Seed">Where every random choice comes from.</param>
public sealed record MutantPlan(ulong Seed)
{
    /// <summary>For how long sequences are generated.</summary>
    public TimeSpan Sequences { get; init; } = TimeSpan.FromSeconds(6);

    /// <summary>For how long schedules of all scenarios are run, of a mutant that no sequence found.</summary>
    public TimeSpan Schedules { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How many mutants are hunted beside each other.</summary>
    public int Lanes { get; init; } = 1;
}

/// <summary>Hunts each mutant with one engine after the other until one finds it.</summary>
/// <param name="hunter">Runs the engines.</param>
/// <param name="plan">How long.</param>
/// <param name="stop">Set when the user wants to stop.</param>
public sealed class MutantTour(Hunter hunter, MutantPlan plan, CancellationToken stop)
{
    /// <summary>Hunts mutants, several beside each other.</summary>
    /// <param name="library">The library with all of them in it.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time, when one is over.</param>
    /// <returns>What became of each, in the order of the library.</returns>
    public IReadOnlyList<MutantOutcome> Run(MutatedLibrary library, Action<MutantOutcome> told)
    {
        var outcomes = new MutantOutcome[library.Mutants.Count];
        Lanes.Run(plan.Lanes, outcomes.Length, stop, (i, lane) =>
        {
            outcomes[i] = HuntOf(library, i, lane);
            lock (outcomes) told(outcomes[i]);
        });
        return outcomes;
    }

    private MutantOutcome HuntOf(MutatedLibrary library, int index, int lane)
    {
        Mutant mutant = library.Mutants[index];
        int number = index + 1;
        if (library.Broken.GetValueOrDefault(number) is { } why) return new(mutant, []) { Broken = why };
        Hunt sequences = hunter.Sequences(number, plan.Seed, plan.Sequences, stop);
        if (sequences.End != HuntEnd.NotFound || plan.Schedules == TimeSpan.Zero) return new(mutant, [("sequences", sequences)]);
        Hunt schedules = hunter.Schedules(number, new(plan.Seed) { Workers = 1, FirstProcessor = lane, Budget = plan.Schedules, IsBrief = true, StopsAtFailure = true }, stop);
        return new(mutant, [("sequences", sequences), ("schedules", schedules)]);
    }
}

/// <summary>What became of a mutant.</summary>
/// <param name="Mutant">The mutant.</param>
/// <param name="Hunts">What each engine came to that was run, in order.</param>
public sealed record MutantOutcome(Mutant Mutant, IReadOnlyList<(string Engine, Hunt Hunt)> Hunts)
{
    /// <summary>Why it does not compile; null if it does.</summary>
    public string? Broken { get; init; }

    /// <summary>The engines that found it, or broke of it, and how.</summary>
    public IEnumerable<(string Engine, Hunt Hunt)> Killers => Hunts.Where(static run => run.Hunt.End != HuntEnd.NotFound);

    /// <summary>The first of them; null if there is none.</summary>
    public (string Engine, Hunt Hunt)? Killer => Hunts.Any(static run => run.Hunt.End != HuntEnd.NotFound) ? Killers.First() : null;
}

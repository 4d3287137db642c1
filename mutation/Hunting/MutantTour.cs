using Harness.Schedules;
using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>How long mutants are hunted, and by whom.</summary>
/// <param name="Seed">Where every random choice comes from.</param>
public sealed record MutantPlan(ulong Seed)
{
    /// <summary>The engines that hunt, in this order, those of tests first. A strategy is one, too: the schedules that it chooses.</summary>
    public IReadOnlyList<string> Engines { get; init; } = Hunting.Engines.All;

    /// <summary>Of the project's own tests only classes hunt whose full name has this in it.</summary>
    public string Tests { get; init; } = "";

    /// <summary>Whether each engine hunts each mutant, and not only those that no engine before it found.</summary>
    public bool IsEveryEngine { get; init; }

    /// <summary>For how long sequences are generated.</summary>
    public TimeSpan Sequences { get; init; } = TimeSpan.FromSeconds(6);

    /// <summary>For how long schedules of all scenarios are run, by each strategy that is an engine; zero: none.</summary>
    public TimeSpan Schedules { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How many mutants are hunted beside each other.</summary>
    public int Lanes { get; init; } = 1;

    /// <summary>Whether any of them runs the project's own tests.</summary>
    public bool HasTests => TestEngines.Count != 0;

    /// <summary>Whether any hunts at all.</summary>
    public bool HasEngine => HasTests || OtherEngines.Count != 0;

    /// <summary>The engines of them that run the project's own tests.</summary>
    internal IReadOnlyList<string> TestEngines => [.. Engines.Where(Hunting.Engines.OfTests.Contains)];

    /// <summary>The others.</summary>
    internal IReadOnlyList<string> OtherEngines =>
        [.. Engines.Except(Hunting.Engines.OfTests).Where(engine => engine is Hunting.Engines.Sequences or Hunting.Engines.Exhaustive || Schedules > TimeSpan.Zero)];
}

/// <summary>Hunts each mutant with one engine after the other until one finds it.</summary>
/// <param name="hunter">Runs the engines.</param>
/// <param name="plan">How long.</param>
/// <param name="stop">Set when the user wants to stop.</param>
public sealed class MutantTour(Hunter hunter, MutantPlan plan, CancellationToken stop)
{
    // All sequences of two operations take three seconds.
    private const int Depth = 2;

    // The search ends by itself; this is for what hangs.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>Hunts mutants, several beside each other: all by tests first, which are quick, and then those that are left by the others.</summary>
    /// <param name="library">The library with all of them in it.</param>
    /// <param name="surveyed">Called once it is known which tests reach which mutants, if tests hunt.</param>
    /// <param name="told">Called on the threads that hunt, one call at a time, when a hunt is over.</param>
    /// <returns>What became of each, in the order of the library; what is not over when the user stops it is pending.</returns>
    public IReadOnlyList<MutantOutcome> Run(MutatedLibrary library, Action<TestMap> surveyed, Action<MutantOutcome> told)
    {
        MutantOutcome[] outcomes = [.. library.Mutants.Select(static mutant => new MutantOutcome(mutant, []) { IsPending = true })];
        int[] all = [.. Enumerable.Range(0, outcomes.Length)];
        int[] left = [.. all.Where(i => !library.Broken.ContainsKey(i + 1))];
        try
        {
            foreach (int i in all.Except(left)) Settle(i, outcomes[i] with { Broken = library.Broken[i + 1] });
            if (plan.HasTests && left.Length != 0)
            {
                TestMap map = hunter.LookAtTests(plan.TestEngines, plan.Tests, plan.Lanes, stop);
                surveyed(map);
                // Mutants of one file are hunted one after the other: what found one is tried first on the next.
                int[][] files = [.. left.GroupBy(i => library.Mutants[i].Edits[0].File).Select(static file => file.ToArray()).OrderByDescending(static file => file.Length)];
                Lanes.Run(plan.Lanes, files.Length, stop, (file, _) =>
                {
                    var order = new TestOrder(map);
                    foreach (int i in files[file]) HuntWith(plan.TestEngines, i, engine => hunter.Tests(i + 1, engine, order, stop), isLast: plan.OtherEngines.Count == 0);
                });
                left = [.. left.Where(i => outcomes[i].IsPending)];
            }

            Lanes.Run(plan.Lanes, left.Length, stop, (i, lane) => HuntWith(plan.OtherEngines, left[i], engine => HuntOf(engine, left[i] + 1, lane), isLast: true));
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // What is known so far is worth as much as before.
        }

        return outcomes;

        void HuntWith(IReadOnlyList<string> engines, int i, Func<string, Hunt> hunt, bool isLast)
        {
            MutantOutcome outcome = outcomes[i];
            foreach (string engine in engines)
            {
                stop.ThrowIfCancellationRequested();
                outcome = outcome with { Hunts = [.. outcome.Hunts, (engine, hunt(engine))] };
                if (outcome.Killer is not null && !plan.IsEveryEngine) break;
            }

            if (isLast || (outcome.Killer is not null && !plan.IsEveryEngine)) Settle(i, outcome);
            else outcomes[i] = outcome;
        }

        void Settle(int i, MutantOutcome outcome)
        {
            outcomes[i] = outcome with { IsPending = false };
            lock (outcomes) told(outcomes[i]);
        }
    }

    private Hunt HuntOf(string engine, int number, int lane) => engine switch
    {
        Engines.Sequences => hunter.Sequences(number, plan.Seed, 1, 1, plan.Sequences, null, isBrief: true, stop)[0],
        Engines.Exhaustive => hunter.Exhaust(number, Depth, Patience, stop),
        _ => hunter.Schedules(
            number,
            new(plan.Seed)
            {
                Strategies = engine is Engines.Schedules or Engines.Portfolio ? [] : [engine],
                Workers = 1,
                FirstProcessor = lane,
                Budget = plan.Schedules,
                IsBrief = true,
                StopsAtFailure = true,
            },
            stop),
    };
}

/// <summary>What became of a mutant.</summary>
/// <param name="Mutant">The mutant.</param>
/// <param name="Hunts">What each engine came to that was run, in order.</param>
public sealed record MutantOutcome(Mutant Mutant, IReadOnlyList<(string Engine, Hunt Hunt)> Hunts)
{
    /// <summary>Why it does not compile; null if it does.</summary>
    public string? Broken { get; init; }

    /// <summary>Whether it is not known yet: the user stopped before an engine found it, or before all had hunted it. What some came to may be there already.</summary>
    public bool IsPending { get; init; }

    /// <summary>Whether nothing that ran calls a member which it changes: nothing could have found it.</summary>
    public bool IsUnreached => Broken is null && !IsPending && Hunts.All(static run => !run.Hunt.IsReached);

    /// <summary>Whether it could be found, and was not.</summary>
    public bool IsSurvivor => Broken is null && !IsPending && Killer is null;

    /// <summary>The engines that found it, or broke of it, and how.</summary>
    public IEnumerable<(string Engine, Hunt Hunt)> Killers => Hunts.Where(static run => run.Hunt.End != HuntEnd.NotFound);

    /// <summary>The first of them; null if there is none.</summary>
    public (string Engine, Hunt Hunt)? Killer => Hunts.Any(static run => run.Hunt.End != HuntEnd.NotFound) ? Killers.First() : null;
}

using Explorer.Scheduling;

namespace Explorer.Campaigns;

/// <summary>
/// Shares the rounds of a campaign out among strategies: each has one in turn, and half as many again go to those whose rounds came to the most
/// behaviours that nobody had seen. None is given up: what one finds late no other may find at all.
/// </summary>
/// <param name="strategies">Which, in the order of their turns.</param>
/// <param name="first">Whose turn is the first, counted round and round.</param>
public sealed class Portfolio(IReadOnlyList<Strategy> strategies, int first)
{
    private readonly Queue<Strategy> _coming = new();
    private readonly Dictionary<Strategy, (long Schedules, long New)> _latest = [];

    /// <summary>All strategies, in this order.</summary>
    public static IReadOnlyList<Strategy> All { get; } =
    [
        Strategy.Probabilistic, Strategy.DelayBounding, Strategy.Prioritization, Strategy.Random, Strategy.QLearning,
        Strategy.PartialOrderSampling, Strategy.FairPrioritization, Strategy.FairDelayBounding,
    ];

    /// <summary>The strategy of the next round.</summary>
    public Strategy Next()
    {
        if (_coming.Count == 0)
        {
            foreach (Strategy strategy in Extras()) _coming.Enqueue(strategy);
            for (int i = 0; i < strategies.Count; i++) _coming.Enqueue(strategies[(first + i) % strategies.Count]);
            _latest.Clear();
        }

        return _coming.Dequeue();
    }

    /// <summary>What a round came to.</summary>
    /// <param name="strategy">Whose it was.</param>
    /// <param name="schedules">How many schedules ran.</param>
    /// <param name="newBehaviours">In how many of them something happened that had not before.</param>
    public void Tell(Strategy strategy, long schedules, int newBehaviours)
    {
        (long before, long found) = _latest.GetValueOrDefault(strategy);
        _latest[strategy] = (before + schedules, found + newBehaviours);
    }

    /// <summary>The rounds that are given for what was found, one after the other to who has found the most for what it would have had.</summary>
    private IEnumerable<Strategy> Extras()
    {
        if (_latest.Values.All(static latest => latest.New == 0)) yield break;
        var given = new Dictionary<Strategy, int>();
        for (int i = 0; i < strategies.Count / 2; i++)
        {
            Strategy best = strategies.MaxBy(strategy => Yield(strategy) / (1 + given.GetValueOrDefault(strategy)));
            given[best] = given.GetValueOrDefault(best) + 1;
            yield return best;
        }
    }

    private double Yield(Strategy strategy)
    {
        (long schedules, long found) = _latest.GetValueOrDefault(strategy);
        return schedules == 0 ? 0 : (double)found / schedules;
    }
}

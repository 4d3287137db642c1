namespace Mutation.Hunting;

/// <summary>How far the museum's exhibits are hunted. Nothing in it is a time: what is found is the same on any machine.</summary>
/// <param name="FirstSeed">The first seed; each other is one more.</param>
/// <param name="Seeds">How many hunts there are for each exhibit; fewer, once so many did not find it that most seeds do not.</param>
public sealed record MuseumPlan(ulong FirstSeed, int Seeds)
{
    /// <summary>How many sequences are generated in a hunt.</summary>
    public long Sequences { get; init; } = 200;

    /// <summary>How many schedules of each scenario are run in a hunt.</summary>
    public long Schedules { get; init; } = 1_000;

    /// <summary>
    /// The strategies that choose schedules, compared with each other; <see cref="Engines.Portfolio"/> stands for all in turn. If there are any, an exhibit is hunted in its
    /// scenarios also where sequences would find it; if there are none, by the portfolio where it needs threads, and else by sequences.
    /// </summary>
    public IReadOnlyList<string> Strategies { get; init; } = [];

    /// <summary>Whether the project's own tests hunt what is not found by those who are to find it.</summary>
    public bool WithTests { get; init; } = true;

    /// <summary>How many hunts run beside each other.</summary>
    public int Lanes { get; init; } = 1;
}

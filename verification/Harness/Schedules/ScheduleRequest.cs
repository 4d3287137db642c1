using Vcmm.Spec;

namespace Harness.Schedules;

/// <summary>What workers are asked to explore.</summary>
/// <param name="Seed">Every choice comes from it, whatever the number of workers.</param>
public sealed record ScheduleRequest(ulong Seed)
{
    /// <summary>The most workers that there can be.</summary>
    public const int MostWorkers = 64;

    /// <summary>As many workers as there are processors.</summary>
    public static int WorkersHere { get; } = Math.Min(System.Environment.ProcessorCount, MostWorkers);

    /// <summary>The scenario to explore; <c>all</c>: each that is written as code in each round, and beside them one of the scripts and a generated one; <c>code</c>, <c>scripts</c>, <c>generated</c>: those alone.</summary>
    public string Scenario { get; init; } = "all";

    /// <summary>What is wrong on purpose, to see it found; <c>none</c> for the library as it is.</summary>
    public string Fault { get; init; } = "none";

    /// <summary>The strategies to take turns with; none: the worker's own choice.</summary>
    public IReadOnlyList<string> Strategies { get; init; } = [];

    /// <summary>How often a thread that could go on is interrupted in the schedules, which are then all run; null: strategies choose.</summary>
    public int? Preemptions { get; init; }

    /// <summary>How many workers run beside each other; 1 … 64.</summary>
    public int Workers { get; init; } = WorkersHere;

    /// <summary>How many schedules all of them run together; null: until they are told to end.</summary>
    public long? Schedules { get; init; }

    /// <summary>Until when; null: until nothing is left to do.</summary>
    public TimeSpan? Budget { get; init; }

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Whether failures are told as they are: neither shrunk nor run again to be shown.</summary>
    public bool IsBrief { get; init; }

    /// <summary>Whether the first failure ends it, whatever scenario it is of.</summary>
    public bool StopsAtFailure { get; init; }

    /// <summary>The processor of the first worker; each other has the next one.</summary>
    public int FirstProcessor { get; init; }

    /// <summary>Environment variables that the workers have beside this process's own.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// The command line of one worker. Rounds are dealt out in turn, and each has a seed of its own, so no two workers run the same; schedules are
    /// shared out evenly.
    /// </summary>
    /// <param name="number">Which, from 0.</param>
    /// <returns>Null if nothing is left for it.</returns>
    internal IReadOnlyList<string>? ArgumentsOf(int number)
    {
        List<string> arguments =
        [
            "explore", "--seed", $"{Seed}", "--scenario", Scenario, "--fault", Fault,
            "--first-round", $"{number}", "--round-step", $"{Workers}", "--processor", $"{(FirstProcessor + number) % System.Environment.ProcessorCount}",
        ];
        if (IsBrief) arguments.AddRange(["--shrink", "no"]);
        foreach (string strategy in Strategies) arguments.AddRange(["--strategy", strategy]);
        foreach (Invariant muted in Muted.Members) arguments.AddRange(["--mute", muted.Id()]);
        if (Preemptions is { } preemptions) arguments.AddRange(["--preemptions", $"{preemptions}"]);
        if (Schedules is { } all)
        {
            long share = (all / Workers) + (number < all % Workers ? 1 : 0);
            if (share == 0) return null;
            arguments.AddRange(["--schedules", $"{share}"]);
        }

        return arguments;
    }
}

using System.Globalization;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness;
using Vcmm.Spec;

namespace Explorer.Worker;

/// <summary>What the worker is told on its command line after <c>explore</c>.</summary>
internal sealed record WorkerOptions
{
    /// <summary>Shown when a command line cannot be understood.</summary>
    public const string Usage =
        "explore [--seed N] [--scenario all|code|scripts|generated|NAME] [--fault none|NAME] [--strategy portfolio|NAME] (several take turns) [--mute I1 … I14] (several) "
        + "[--preemptions N (every schedule with as many, and no strategy)] [--schedules N (0: until standard input closes)] [--schedules-per-round N] [--rounds N (0: until standard input closes)] [--first-round N] [--round-step N] [--processor N] [--shrink yes|no], replay FILE [--all] [--page], or list";

    public ulong Seed { get; private set; } = 1;

    public ScenarioChoice Scenarios { get; private set; } = ScenarioChoice.All;

    public PlantedFault Fault { get; private set; } = PlantedFault.None;

    /// <summary>Which to take turns with; none: the campaign's own choice.</summary>
    public IReadOnlyList<Strategy> Strategies { get; private set; } = [];

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; private set; }

    /// <summary>How often a thread that could go on is interrupted in the schedules, which are then all run; null: strategies choose.</summary>
    public int? Preemptions { get; private set; }

    /// <summary>How many schedules to run in all; 0: no limit.</summary>
    public long Schedules { get; private set; }

    public int SchedulesPerRound { get; private set; } = 50;

    public int Rounds { get; private set; }

    public int FirstRound { get; private set; }

    public int RoundStep { get; private set; } = 1;

    public int? Processor { get; private set; }

    /// <summary>Whether failures are shrunk.</summary>
    public bool Shrinks { get; private set; } = true;

    /// <exception cref="BadInputException">An option is unknown, or its value is.</exception>
    public static WorkerOptions Parse(ReadOnlySpan<string> arguments)
    {
        var options = new WorkerOptions();
        if (arguments.Length % 2 != 0) throw new BadInputException($"{arguments[^1]} has no value; expected {Usage}");
        for (int i = 0; i < arguments.Length; i += 2) options.Set(arguments[i], arguments[i + 1]);
        // A fault is planted for one scenario; most others would show nothing of it.
        if (options.Fault != PlantedFault.None && options.Scenarios == ScenarioChoice.All) options.Scenarios = new([Names.Scenario(options.Fault.Scenario, "--fault")]);
        return options;
    }

    private void Set(string name, string value)
    {
        switch (name)
        {
            case "--seed":
                Seed = ulong.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed)
                    ? seed
                    : throw new BadInputException($"--seed is \"{value}\"; expected 0 to {ulong.MaxValue}");
                break;
            case "--scenario":
                Scenarios = ScenarioChoice.Parse(value, name);
                break;
            case "--fault":
                Fault = Names.Fault(value, name);
                break;
            case "--strategy":
                Strategies = value == "portfolio" ? [] : [.. Strategies, Names.Strategy(value, name)];
                break;
            case "--mute":
                Muted = Invariants.TryParse(value, out Invariant muted) ? InvariantSet.Of([.. Muted.Members, muted]) : throw new BadInputException($"{name} is \"{value}\"; expected I1 to I14");
                break;
            case "--preemptions":
                Preemptions = Number(name, value, 0, 1_000);
                break;
            case "--schedules":
                Schedules = Number(name, value, 0, int.MaxValue);
                break;
            case "--schedules-per-round":
                SchedulesPerRound = Number(name, value, 1, 1_000_000);
                break;
            case "--rounds":
                Rounds = Number(name, value, 0, 1_000_000);
                break;
            case "--first-round":
                FirstRound = Number(name, value, 0, 1_000_000);
                break;
            case "--round-step":
                RoundStep = Number(name, value, 1, 1_000);
                break;
            case "--shrink":
                Shrinks = value is "yes" or "no" ? value == "yes" : throw new BadInputException($"{name} is \"{value}\"; expected yes or no");
                break;
            case "--processor":
                Processor = Number(name, value, 0, 63);
                break;
            default:
                throw new BadInputException($"{name} is unknown; expected {Usage}");
        }
    }

    private static int Number(string name, string value, int min, int max) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= min && number <= max
            ? number
            : throw new BadInputException($"{name} is \"{value}\"; expected {min} to {max}");
}

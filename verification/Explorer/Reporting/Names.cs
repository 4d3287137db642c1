using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scripts;
using Harness;

namespace Explorer.Reporting;

/// <summary>From names that come from outside to what they name.</summary>
public static class Names
{
    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static ConcurrentScenario Scenario(string name, string field) =>
        ConcurrentScenario.Find(name) ?? throw Unknown(field, name, ConcurrentScenario.All.Concat(ScriptLibrary.All).Select(scenario => scenario.Name));

    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static PlantedFault Fault(string name, string field) =>
        PlantedFault.Find(name) ?? throw Unknown(field, name, PlantedFault.All.Prepend(PlantedFault.None).Select(fault => fault.Name));

    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static Strategy Strategy(string name, string field) =>
        // A number would parse too.
        Enum.GetNames<Strategy>().Contains(name, StringComparer.OrdinalIgnoreCase)
            ? Enum.Parse<Strategy>(name, ignoreCase: true)
            : throw Unknown(field, name, Enum.GetNames<Strategy>());

    /// <summary>How a strategy chooses, on one line.</summary>
    public static string Summary(Strategy strategy) => strategy switch
    {
        Scheduling.Strategy.Random => "any task that can go on, each time anew",
        Scheduling.Strategy.Probabilistic => "stays with a task, leaves it one time in eight",
        Scheduling.Strategy.Prioritization => "priorities that change at a few random steps (PCT)",
        Scheduling.Strategy.DelayBounding => "one task after the other, delayed at a few random steps",
        Scheduling.Strategy.QLearning => "learns to reach states that it has not seen",
        Scheduling.Strategy.FairPrioritization => "as Prioritization, and at random after the first hundred steps",
        Scheduling.Strategy.FairDelayBounding => "as DelayBounding, and at random after the first hundred steps",
        Scheduling.Strategy.PartialOrderSampling => "random priorities of steps, drawn anew where steps race (POS)",
        _ => "",
    };

    private static BadInputException Unknown(string field, string name, IEnumerable<string> known) =>
        new($"{field} is \"{name}\"; expected one of {string.Join(", ", known)}");
}

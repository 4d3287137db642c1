using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness;

namespace Explorer.Reporting;

/// <summary>From names that come from outside to what they name.</summary>
public static class Names
{
    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static ConcurrentScenario Scenario(string name, string field) =>
        ConcurrentScenario.Find(name) ?? throw Unknown(field, name, ConcurrentScenario.All.Select(scenario => scenario.Name));

    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static PlantedFault Fault(string name, string field) =>
        PlantedFault.Find(name) ?? throw Unknown(field, name, PlantedFault.All.Prepend(PlantedFault.None).Select(fault => fault.Name));

    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static Strategy Strategy(string name, string field) => Member<Strategy>(name, field);

    /// <exception cref="BadInputException">There is none of that name.</exception>
    public static Grain Grain(string name, string field) => Member<Grain>(name, field);

    private static T Member<T>(string name, string field)
        where T : struct, Enum =>
        // A number would parse too.
        Enum.GetNames<T>().Contains(name, StringComparer.OrdinalIgnoreCase)
            ? Enum.Parse<T>(name, ignoreCase: true)
            : throw Unknown(field, name, Enum.GetNames<T>());

    private static BadInputException Unknown(string field, string name, IEnumerable<string> known) =>
        new($"{field} is \"{name}\"; expected one of {string.Join(", ", known)}");
}

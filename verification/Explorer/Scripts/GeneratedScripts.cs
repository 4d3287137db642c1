using CsCheck;
using Harness.Generating;
using Harness.Schedules;

namespace Explorer.Scripts;

/// <summary>Scripts that nobody wrote.</summary>
public static class GeneratedScripts
{
    /// <summary>The script of a number; each is drawn from the campaign's seed and its number alone.</summary>
    /// <param name="seed">The campaign's.</param>
    /// <param name="number">Which.</param>
    public static Script Make(ulong seed, int number)
    {
        var generator = new HistoryGen().WithDevices();
        return new($"{ScenarioTally.GeneratedPrefix}{seed}-{number}", "drawn from the seed of the campaign", generator.Generate(new PCG((uint)number, seed), null, out _), []);
    }
}

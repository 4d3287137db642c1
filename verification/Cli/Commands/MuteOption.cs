using System.CommandLine;
using Harness;
using Vcmm.Spec;

namespace Verify.Commands;

/// <summary>The option that keeps an invariant from being told.</summary>
internal static class MuteOption
{
    /// <summary>Its name.</summary>
    public const string Name = "--mute";

    /// <summary>The option.</summary>
    public static Option<string[]> Create() => new(Name)
    {
        Description = "Tell no violation of this invariant and go on, to see what else tells of it; may be given several times.",
        HelpName = "I1 … I14",
    };

    /// <summary>What was given.</summary>
    /// <exception cref="BadInputException">One is no invariant.</exception>
    public static InvariantSet Parse(string[]? given) => InvariantSet.Of((given ?? []).Select(static id => Invariants.TryParse(id, out Invariant invariant)
        ? invariant
        : throw new BadInputException($"{Name}: \"{id}\" is no invariant; expected I1 to I14")));
}

namespace Mutation.Hunting;

/// <summary>What hunts mutants, by name.</summary>
public static class Engines
{
    /// <summary>Tests that say themselves what they check.</summary>
    public const string Laws = "laws";

    /// <summary>Tests that generate what they check.</summary>
    public const string Properties = "properties";

    /// <summary>Tests that hold the library to what others wrote down.</summary>
    public const string Conformance = "conformance";

    /// <summary>Generated sequences of operations, judged by the model.</summary>
    public const string Sequences = "sequences";

    /// <summary>All sequences of two operations of a small world, one after the other, judged by the model.</summary>
    public const string Exhaustive = "exhaustive";

    /// <summary>Controlled schedules of the library's scenarios.</summary>
    public const string Schedules = "schedules";

    /// <summary>Among the strategies that choose schedules: all in turn.</summary>
    public const string Portfolio = "portfolio";

    /// <summary>Those that run the project's own tests, in the order in which they hunt.</summary>
    public static IReadOnlyList<string> OfTests { get; } = [Laws, Properties, Conformance];

    /// <summary>All, in the order in which they hunt.</summary>
    public static IReadOnlyList<string> All { get; } = [.. OfTests, Sequences, Exhaustive, Schedules];
}

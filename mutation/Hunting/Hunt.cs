using Vcmm.Spec;

namespace Mutation.Hunting;

/// <summary>How a hunt for a mutant ended.</summary>
public enum HuntEnd
{
    /// <summary>A check failed.</summary>
    Found,

    /// <summary>Nothing failed.</summary>
    NotFound,

    /// <summary>The program did not end, or ended itself: no check says what is wrong.</summary>
    Broke,
}

/// <summary>What a hunt for a mutant came to.</summary>
/// <param name="End">How it ended.</param>
/// <param name="Tries">Sequences, schedules or tests that ran, the one that fails among them.</param>
/// <param name="Elapsed">How long it took.</param>
public sealed record Hunt(HuntEnd End, long Tries, TimeSpan Elapsed)
{
    /// <summary>Which invariant a check named; null if none did.</summary>
    public Invariant? Named { get; init; }

    /// <summary>Which test failed, by its full name; null unless the engine runs tests.</summary>
    public string? Test { get; init; }

    /// <summary>Whether a member was called that the mutant changes: what no engine reaches, none can find.</summary>
    public bool IsReached { get; init; } = true;

    /// <summary>How large the counterexample is, in words.</summary>
    public string Size { get; init; } = "";

    /// <summary>The counterexample for people, or what broke.</summary>
    public string Report { get; init; } = "";
}

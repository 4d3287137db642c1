using Explorer.Scheduling;
using Vcmm.Spec;

namespace Explorer.Campaigns;

/// <summary>
/// Looks for what is easier to read and breaks the same invariant: first a smaller script, if the scenario is one, and then an easier schedule of it.
/// The same for the same seed.
/// </summary>
public static class Shrinker
{
    /// <summary>The easiest that is found.</summary>
    /// <param name="found">What to shrink.</param>
    /// <param name="stop">Asked before each schedule; true ends the search.</param>
    public static FoundFailure Shrink(FoundFailure found, Func<bool>? stop = null)
    {
        FoundFailure smaller = found.Scenario.Script is { } script ? new ScriptShrinker(found, script, stop).Shrink() : found;
        return new ScheduleShrinker(smaller, stop).Shrink();
    }

    /// <summary>Whether it is the same that is broken.</summary>
    internal static bool IsSame(Violation one, Violation other) =>
        one.Invariant == other.Invariant
        // A history without an order, and exceptions of several kinds, are all of one invariant.
        && (one.Invariant != Invariant.Linearizable || (one.Expected == other.Expected && ExceptionOf(one) == ExceptionOf(other)));

    /// <summary>Whether threads have run: what fails before they do is no failure of a schedule.</summary>
    internal static bool HasRun(ScheduleFailure failure) => failure.Attempt.Events.Any(static e => e.Agent != Attempt.SetUpAgent);

    // Its name is in quotation marks.
    private static string? ExceptionOf(Violation violation) => violation.Observed.Split('\'') is [var before, var name, ..] && before.Contains("exception", StringComparison.Ordinal) ? name : null;
}

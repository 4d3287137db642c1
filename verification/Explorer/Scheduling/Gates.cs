using Microsoft.Coyote.Rewriting;
using Microsoft.Coyote.Runtime;

namespace Explorer.Scheduling;

/// <summary>
/// What rewritten code tells the scheduler all the time, and what the scheduler seldom wants to know: each method that is entered and each plain field. To be told
/// costs it a look for the calling task and a lock; so it is told only while it asks.
/// </summary>
/// <remarks>The build puts calls of these methods in the place of the rewriter's own (<see cref="Worker.GateFitter"/>).</remarks>
[SkipRewriting("Part of the scheduler.")]
public static class Gates
{
    /// <summary>Whether the scheduler is told of methods: one strategy takes them for a part of the state.</summary>
    public static bool TellsMethods { get; private set; }

    /// <summary>Whether the scheduler is told of plain fields.</summary>
    public static bool TellsFields { get; private set; }

    /// <summary>Whether the scheduler was told of one since the last <see cref="SetFor"/>.</summary>
    internal static bool ToldField { get; private set; }

    /// <summary>Tells what the plan needs, from here on.</summary>
    internal static void SetFor(ExplorationPlan plan)
    {
        TellsMethods = plan.Strategy == Strategy.QLearning;
        TellsFields = plan.Grain == Grain.PlainFields;
        ToldField = false;
    }

    /// <summary>A method is entered.</summary>
    /// <param name="name">Its name.</param>
    public static void Method(string name)
    {
        if (TellsMethods) Operation.RegisterCallSite(name);
    }

    /// <summary>A plain field is about to be read or written.</summary>
    public static void Field()
    {
        if (TellsFields) Tell();
    }

    private static void Tell()
    {
        ToldField = true;
        SchedulingPoint.InterleaveMemoryAccess();
    }
}

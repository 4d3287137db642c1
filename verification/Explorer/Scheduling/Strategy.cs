namespace Explorer.Scheduling;

/// <summary>How the scheduler chooses who runs next. Each is good at other bugs, so a campaign takes turns.</summary>
public enum Strategy
{
    /// <summary>Any enabled task, each time anew.</summary>
    Random,

    /// <summary>Stay with a task, leave it with probability 1/8.</summary>
    Probabilistic,

    /// <summary>Priorities that change at a few random steps (PCT): finds bugs that need few, well placed switches.</summary>
    Prioritization,

    /// <summary>One task after the other, delayed at a few random steps.</summary>
    DelayBounding,

    /// <summary>Learns to reach states that it has not seen.</summary>
    QLearning,

    /// <summary>As <see cref="Prioritization"/>, and at random after the first hundred steps.</summary>
    FairPrioritization,

    /// <summary>As <see cref="DelayBounding"/>, and at random after the first hundred steps.</summary>
    FairDelayBounding,

    /// <summary>Random priorities of steps, drawn anew where steps race (POS): orders that behave alike do not weigh more for being many.</summary>
    PartialOrderSampling,
}

/// <summary>What, beside locks, tasks, interlocked and volatile accesses, counts as a step.</summary>
public enum Grain
{
    /// <summary>Nothing: plain fields are taken to be guarded.</summary>
    Synchronization,

    /// <summary>Every access to a plain field or array element: finds the field that is not guarded, at a tenth of the speed.</summary>
    PlainFields,
}

namespace Explorer.Campaigns;

/// <summary>How often a schedule interrupts a task that could have gone on, and what is known of schedules that do so less often.</summary>
/// <param name="Count">So often.</param>
/// <param name="Excluded">With so many, and fewer, every schedule was run and none fails so; -1: that was not done.</param>
/// <param name="Schedules">How many those are.</param>
public sealed record Interruptions(int Count, int Excluded, int Schedules)
{
    /// <summary>Whether fewer will not do.</summary>
    public bool IsLeast => Excluded == Count - 1;

    /// <summary>As the report says it.</summary>
    public override string ToString() => (Count == 1 ? "1 interruption" : $"{Count} interruptions") + this switch
    {
        { Count: 0 } => "",
        { IsLeast: true } => $", the fewest: all {Schedules} schedules with {Excluded} were run",
        { Excluded: >= 0 } => $", perhaps not the fewest: all {Schedules} schedules with {Excluded} were run, not all with {Excluded + 1}",
        _ => ", perhaps not the fewest",
    };
}

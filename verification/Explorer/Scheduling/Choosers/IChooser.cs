namespace Explorer.Scheduling.Choosers;

/// <summary>Decides, in place of the scheduler's own strategies, who goes on and what a choice comes to. One schedule after the other, one call at a time.</summary>
internal interface IChooser
{
    /// <summary>A schedule begins.</summary>
    void Begin();

    /// <summary>Who goes on.</summary>
    /// <param name="tasks">Numbers of the tasks that can, in ascending order; at least two.</param>
    /// <param name="current">Who ran last; one of them, unless it waits or has ended.</param>
    /// <returns>One of <paramref name="tasks"/>.</returns>
    ulong ChooseTask(ReadOnlySpan<ulong> tasks, ulong current);

    /// <summary>One of 0 … <paramref name="count"/>-1, of at least two.</summary>
    int ChooseValue(int count);

    /// <summary>The schedule is over.</summary>
    void End();
}

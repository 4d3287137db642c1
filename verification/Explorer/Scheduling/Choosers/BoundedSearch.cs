using Microsoft.Coyote.Rewriting;

namespace Explorer.Scheduling.Choosers;

/// <summary>
/// All schedules in which at most so many times a task is interrupted that could have gone on: depth first, each once. A task that waits or
/// ends gives way to any other, which is no interruption.
/// </summary>
/// <remarks>
/// <para>The program has to be a function of the choices: one that has other options after the same choices ends the search.</para>
/// <para><b>Source.</b> Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007.</para>
/// </remarks>
/// <param name="preemptions">How many interruptions, 0 ….</param>
[SkipRewriting("Part of the scheduler.")]
public sealed class BoundedSearch(int preemptions) : IChooser
{
    // What was chosen in the schedule before, from its first choice to the last one that has another option.
    private readonly List<(int Chosen, int Options)> _path = [];
    private int _depth;
    private int _interrupted;

    /// <summary>Whether every schedule has been run, or the search cannot go on.</summary>
    public bool IsDone { get; private set; }

    /// <summary>Why it cannot go on; else null.</summary>
    public string? Error { get; private set; }

    void IChooser.Begin()
    {
        _depth = 0;
        _interrupted = 0;
    }

    ulong IChooser.ChooseTask(ReadOnlySpan<ulong> tasks, ulong current)
    {
        int place = tasks.IndexOf(current);
        if (place < 0) return tasks[Next(tasks.Length)];
        if (_interrupted == preemptions) return current;
        // To go on comes first: so the schedules with few interruptions do.
        int option = Next(tasks.Length);
        if (option == 0) return current;
        _interrupted++;
        return tasks[option <= place ? option - 1 : option];
    }

    int IChooser.ChooseValue(int count) => Next(count);

    void IChooser.End()
    {
        while (_path.Count > 0 && _path[^1].Chosen == _path[^1].Options - 1) _path.RemoveAt(_path.Count - 1);
        IsDone = _path.Count == 0 || Error is not null;
        if (!IsDone) _path[^1] = (_path[^1].Chosen + 1, _path[^1].Options);
    }

    private int Next(int options)
    {
        if (_depth == _path.Count) _path.Add((0, options));
        (int chosen, int before) = _path[_depth++];
        if (before == options) return chosen;
        // An exception would end in the scheduler, which takes it for the end of the schedule.
        Error ??= $"choice {_depth} was one of {before} and is one of {options} now: the program does not depend on its choices alone";
        return 0;
    }
}

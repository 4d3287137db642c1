using System.Runtime.InteropServices;
using CsCheck;
using Microsoft.Coyote.Rewriting;

namespace Explorer.Scheduling.Choosers;

/// <summary>
/// Partial-order sampling: each step that a task could take next has a random priority, and the highest goes on. Then its priority, and those of
/// the steps that race with it, are drawn anew. So orders that behave alike do not weigh more for being many.
/// </summary>
/// <remarks>
/// <para>Two steps race if both touch one word and one of them changes it. Of a step that is no access to memory, such as a lock, nothing is known but
/// that it is none: those are taken to race with one another.</para>
/// <para><b>Source.</b> Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling", CAV 2018.</para>
/// </remarks>
/// <param name="seed">Every choice comes from it.</param>
[SkipRewriting("Part of the scheduler.")]
internal sealed class PartialOrderSampling(uint seed) : IChooser
{
    private readonly PCG _random = new(0, seed);
    private readonly Dictionary<ulong, uint> _priorities = [];
    private readonly Dictionary<ulong, PendingAccess> _pending = [];

    /// <inheritdoc/>
    public void Begin()
    {
        _priorities.Clear();
        _pending.Clear();
        PendingAccess.Take();
    }

    /// <inheritdoc/>
    public ulong ChooseTask(ReadOnlySpan<ulong> tasks, ulong current)
    {
        _pending[current] = PendingAccess.Take();
        ulong chosen = tasks[0];
        uint highest = 0;
        foreach (ulong task in tasks)
        {
            ref uint priority = ref CollectionsMarshal.GetValueRefOrAddDefault(_priorities, task, out bool isKnown);
            if (!isKnown) priority = _random.Next();
            if (priority < highest) continue;
            (chosen, highest) = (task, priority);
        }

        PendingAccess step = _pending.GetValueOrDefault(chosen);
        _priorities.Remove(chosen);
        foreach (ulong task in tasks)
        {
            if (task != chosen && step.RacesWith(_pending.GetValueOrDefault(task))) _priorities.Remove(task);
        }

        return chosen;
    }

    /// <inheritdoc/>
    public int ChooseValue(int count) => (int)_random.Next((uint)count);

    /// <inheritdoc/>
    public void End()
    {
    }
}

using System.Collections.Immutable;
using Harness.Operations;
using Harness.Oracles;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>
/// Sets up what the threads of a scenario work on, and judges what they have seen, however they ran: whether it has an order that the model accepts (I10), one
/// after which tables, reservations and frames are as the model says.
/// </summary>
/// <param name="subject">The library on its machine.</param>
/// <param name="counts">Where checks are counted.</param>
public sealed class HistoryJudge(Subject subject, RunCounts counts)
{
    // Nothing that a thread of a history does may run out of memory: how much is free at its call is not known.
    private static readonly Surroundings Plenty = new(ulong.MaxValue);

    /// <inheritdoc cref="ParallelRunner.Recorded"/>
    public Action<World, ImmutableArray<ImmutableArray<HistoryEntry>>>? Recorded { get; init; }

    /// <inheritdoc cref="ParallelRunner.Ordering"/>
    public Action<LawfulOrder>? Ordering { get; init; }

    /// <summary>The world after <see cref="Judge"/> has found nothing: that of the order that the library took, and after the flush at its end.</summary>
    public World? End { get; private set; }

    private RunCounts Counts => counts;

    /// <summary>Does what comes before the threads.</summary>
    /// <param name="scenario">The scenario.</param>
    /// <param name="world">The world in which the threads begin.</param>
    /// <returns>The violation; null: none.</returns>
    public Violation? Begin(Scenario scenario, out World world)
    {
        Setup setup = new() { Flush = scenario.Topology.ToSetup(subject.Machine.Window.First).Flush };
        world = World.Create(subject.Model, scenario.Topology.Devices.Count, setup).With(scenario.Topology.ToCpuModel());
        foreach (Step step in scenario.Steps)
        {
            if (!step.Operation.Uses.All(world.Knows) || !world.IsDefined(step.Operation)) continue;
            Verdict<World> verdict = world.Judge(step.Operation, subject.Do(step.Operation), Plenty);
            if (!verdict.IsAccepted) return Violation.Of(step.ToString(), verdict);
            world = verdict.Next;
        }

        return null;
    }

    /// <summary>Judges what the threads have seen, and what they have left.</summary>
    /// <param name="world">The world in which they began.</param>
    /// <param name="history">What each thread has done.</param>
    /// <returns>The violation; null: none.</returns>
    public Violation? Judge(World world, ImmutableArray<ImmutableArray<HistoryEntry>> history)
    {
        // What was seen before it had a name has one by now.
        history = [.. history.Select(thread => thread.Select(entry => entry with { Seen = subject.Named(entry.Seen) }).ToImmutableArray())];
        Counts.Operations += history.Sum(thread => thread.Length);
        Counts.Check(Invariant.Linearizable);
        foreach (HistoryEntry entry in history.SelectMany(static thread => thread))
            Counts.Reach(entry.Seen.Outcome == Outcome.None ? $"{entry.Operation.GetType().Name} done" : $"{entry.Operation.GetType().Name} refused: {entry.Seen.Outcome}");
        // What is in quarantine then nobody has looked at; after a flush there is nothing.
        Flush? flush = world.Vcms.FirstOrDefault(static vcm => vcm.Value.IsDeferred) is { Value: not null } deferred ? new(deferred.Key) : null;
        Observation? flushed = flush is null ? null : subject.Do(flush) with { Quarantined = subject.QuarantineCount };
        Recorded?.Invoke(world, history);
        return FirstLawful(world, history, flush, flushed);
    }

    /// <summary>Ends everything that is there after <see cref="End"/>, each step judged; every frame must be back.</summary>
    /// <returns>The violation; null: none.</returns>
    public Violation? TakeDown()
    {
        World world = End!;
        subject.NameAll(world);
        foreach (Operation operation in TearDown.Of(world))
        {
            Verdict<World> verdict = world.Judge(operation, subject.Do(operation) with { Quarantined = subject.QuarantineCount }, Plenty);
            if (!verdict.IsAccepted) return Violation.Of(OperationText.Write(operation), verdict);
            world = verdict.Next;
        }

        subject.Driver.Stop();
        Counts.Check(Invariant.Conservation);
        if (subject.Frames.Violation is { } found) return found;
        ulong lost = subject.Frames.TotalBytes - subject.Frames.FreeBytes;
        return lost == 0 ? null : new(Invariant.Conservation, $"{lost} bytes are still handed out after all was taken down", "0");
    }

    private Violation? FirstLawful(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history, Flush? flush, Observation? flushed)
    {
        // Of orders that end otherwise the library took one: what is left agrees with it the longest.
        Violation? left = null;
        (int Oracles, long Checks) longest = (-1, 0);
        int orders = 0;
        foreach (LawfulOrder order in Linearization.OrdersOf(start, history))
        {
            orders++;
            World last = order.End;
            if (flush is not null)
            {
                Verdict<World> verdict = last.Judge(flush, flushed!, Plenty);
                if (!verdict.IsAccepted) return Violation.Of(OperationText.Write(flush), verdict);
                last = verdict.Next;
            }

            long before = Counts.AllChecks;
            var look = new Look(subject, last, Counts, history.Any(static thread => thread.Any(static entry => entry.HardwareFails)));
            Violation? violation = look.FirstViolation();
            (int, long) agreed = (look.Passed, Counts.AllChecks - before);
            if (violation is null)
            {
                left = null;
                End = last;
                Ordering?.Invoke(order);
                break;
            }

            if (agreed.CompareTo(longest) <= 0) continue;
            (left, longest) = (violation, agreed);
        }

        if (orders > 1) Counts.Reach("more than one order was tried");
        if (history.Any(thread => thread.Any(entry => history.Any(other => other != thread && other.Any(o => o.Begun < entry.Ended && entry.Begun < o.Ended)))))
            Counts.Reach("operations overlapped");
        if (orders != 0) return left;
        string seen = string.Join("; ", history.Select((thread, i) => $"thread {i}: {string.Join(", ", thread.Select(entry => $"{OperationText.Write(entry.Operation)} = {entry.Seen}"))}"));
        return new(Invariant.Linearizable, seen, "a history that has an order which the model accepts");
    }
}

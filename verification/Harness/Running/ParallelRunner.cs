using System.Collections.Immutable;
using Harness.Foreign;
using Harness.Operations;
using Harness.Oracles;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>An operation of a concurrent history.</summary>
/// <param name="Operation">What was called.</param>
/// <param name="Seen">What it came to.</param>
/// <param name="Begun">When it was called, counted in calls and returns.</param>
/// <param name="Ended">When it returned.</param>
public readonly record struct HistoryEntry(Operation Operation, Observation Seen, int Begun, int Ended);

/// <summary>
/// Runs the threads of a scenario at once, on real threads, and asks whether what they saw has an order that the model
/// accepts (I10), one after which tables, reservations and frames are as the model says.
/// </summary>
public sealed class ParallelRunner(IBench bench, SubjectParts parts)
{
    // Nothing that a thread of a history does may run out of memory: how much is free at its call is not known.
    private static readonly Surroundings Plenty = new(ulong.MaxValue);

    // A core is slow only while its thread does not run.
    private const int MostSpins = 1_000_000_000;

    /// <summary>What has run so far.</summary>
    public RunCounts Counts { get; } = new();

    /// <summary>Told of each history, before it is searched: the world in which it began, and what each thread did.</summary>
    public Action<World, ImmutableArray<ImmutableArray<HistoryEntry>>>? Recorded { get; init; }

    /// <summary>Told of each history that has an order which the model accepts and that what is left agrees with.</summary>
    public Action<LawfulOrder>? Ordering { get; init; }

    /// <summary>Runs a scenario with threads.</summary>
    /// <returns>The violation; null: none.</returns>
    public Violation? Run(Scenario scenario)
    {
        IVtdMachine machine = bench.Open(scenario.Topology);
        Subject? subject = null;
        try
        {
            subject = new(machine, scenario.Topology, parts);
            if (subject.Cpus is { } cpus) cpus.MostSpins = MostSpins;
            Setup setup = new() { Flush = scenario.Topology.ToSetup(machine.Window.First).Flush };
            World world = World.Create(subject.Model, scenario.Topology.Devices.Count, setup).With(scenario.Topology.ToCpuModel());
            foreach (Step step in scenario.Steps)
            {
                if (!step.Operation.Uses.All(world.Knows) || !world.IsDefined(step.Operation)) continue;
                Verdict<World> verdict = world.Judge(step.Operation, subject.Do(step.Operation), Plenty);
                if (!verdict.IsAccepted) return Violation.Of(step.ToString(), verdict);
                world = verdict.Next;
            }

            ImmutableArray<ImmutableArray<HistoryEntry>> history = RunThreads(subject, scenario.Threads);
            Counts.Operations += history.Sum(thread => thread.Length);
            Counts.Check(Invariant.Linearizable);
            foreach (HistoryEntry entry in history.SelectMany(static thread => thread))
                Counts.Reach(entry.Seen.Outcome == Outcome.None ? $"{entry.Operation.GetType().Name} done" : $"{entry.Operation.GetType().Name} refused: {entry.Seen.Outcome}");
            // What is in quarantine then nobody has looked at; after a flush there is nothing.
            Flush? flush = world.Vcms.FirstOrDefault(static vcm => vcm.Value.IsDeferred) is { Value: not null } deferred ? new(deferred.Key) : null;
            Observation? flushed = flush is null ? null : subject.Do(flush) with { Quarantined = subject.QuarantineCount };
            Recorded?.Invoke(world, history);
            return FirstLawful(subject, world, history, flush, flushed);
        }
        finally
        {
            bench.Close(machine, subject?.Touched ?? [], isClean: false);
        }
    }

    private static ImmutableArray<ImmutableArray<HistoryEntry>> RunThreads(Subject subject, ImmutableArray<ImmutableArray<Step>> threads)
    {
        int clock = 0;
        using var start = new Barrier(threads.Length);
        Task<ImmutableArray<HistoryEntry>>[] running = [.. threads.Select(steps => Task.Factory.StartNew(
            () =>
            {
                var entries = ImmutableArray.CreateBuilder<HistoryEntry>();
                start.SignalAndWait();
                foreach (Step step in steps)
                {
                    int begun = Interlocked.Increment(ref clock);
                    Observation? seen = subject.TryDo(step.Operation);
                    int ended = Interlocked.Increment(ref clock);
                    if (seen is not null) entries.Add(new(step.Operation, seen, begun, ended));
                }

                return entries.ToImmutable();
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default))];
        return [.. running.Select(task => task.GetAwaiter().GetResult())];
    }

    private Violation? FirstLawful(Subject subject, World start, ImmutableArray<ImmutableArray<HistoryEntry>> history, Flush? flush, Observation? flushed)
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
            var look = new Look(subject, last, Counts, hardwareHasFailed: false);
            Violation? violation = look.FirstViolation();
            (int, long) agreed = (look.Passed, Counts.AllChecks - before);
            if (violation is null)
            {
                left = null;
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

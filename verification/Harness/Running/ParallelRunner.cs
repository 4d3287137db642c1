using System.Collections.Immutable;
using Harness.Foreign;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>An operation of a concurrent history.</summary>
/// <param name="Operation">What was called.</param>
/// <param name="Seen">What it came to.</param>
/// <param name="Begun">When it was called, counted in calls and returns.</param>
/// <param name="Ended">When it returned.</param>
public readonly record struct HistoryEntry(Operation Operation, Observation Seen, int Begun, int Ended)
{
    /// <summary>Whether an allocation of it was made to fail.</summary>
    public bool MemoryFails { get; init; }

    /// <summary>Whether the hardware was made to say nothing to it.</summary>
    public bool HardwareFails { get; init; }

    /// <summary>What the library had to work with: where nothing was made to fail, as much memory as it wants.</summary>
    public Surroundings Surroundings => new(ulong.MaxValue, MemoryFails, HardwareFails);
}

/// <summary>
/// Runs the threads of a scenario at once, on real threads, and asks whether what they saw has an order that the model
/// accepts (I10), one after which tables, reservations and frames are as the model says.
/// </summary>
public sealed class ParallelRunner(IBench bench, SubjectParts parts)
{
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
            if (subject.Cpus is SimulatedCpus cpus) cpus.MostSpins = MostSpins;
            HistoryJudge judge = new(subject, Counts) { Recorded = Recorded, Ordering = Ordering };
            if (judge.Begin(scenario, out World world) is { } violation) return violation;
            ImmutableArray<ImmutableArray<HistoryEntry>> history = RunThreads(subject, scenario.Threads);
            return judge.Judge(world, history);
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
}

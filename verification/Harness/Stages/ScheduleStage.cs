using System.Globalization;
using Harness.Failures;
using Harness.Schedules;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>
/// Explores the interleavings of the concurrent scenarios under a scheduler that decides every step. The scheduler needs
/// assemblies rewritten for it, so a worker process does it: one for each processor, each with rounds of its own.
/// </summary>
/// <param name="worker">The worker's assembly in its folder of rewritten ones: <c>controlled/explorer.dll</c>.</param>
public sealed class ScheduleStage(string worker) : IStage, IReplayer
{
    private static readonly TimeSpan Pulse = TimeSpan.FromMilliseconds(100);

    // A worker ends after the schedule that it is in. One that does not is broken, and what the others said still counts.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    /// <inheritdoc cref="IStage.Name"/>
    public string Name => "schedules";

    /// <inheritdoc cref="IStage.Missing"/>
    public string? Missing => File.Exists(worker)
        ? null
        : $"the schedule explorer is not at {worker}; dotnet build verification/Explorer -c Release makes it";

    /// <summary>The scenario to explore; <c>all</c>: each that is written as code in each round, and beside them one of the scripts and a generated one; <c>code</c>, <c>scripts</c>, <c>generated</c>: those alone.</summary>
    public string Scenario { get; init; } = "all";

    /// <summary>What is wrong on purpose, to see it found; <c>none</c> for the library as it is.</summary>
    public string Fault { get; init; } = "none";

    /// <summary>How many workers run beside each other; 1 … 64.</summary>
    public int Workers { get; init; } = Math.Min(Environment.ProcessorCount, 64);

    /// <summary>Explores until the budget is spent or every scenario has failed.</summary>
    /// <exception cref="BadInputException">The scenario or the fault does not exist.</exception>
    /// <exception cref="InvalidOperationException">A worker broke down.</exception>
    public StageReport Run(StageContext context)
    {
        long begun = context.Time.GetTimestamp();
        var tally = new ScheduleTally();
        using var workers = new ScheduleWorkers();
        for (int i = 0; i < Workers; i++)
        {
            workers.Start(worker,
            [
                "explore", "--seed", $"{context.Seed}", "--scenario", Scenario, "--fault", Fault,
                "--first-round", $"{i}", "--round-step", $"{Workers}", "--processor", $"{i % Environment.ProcessorCount}",
            ]);
        }

        long? closed = null;
        while (workers.TryTake(Pulse, out WorkerMessage? message))
        {
            if (message is not null) tally.Add(message);
            TimeSpan elapsed = context.Time.GetElapsedTime(begun);
            context.Progress(new(Math.Min(1, elapsed / context.Budget), tally.Describe(elapsed)));
            if (closed is { } since)
            {
                if (context.Time.GetElapsedTime(since) > Grace) break;
            }
            else if (elapsed >= context.Budget || context.Stop.IsCancellationRequested)
            {
                closed = context.Time.GetTimestamp();
                workers.CloseInputs();
            }
        }

        return new()
        {
            Name = Name,
            Elapsed = context.Time.GetElapsedTime(begun),
            Ran = [("schedules", tally.Schedules), ("steps", tally.Steps), ("behaviours", tally.Behaviours)],
            Checks = tally.Checks,
            Failures = tally.Failures,
        };
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, file.ToString());
            using var workers = new ScheduleWorkers();
            workers.Start(worker, ["replay", path]);
            var tally = new ScheduleTally();
            bool answered = false;
            while (workers.TryTake(Pulse, out WorkerMessage? message))
            {
                if (message is null) continue;
                answered = true;
                tally.Add(message);
            }

            if (!answered) throw new InvalidOperationException("the worker did not say what the schedule does");
            return tally.Failures.SingleOrDefault();
        }
        finally
        {
            File.Delete(path);
        }
    }
}

/// <summary>Adds up what workers say.</summary>
internal sealed class ScheduleTally
{
    private readonly Dictionary<Invariant, long> _checks = [];
    private readonly SortedDictionary<string, FailureMessage> _failures = new(StringComparer.Ordinal);
    private readonly HashSet<(string Scenario, ulong Behaviour)> _behaviours = [];
    private string _latest = "starting";

    public long Schedules { get; private set; }

    public long Steps { get; private set; }

    /// <summary>Ways to behave, of all scenarios, that workers came to; what several did is one.</summary>
    public int Behaviours => _behaviours.Count;

    public IReadOnlyDictionary<Invariant, long> Checks => _checks;

    public IReadOnlyList<StageFailure> Failures => [.. _failures.Values.Select(failure =>
        new StageFailure(failure.Invariant, $"{failure.Scenario}: {failure.Observed}; expected: {failure.Expected}", failure.Report, failure.File))];

    /// <exception cref="BadInputException">The worker refused what it was asked.</exception>
    public void Add(WorkerMessage message)
    {
        switch (message)
        {
            case RefusedMessage refused:
                throw new BadInputException(refused.Reason);
            case RoundMessage round:
                Schedules += round.Schedules;
                Steps += round.Steps;
                foreach (ulong behaviour in round.Behaviours) _behaviours.Add((round.Scenario, behaviour));
                _latest = $"{round.Scenario}, {round.Strategy}";
                foreach ((Invariant invariant, long count) in round.Checks) _checks[invariant] = _checks.GetValueOrDefault(invariant) + count;
                break;
            case FailureMessage failure:
                // Several workers may find the same; the earliest round is the one that does not depend on their speed.
                if (!_failures.TryGetValue(failure.Scenario, out FailureMessage? known) || failure.Round < known.Round)
                    _failures[failure.Scenario] = failure;
                break;
        }
    }

    /// <param name="elapsed">Since the workers were started.</param>
    public string Describe(TimeSpan elapsed) => string.Create(
        CultureInfo.InvariantCulture,
        $"{Schedules:N0} schedules, {Schedules / Math.Max(1, elapsed.TotalSeconds):N0} a second, {Behaviours:N0} behaviours, {_failures.Count} failed ({_latest})");
}

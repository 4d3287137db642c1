using System.Diagnostics;

namespace Harness.Schedules;

/// <summary>
/// Explores the interleavings of concurrent scenarios. The scheduler needs assemblies rewritten for it, so worker processes do it, each with rounds
/// of its own; what they say is added up.
/// </summary>
public static class ScheduleHunt
{
    private static readonly Dictionary<string, string> NoVariables = [];

    private static readonly TimeSpan Pulse = TimeSpan.FromMilliseconds(100);

    // A worker ends after the schedule that it is in. One that does not is broken, and what the others said still counts.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    /// <summary>How many failures are run again to be shown in full: nobody reads more at once.</summary>
    public const int MostExplained = 10;

    /// <summary>Null if the worker is there; otherwise one line: what is missing and how to get it.</summary>
    /// <param name="worker">The worker's assembly in its folder of rewritten ones.</param>
    public static string? MissingOf(string worker) => File.Exists(worker)
        ? null
        : $"the schedule explorer is not at {worker}; dotnet build verification/Explorer -c Release makes it";

    /// <inheritdoc cref="ScheduleWorkers.StartMeasuring"/>
    public static Process StartMeasuring(string worker, string what, int number) => ScheduleWorkers.StartMeasuring(worker, what, number);

    /// <summary>Explores until the budget is spent, the schedules have run, every scenario has failed, or the user stops it.</summary>
    /// <param name="worker">The worker's assembly in its folder of rewritten ones.</param>
    /// <param name="request">What.</param>
    /// <param name="time">The clock by which the budget is measured.</param>
    /// <param name="progress">Told several times a second what there is so far, and since when; called on this thread.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <returns>What there is. If something broke down, <see cref="ScheduleTally.Problem"/> says what.</returns>
    /// <exception cref="BadInputException">The scenario, the fault or a strategy does not exist.</exception>
    public static ScheduleTally Run(string worker, ScheduleRequest request, TimeProvider time, Action<ScheduleTally, TimeSpan> progress, CancellationToken stop)
    {
        long begun = time.GetTimestamp();
        var tally = new ScheduleTally();
        using var workers = new ScheduleWorkers();
        for (int i = 0; i < request.Workers; i++)
        {
            if (request.ArgumentsOf(i) is { } arguments) workers.Start(worker, arguments, request.Environment);
        }

        long? closed = null;
        while (TryTake(workers, tally, out WorkerMessage? message))
        {
            if (message is not null) tally.Add(message);
            TimeSpan elapsed = time.GetElapsedTime(begun);
            progress(tally, elapsed);
            if (closed is { } since)
            {
                if (time.GetElapsedTime(since) > Grace) break;
            }
            else if (elapsed >= request.Budget || stop.IsCancellationRequested || tally.Problem is not null || (request.StopsAtFailure && tally.Failures.Count != 0))
            {
                closed = time.GetTimestamp();
                workers.CloseInputs();
            }
        }

        if (!request.IsBrief) Explain(worker, request, tally, stop);
        return tally;
    }

    /// <summary>Runs a failure again, in a process of its own.</summary>
    /// <param name="worker">The worker's assembly in its folder of rewritten ones.</param>
    /// <param name="file">The text of the failure file.</param>
    /// <param name="whole">Whether the report shows steps that do not matter, too.</param>
    /// <param name="withPage">Whether to make a page for a browser, too.</param>
    /// <returns>What fails; null if nothing does.</returns>
    /// <exception cref="BadInputException">The file cannot be used.</exception>
    /// <exception cref="InvalidOperationException">The worker broke down.</exception>
    internal static FailureMessage? Replay(string worker, string file, bool whole, bool withPage) => Replay(worker, file, whole, withPage, NoVariables);

    private static FailureMessage? Replay(string worker, string file, bool whole, bool withPage, IReadOnlyDictionary<string, string> environment)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, file);
            List<string> arguments = ["replay", path];
            if (whole) arguments.Add("--all");
            if (withPage) arguments.Add("--page");
            IReadOnlyList<WorkerMessage> said = Ask(worker, environment, [.. arguments]);
            return said.Count != 0 ? said.OfType<FailureMessage>().FirstOrDefault() : throw new InvalidOperationException("the worker did not say what the schedule does");
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>
    /// A failure is shown as it looks when it is run again: with the state of its pages, which nobody looks at while schedules are explored. So it is seen, too,
    /// that it can be run again, elsewhere.
    /// </summary>
    private static void Explain(string worker, ScheduleRequest request, ScheduleTally tally, CancellationToken stop)
    {
        try
        {
            tally.Explain(MostExplained, file => stop.IsCancellationRequested
                ? null
                : Replay(worker, file, whole: false, withPage: false, request.Environment)?.Report ?? throw new InvalidOperationException("a failing schedule fails no more when it is run again"));
        }
        catch (Exception e) when (e is InvalidOperationException or BadInputException)
        {
            tally.Break(e.Message);
        }
    }

    /// <summary>Asks a worker one thing, and gives what it says.</summary>
    /// <exception cref="BadInputException">It refuses.</exception>
    /// <exception cref="InvalidOperationException">It broke down.</exception>
    internal static IReadOnlyList<WorkerMessage> Ask(string worker, params string[] arguments) => Ask(worker, NoVariables, arguments);

    private static IReadOnlyList<WorkerMessage> Ask(string worker, IReadOnlyDictionary<string, string> environment, string[] arguments)
    {
        using var workers = new ScheduleWorkers();
        workers.Start(worker, arguments, environment, isSlow: true);
        var said = new List<WorkerMessage>();
        while (workers.TryTake(Pulse, out WorkerMessage? message))
        {
            if (message is RefusedMessage refused) throw new BadInputException(refused.Reason);
            if (message is UnsoundMessage unsound) throw new InvalidOperationException(unsound.Reason);
            if (message is not null) said.Add(message);
        }

        return said;
    }

    /// <summary>What there is to explore.</summary>
    /// <param name="worker">The worker's assembly in its folder of rewritten ones.</param>
    /// <exception cref="InvalidOperationException">The worker broke down.</exception>
    public static CatalogueMessage Catalogue(string worker) =>
        Ask(worker, "list").OfType<CatalogueMessage>().FirstOrDefault() ?? throw new InvalidOperationException("the worker did not say what there is");

    private static bool TryTake(ScheduleWorkers workers, ScheduleTally tally, out WorkerMessage? message)
    {
        try
        {
            return workers.TryTake(Pulse, out message);
        }
        catch (InvalidOperationException e)
        {
            // What was said before that stays said.
            tally.Break(e.Message);
            message = null;
            return false;
        }
    }
}

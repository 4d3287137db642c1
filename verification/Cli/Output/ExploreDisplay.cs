using Harness.Schedules;

namespace Verify.Output;

/// <summary>Shows an exploration while it runs: how far it is, where a person watches, and each failure in one line when it is found.</summary>
internal sealed class ExploreDisplay
{
    private const string EraseLine = "\r\u001b[K";
    private static readonly TimeSpan Beat = TimeSpan.FromMilliseconds(200);
    private readonly ScheduleRequest _request;
    private readonly Surroundings _here;
    private readonly HashSet<string> _told = [];
    private TimeSpan _next;

    /// <summary>Says what is going to be explored.</summary>
    public ExploreDisplay(ScheduleRequest request, Surroundings here)
    {
        _request = request;
        _here = here;
        string fault = request.Fault == "none" ? "" : $", planted {Line.Of(request.Fault)}";
        here.Out.WriteLine($"{Limits(request)} of {Line.Of(request.Scenario)}{fault}, {Line.Count(request.Workers, "worker")}, seed {request.Seed}{RunTable.MutedText(request.Muted)}");
        here.Out.Flush();
    }

    /// <summary>How long it goes on, in words.</summary>
    public static string Limits(ScheduleRequest request) => (request.Budget, request.Schedules) switch
    {
        ({ } budget, null) => Line.Seconds(budget),
        (null, { } schedules) => Line.Count(schedules, "schedule"),
        ({ } budget, { } schedules) => $"{Line.Count(schedules, "schedule")} or {Line.Seconds(budget)}",
        _ => "all",
    };

    /// <summary>It is so far.</summary>
    public void Show(ScheduleTally tally, TimeSpan elapsed)
    {
        bool isNews = false;
        foreach (FoundSchedule found in tally.Failures)
        {
            if (!_told.Add($"{found.Scenario} {found.Failure.Invariant}")) continue;
            isNews = true;
            if (_here.Terminal) _here.Out.Write(EraseLine);
            _here.Out.WriteLine($"{found.Scenario}: {ExploreTable.Found(found)}");
        }

        if (_here.Terminal && (isNews || elapsed >= _next))
        {
            _next = elapsed + Beat;
            double done = Math.Max(
                _request.Budget is { } budget ? elapsed / budget : 0,
                _request.Schedules is { } schedules ? tally.Schedules / (double)schedules : 0);
            string line = FormattableString.Invariant($"{Math.Min(1, done) * 100,3:0}% {tally.Describe(elapsed)}");
            // A longer one would go on in the next row, from which it could not be erased.
            _here.Out.Write(EraseLine + line[..Math.Min(line.Length, Math.Max(1, _here.WidthColumns - 1))]);
        }

        _here.Out.Flush();
    }

    /// <summary>It is over.</summary>
    public void End()
    {
        if (_here.Terminal) _here.Out.Write(EraseLine);
    }
}

using System.Text.RegularExpressions;
using Explorer.Replaying;
using Explorer.Scheduling;
using Platform;

namespace Explorer.Reporting;

/// <summary>A schedule as it is shown: who did what, step by step, and how the pages concerned stood.</summary>
/// <param name="SetUp">What was done before the agents began, a call a line.</param>
/// <param name="Agents">The lanes, in their order.</param>
/// <param name="Rows">What the agents did, numbered from 1.</param>
/// <param name="AtRest">What was done and found after they had ended.</param>
/// <param name="Pages">The pages whose states are shown, in words; none if nobody looked on.</param>
public sealed partial record Picture(
    IReadOnlyList<string> SetUp, IReadOnlyList<string> Agents, IReadOnlyList<PictureRow> Rows, IReadOnlyList<string> AtRest, IReadOnlyList<string> Pages)
{
    private const int MostPages = 2;

    /// <summary>Whether somebody looked on when it ran, so that states and statements are known.</summary>
    public bool IsWatched => Rows.Any(static row => row.States.Count != 0 || row.Source is not null);

    /// <summary>The pages concerned: those that the violation names, else those that are accessed.</summary>
    /// <param name="violation">What is broken.</param>
    /// <param name="accessed">Which pages are accessed, by whom, the first first.</param>
    public static IReadOnlyList<WatchedPage> PagesOf(Violation violation, IReadOnlyList<WatchedPage> accessed)
    {
        HashSet<string> named = [.. Address().Matches($"{violation.Observed} {violation.Expected}").Select(static match => match.Value)];
        WatchedPage[] pages = [.. accessed.Where(each => named.Contains($"{each.Page}"))];
        WatchedPage[] theirs = [.. pages.Where(each => named.Contains($"{each.Id}"))];
        return [.. (theirs.Length != 0 ? theirs : pages.Length != 0 ? pages : accessed).Take(MostPages)];
    }

    /// <summary>The picture of a schedule.</summary>
    /// <param name="events">All that was recorded.</param>
    /// <param name="pages">The pages that were watched.</param>
    /// <param name="sights">What was seen at each event, or nothing.</param>
    public static Picture Of(IReadOnlyList<ScheduleEvent> events, IReadOnlyList<WatchedPage> pages, IReadOnlyList<Sight> sights)
    {
        var words = new EventWords(events);
        int begin = 0, end = events.Count;
        while (begin < end && events[begin].Agent == Attempt.SetUpAgent) begin++;
        while (end > begin && events[end - 1].Agent == Attempt.SetUpAgent) end--;
        var rows = new List<PictureRow>();
        string[] before = [.. pages.Select(static _ => "")];
        for (int i = begin; i < end; i++)
        {
            ScheduleEvent e = events[i];
            Sight? sight = i < sights.Count ? sights[i] : null;
            string[] states = [.. (sight?.States ?? []).Select(static state => $"{state}")];
            bool[] changed = [.. states.Select((state, page) => state != before[page])];
            if (states.Length != 0) before = states;
            rows.Add(new(
                rows.Count + 1, e.Agent, words.Of(e) ?? EventWords.Plain(e), words.Of(e) is not null || changed.Contains(true), e.Kind == EventKind.Violation,
                sight?.Source, states, changed));
        }

        return new(
            [.. events.Take(begin).Select(words.Of).OfType<string>()],
            [.. rows.Select(static row => row.Agent).Distinct().OrderBy(Lanes.OrderOf).ThenBy(static agent => agent, StringComparer.Ordinal)],
            rows,
            [.. events.Skip(end).Select(words.Of).OfType<string>()],
            [.. pages.Select(static page => $"{page.Page} for {page.Id}")]);
    }

    [GeneratedRegex("(iova|sid):0x[0-9a-f]+")]
    private static partial Regex Address();
}

/// <summary>A step of an agent.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Agent">Who.</param>
/// <param name="Text">What, in words.</param>
/// <param name="Matters">Whether it is shown where the others are folded.</param>
/// <param name="IsViolation">Whether an invariant is broken here.</param>
/// <param name="Source">The statement that made it; null if none is known.</param>
/// <param name="States">How each page stood when the step was noted.</param>
/// <param name="Changed">Which of them stood otherwise in the row before.</param>
public sealed record PictureRow(
    int Number, string Agent, string Text, bool Matters, bool IsViolation, string? Source, IReadOnlyList<string> States, IReadOnlyList<bool> Changed);

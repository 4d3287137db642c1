using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Replaying;

/// <summary>A page as somebody has it.</summary>
/// <param name="Id">Who, as the ledger knows him.</param>
/// <param name="Page">The first address of the page.</param>
public readonly record struct WatchedPage(StreamId Id, Iova Page);

/// <summary>What was seen when an event was noted.</summary>
/// <param name="Source">The statement that made it, as <c>PageTable.cs:120</c>; null if none is known.</param>
/// <param name="States">How each watched page stood.</param>
public sealed record Sight(string? Source, IReadOnlyList<PageState> States);

/// <summary>Which pages are accessed in a schedule.</summary>
[SkipRewriting("Looking on must not add steps to the schedule.")]
internal sealed class AccessWatcher : IScheduleWatcher
{
    private readonly List<WatchedPage> _pages = [];

    /// <summary>Each page, in the order in which it was first accessed.</summary>
    public IReadOnlyList<WatchedPage> Pages => _pages;

    public void Begin(IPageStates machine)
    {
    }

    public void Accesses(StreamId id, Iova page)
    {
        if (!_pages.Contains(new(id, page))) _pages.Add(new(id, page));
    }

    public void Noted(string agent)
    {
    }
}

/// <summary>How pages stand, and which statement made it, at each event of a schedule.</summary>
/// <param name="pages">Which pages.</param>
[SkipRewriting("Looking on must not add steps to the schedule.")]
internal sealed class PageWatcher(IReadOnlyList<WatchedPage> pages) : IScheduleWatcher
{
    private readonly List<Sight> _sights = [];
    private IPageStates? _machine;

    /// <summary>One for each event.</summary>
    public IReadOnlyList<Sight> Sights => _sights;

    public void Begin(IPageStates machine) => _machine = machine;

    public void Accesses(StreamId id, Iova page)
    {
    }

    public void Noted(string agent) => _sights.Add(agent == Attempt.SetUpAgent || _machine is null
        ? new(null, [])
        : new(SourceLines.OfCaller(), [.. pages.Select(page => _machine.Of(page.Id, page.Page))]));
}

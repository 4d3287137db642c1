using Platform;
using Vcmm;
using Access = Vcmm.Access;

namespace Explorer.Oracles;

// Accesses that wait for a page. Each request is told to one hook. What waits goes on if a hook says so, and not before; it fails if a hook says so, or its
// address space has ended. None waits on when a dispatch that began after it asked has returned, but what another dispatch has by then; nor when its address space is gone.
public sealed partial class Ledger
{
    private readonly List<PageRequest> _requests = [];
    private readonly List<Dispatch> _dispatches = [];
    private readonly Dictionary<(StreamId Space, Iova Page, Access Kind), AnswerCount> _answers = [];

    /// <summary>Whether the hardware may have been told something that it did not hear: what was answered is then answered again, and the device may take that for another answer.</summary>
    public Func<bool> MayRepeatAnswers { get; init; } = static () => false;

    /// <summary>Whether an access waits that no dispatch has had to answer yet.</summary>
    public bool HasUnanswered => _requests.Exists(static request => !request.IsDue && request.IsOpen);

    /// <summary>Whether an access waits that no hook was told of, and no dispatch has had to answer yet.</summary>
    public bool HasUntold => _requests.Exists(static request => !request.IsDue && !request.IsTold && request.IsOpen);

    /// <summary>The hardware has put a request for a page into its queue.</summary>
    /// <param name="window">The access that waits for it.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteAsked(DeviceAccessWindow window)
    {
        var wrong = GoesOn(window, "asks for its page again");
        window.HasWaited = true;
        window.Request = new(window, ++_clock);
        _requests.Add(window.Request);
        return wrong;
    }

    /// <summary>The access has stalled, and its device knows it.</summary>
    /// <param name="window">The access.</param>
    /// <param name="isOver">Whether it is over by now.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteStalled(DeviceAccessWindow window, Func<bool> isOver)
    {
        window.IsOver = isOver;
        return window.Request is { } request ? WhyWaits(request) : null;
    }

    /// <summary>Bytes of an access move. If it has waited, a hook said so.</summary>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteMoved(DeviceAccessWindow window)
    {
        var wrong = GoesOn(window, "goes on");
        window.Request = null;
        return wrong;
    }

    /// <summary>An access of a device that asks for pages has failed.</summary>
    /// <param name="window">The access.</param>
    /// <param name="hasHook">Whether its device had a hook all the while.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteRefused(DeviceAccessWindow window, bool hasHook)
    {
        // In an address space that may not be there nothing waits.
        if ((window.Causes & Vcmm.Spec.FaultCauses.NotAttached) != 0) return null;
        if (window.Request is null) return ($"{window} has failed at once", "it waits for its page");
        AnswerCount count = CountOf(window);
        return ++count.Failed <= count.Refused || !hasHook || MayRepeatAnswers() ? null : ($"{window} has failed; it was not refused, and its address space is there", "it waits, or is tried again");
    }

    /// <summary>A hook is told of an access that waits.</summary>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? BeginTelling(StreamId space, Iova page, Access kind)
    {
        PageRequest[] alike = [.. _requests.Where(one => one.Window.Device == space && one.Window.Page == page && one.Window.Kind == kind)];
        // What was taken before its address space ended is told all the same; that may be any of those that are over.
        PageRequest? request = Array.Find(alike, static one => !one.IsTold && one.IsOpen) ?? Array.Find(alike, static one => !one.IsTold);
        if (request is null) return ($"a hook was told that a {kind} of {space} at {page} waits", $"{alike.Length} such requests, each told once");
        request.IsTold = true;
        return null;
    }

    /// <summary>It has answered.</summary>
    public void EndTelling(StreamId space, Iova page, Access kind, bool isRetried)
    {
        AnswerCount count = CountOf((space, page, kind));
        if (isRetried) count.Retried++;
        else count.Refused++;
    }

    /// <summary>A dispatch begins.</summary>
    /// <returns>What <see cref="EndDispatch"/> is given.</returns>
    public Dispatch BeginDispatch()
    {
        var dispatch = new Dispatch(++_clock);
        _dispatches.Add(dispatch);
        return dispatch;
    }

    /// <summary>Whether more than one dispatch is under way.</summary>
    public bool AreDispatchesBeside => _dispatches.Count > 1;

    /// <summary>It has returned.</summary>
    /// <param name="dispatch">Which.</param>
    /// <param name="owes">Whether the hardware may not have heard its answers: the next dispatch sends them again.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? EndDispatch(Dispatch dispatch, bool owes)
    {
        _dispatches.Remove(dispatch);
        (string, string)? wrong = null;
        foreach (PageRequest request in _requests)
        {
            if (request.Suspects.Remove(dispatch) && owes && !request.IsOfEnded) request.IsDue = false;
            if (owes) continue;
            if (!request.IsDue && request.Asked < dispatch.Begun)
            {
                // Whoever dispatches beside may have it.
                request.IsDue = true;
                request.Suspects.UnionWith(_dispatches);
            }

            wrong ??= WhyWaits(request);
        }

        return wrong;
    }

    /// <summary>A detach has returned: what waited in the address space is over, unless the device has it again.</summary>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? EndSpace(StreamId space)
    {
        if (MayReachAnything(space)) return null;
        (string, string)? wrong = null;
        foreach (PageRequest request in _requests.Where(request => request.Window.Device == space && request.IsOpen))
        {
            request.IsDue = true;
            request.IsOfEnded = true;
            request.Suspects.Clear();
            wrong ??= WhyWaits(request);
        }

        return wrong;
    }

    private (string, string)? WhyWaits(PageRequest request)
    {
        if (!request.IsDue || request.Suspects.Count != 0 || !request.IsOpen) return null;
        // A detach that is under way answers it.
        if (!request.IsOfEnded && MayBeInactive(request.Window.Device)) return null;
        // Else it is asked once its device knows that it has stalled.
        if (request.Window.IsOver is not { } isOver || isOver()) return null;
        return request.IsOfEnded
            ? ($"{request.Window} still waits; its address space has ended", "the end of an address space ends what waits in it")
            : ($"{request.Window} still waits; all requests have been dispatched that were there", "what is told is answered");
    }

    /// <summary>An access goes on that may have waited.</summary>
    private (string, string)? GoesOn(DeviceAccessWindow window, string how)
    {
        if (window.Request is null) return null;
        AnswerCount count = CountOf(window);
        return ++count.WentOn <= count.Retried || MayRepeatAnswers() ? null : ($"{window} {how}; no hook has said that it is to be tried again", "it waits until it is answered");
    }

    private AnswerCount CountOf(DeviceAccessWindow window) => CountOf((window.Device, window.Page, window.Kind));

    private AnswerCount CountOf((StreamId, Iova, Access) key)
    {
        if (!_answers.TryGetValue(key, out AnswerCount? count)) _answers[key] = count = new();
        return count;
    }

    /// <summary>A dispatch that is under way.</summary>
    public sealed class Dispatch
    {
        internal Dispatch(int begun) => Begun = begun;

        internal int Begun { get; }
    }

    /// <summary>What was answered to accesses that are alike, and what became of them.</summary>
    private sealed class AnswerCount
    {
        public int Retried { get; set; }

        public int Refused { get; set; }

        public int WentOn { get; set; }

        public int Failed { get; set; }
    }
}

/// <summary>A request for a page, from the instant at which it is in the hardware's queue.</summary>
internal sealed class PageRequest(DeviceAccessWindow window, int asked)
{
    public DeviceAccessWindow Window => window;

    public int Asked => asked;

    /// <summary>Whether a hook was told of it.</summary>
    public bool IsTold { get; set; }

    /// <summary>Whether a dispatch that began after it has returned, or its address space has ended: then it is answered, but for what the suspects have.</summary>
    public bool IsDue { get; set; }

    /// <summary>Whether its address space has ended.</summary>
    public bool IsOfEnded { get; set; }

    /// <summary>Dispatches under way that may have it.</summary>
    public HashSet<Ledger.Dispatch> Suspects { get; } = [];

    /// <summary>Whether the access has come no further, as far as can be seen.</summary>
    public bool IsOpen => window.Request == this;
}

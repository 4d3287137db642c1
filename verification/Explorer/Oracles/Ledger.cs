using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Access = Vcmm.Access;

namespace Explorer.Oracles;

/// <summary>What a page of a region is mapped to.</summary>
public readonly record struct Target(PhysAddr Frame, Access Access);

/// <summary>
/// What devices may see at each instant: per page the translation in force, and the outcome of each operation that has begun
/// and not returned. An access may find any of these and nothing else.
/// </summary>
/// <remarks>
/// The scenario tells it when an operation begins and when it returns; the machine asks it at the instant at which a device's
/// bytes move. Not rewritten: keeping the books must not add steps.
/// </remarks>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
public sealed partial class Ledger
{
    /// <summary>Devices are allowed whole pages.</summary>
    public const ulong PageBytes = 4096;

    private readonly Dictionary<(Vcm, Iova), History> _pages = [];
    private readonly Dictionary<(StreamId, Vcm), Register<bool>> _associations = [];
    private readonly List<DeviceAccessWindow> _windows = [];
    private int _clock;

    /// <summary>The mapping in force, for the end of a run when nothing is under way.</summary>
    public IReadOnlyDictionary<Iova, Target> MappingOf(Vcm vcm) => _pages
        .Where(page => page.Key.Item1 == vcm && page.Value.Frame.Last is not null)
        .ToDictionary(page => page.Key.Item2, page => new Target(page.Value.Frame.Last!.Value, page.Value.Access.Last));

    /// <summary>A reservation is being mapped to, or (null) unmapped from, memory.</summary>
    public void BeginMapping(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments) =>
        ForEachPage(vcm, range, access, segments, (page, frame) =>
        {
            page.Frame.Begin(frame, ++_clock);
            // It may be forgotten from here on.
            page.Uses.Clear();
        });

    /// <summary>That operation has returned.</summary>
    public void EndMapping(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments, bool done) =>
        ForEachPage(vcm, range, access, segments, (page, _) =>
        {
            if (done) page.NoteFrames();
            page.Frame.End(done, ++_clock);
        });

    /// <summary>A device is being made to, or kept from, translating through a region.</summary>
    public void BeginAssociation(StreamId device, Vcm vcm, bool active)
    {
        AssociationOf(device, vcm).Begin(active, ++_clock);
        if (!active) _ending.Add(device);
        Refresh();
    }

    /// <summary>That operation has returned.</summary>
    /// <param name="device">Whose.</param>
    /// <param name="vcm">The region.</param>
    /// <param name="active">Which of the two.</param>
    /// <param name="done">Whether it had an effect.</param>
    /// <param name="isCertain">Whether that is known to be here.</param>
    public void EndAssociation(StreamId device, Vcm vcm, bool active, bool done, bool isCertain = true)
    {
        AssociationOf(device, vcm).End(done, ++_clock, waits: !isCertain);
        Refresh();
    }

    /// <summary>It is known by now whether the device translates through the region.</summary>
    public void SetAssociation(StreamId device, Vcm vcm, bool active)
    {
        int now = ++_clock;
        AssociationOf(device, vcm).Set(active, now, now);
        Refresh();
    }

    /// <summary>Whether the device may at this instant translate through some region, or is let through.</summary>
    public bool MayReachAnything(StreamId device) => RegionsOf(device).Any() || MayPass(device);

    /// <summary>Whether the frame is, or at some time was, what a region that the device may translate through maps the page to, or it is let through to it.</summary>
    public bool WasEverMapped(StreamId device, Iova page, PhysAddr frame) => RegionsOf(device).Any(vcm =>
        _pages.TryGetValue((vcm, page), out History? history)
        && (history.Earlier.Contains(frame) || history.Frame.Possible.Contains(frame)))
        || PossibleAnywhere(device).Any(target => target.Frame == frame)
        || (MayPass(device) && Untranslated(page)?.Frame == frame);

    /// <summary>The pages that a frame backs, or may back while an operation is under way: those are not settled.</summary>
    public IEnumerable<(Vcm Vcm, Iova Page, bool IsSettled)> BackedBy(PhysAddr frame) => _pages
        .Where(page => page.Value.Frame.Possible.Contains(frame))
        .Select(page => (page.Key.Item1, page.Key.Item2, page.Value.Frame.Possible.All(possible => possible == frame)));

    /// <summary>The translations that the device may find at this instant; null stands for none.</summary>
    public IReadOnlyList<Target?> Possible(StreamId device, Iova page)
    {
        var possible = new List<Target?>();
        if (MayBeInactive(device)) possible.Add(null);
        foreach (Vcm vcm in RegionsOf(device))
        {
            if (_pages.TryGetValue((vcm, page), out History? history)) possible.AddRange(history.Possible);
            else possible.Add(null);
        }

        foreach (Target target in PossibleAnywhere(device)) possible.Add(target);
        if (MayPass(device)) possible.Add(Untranslated(page));
        return possible;
    }

    /// <summary>An access begins; until <see cref="Close"/> it is noted whether it may be blocked.</summary>
    public DeviceAccessWindow Open(StreamId device, Iova page, Access kind)
    {
        var window = new DeviceAccessWindow(device, page, kind);
        _windows.Add(window);
        _asked.Add(new(window));
        Refresh();
        return window;
    }

    /// <summary>An access is over.</summary>
    public void Close(DeviceAccessWindow window)
    {
        _windows.Remove(window);
        _asked.Last(asked => asked.Window == window).Ended = ++_clock;
    }

    private void ForEachPage(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments, Action<History, PhysAddr?> act)
    {
        Iova page = range.First;
        IEnumerable<PhysAddr?> frames = segments is null
            ? Enumerable.Repeat<PhysAddr?>(null, (int)(range.ByteCount / PageBytes))
            : segments.SelectMany(FramesOf).Select(static frame => (PhysAddr?)frame);
        foreach (PhysAddr? frame in frames)
        {
            act(PageOf(vcm, page, access), frame);
            page = new(unchecked(page.Value + PageBytes));
        }

        Refresh();
    }

    private History PageOf(Vcm vcm, Iova page, Access access)
    {
        if (!_pages.TryGetValue((vcm, page), out History? history)) _pages[(vcm, page)] = history = new(access);
        return history;
    }

    private static IEnumerable<PhysAddr> FramesOf(PhysRange segment)
    {
        for (ulong offset = 0; offset < segment.ByteCount; offset += PageBytes) yield return segment.First + offset;
    }

    private Register<bool> AssociationOf(StreamId device, Vcm vcm)
    {
        if (!_associations.TryGetValue((device, vcm), out Register<bool>? state)) _associations[(device, vcm)] = state = new(false);
        return state;
    }

    /// <summary>The regions that the device may translate through at this instant.</summary>
    public IEnumerable<Vcm> RegionsOf(StreamId device) => _associations
        .Where(association => association.Key.Item1 == device && association.Value.Possible.Contains(true))
        .Select(association => association.Key.Item2);

    private bool MayBeInactive(StreamId device) => MayNotPass(device) && _associations
        .Where(association => association.Key.Item1 == device)
        .All(association => association.Value.Possible.Contains(false));

    private void Refresh()
    {
        foreach (DeviceAccessWindow window in _windows)
        {
            window.MayBeBlocked |= Possible(window.Device, window.Page)
                .Any(target => target is null || (target.Value.Access & window.Kind) != window.Kind);
            if (KeepsCauses) window.Causes |= CausesNow(window);
        }
    }

    private sealed class History(Access access)
    {
        public Register<PhysAddr?> Frame { get; } = new(null);

        public Register<Access> Access { get; } = new(access);

        public HashSet<PhysAddr> Earlier { get; } = [];

        /// <summary>What devices did there that a collection must still tell.</summary>
        public List<NotedUse> Uses { get; } = [];

        /// <summary>All that it ever was, is or may become.</summary>
        public IEnumerable<Access> AllAccess => Access.All;

        public IEnumerable<Target?> Possible => Frame.Possible.Distinct().SelectMany(
            frame => frame is { } there ? Access.Possible.Distinct().Select(access => (Target?)new Target(there, access)) : [null]);

        public void NoteFrames()
        {
            foreach (PhysAddr? frame in Frame.Possible)
            {
                if (frame is { } there) Earlier.Add(there);
            }
        }
    }

    /// <summary>
    /// What operations set, some of them at the same time: what it may be now. An operation that was done takes the place of what others had done before it
    /// began; of those that were under way together nobody knows which came last.
    /// </summary>
    private sealed class Register<T>(T initial)
    {
        private readonly List<(T Value, int Begun, string Agent)> _underWay = [];
        private readonly List<(T Value, int Begun, int Ended, bool Waits)> _done = [(initial, 0, 0, false)];

        public T Last => _done[^1].Value;

        public IEnumerable<T> Possible => _done.Select(static one => one.Value).Concat(_underWay.Select(static one => one.Value));

        public HashSet<T> All { get; } = [initial];

        public void Begin(T value, int now)
        {
            _underWay.Add((value, now, Attempt.Agent));
            All.Add(value);
        }

        /// <param name="done">Whether it had an effect.</param>
        /// <param name="now">When it returned.</param>
        /// <param name="waits">Whether what was there before stays possible until <see cref="Settle"/>.</param>
        public void End(bool done, int now, bool waits = false)
        {
            int at = _underWay.FindIndex(static one => one.Agent == Attempt.Agent);
            (T value, int begun, _) = _underWay[at];
            _underWay.RemoveAt(at);
            if (done) Set(value, begun, now, waits);
        }

        /// <summary>It is so, by an operation that has returned now.</summary>
        public void Set(T value, int begun, int now, bool waits = false)
        {
            All.Add(value);
            if (!waits) _done.RemoveAll(one => one.Ended < begun);
            _done.Add((value, begun, now, waits));
        }

        /// <summary>What had been done by then, and waited, waits no longer.</summary>
        public void Settle(int then)
        {
            int at = _done.FindLastIndex(one => one.Waits && one.Ended < then);
            if (at < 0) return;
            int begun = _done[at].Begun;
            _done[at] = _done[at] with { Waits = false };
            _done.RemoveAll(one => one.Ended < begun);
        }
    }
}

/// <summary>An access of a device from its first step to its last.</summary>
/// <param name="Device">Whose.</param>
/// <param name="Page">Where.</param>
/// <param name="Kind">Read or write.</param>
public sealed record DeviceAccessWindow(StreamId Device, Iova Page, Access Kind)
{
    /// <summary>Whether at some instant since it began it may have found no translation that grants it.</summary>
    public bool MayBeBlocked { get; set; }

    /// <summary>Why, at some instant since it began; where the ledger keeps that.</summary>
    public FaultCauses Causes { get; set; }

    /// <summary>Whether it was blocked.</summary>
    public bool WasBlocked { get; set; }

    /// <summary>The request for a page that it waits for; null: it waits for none.</summary>
    internal PageRequest? Request { get; set; }

    /// <summary>Whether it has waited for a page.</summary>
    internal bool HasWaited { get; set; }

    /// <summary>Whether it is over, once its device knows that it has stalled; asked by who makes no step.</summary>
    internal Func<bool>? IsOver { get; set; }

    /// <summary><c>Read of sid:0x20 at iova:0x0</c>.</summary>
    public override string ToString() => $"{Kind} of {Device} at {Page}";
}

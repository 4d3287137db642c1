using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;

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
public sealed class Ledger
{
    /// <summary>Devices are allowed whole pages.</summary>
    public const ulong PageBytes = 4096;

    private readonly Dictionary<(Vcm, Iova), History> _pages = [];
    private readonly Dictionary<(StreamId, Vcm), Uncertain<bool>> _associations = [];
    private readonly List<DeviceAccessWindow> _windows = [];

    /// <summary>The mapping in force, for the end of a run when nothing is under way.</summary>
    public IReadOnlyDictionary<Iova, Target> MappingOf(Vcm vcm) => _pages
        .Where(page => page.Key.Item1 == vcm && page.Value.Current.InForce is not null)
        .ToDictionary(page => page.Key.Item2, page => page.Value.Current.InForce!.Value);

    /// <summary>A reservation is being mapped to, or (null) unmapped from, memory.</summary>
    public void BeginMapping(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments) =>
        ForEachPage(vcm, range, access, segments, static (page, target) => page.Current.Begin(target));

    /// <summary>That operation has returned.</summary>
    public void EndMapping(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments, bool done) =>
        ForEachPage(vcm, range, access, segments, (page, target) =>
        {
            if (done && page.Current.InForce is { } old) page.Earlier.Add(old.Frame);
            page.Current.End(target, done);
        });

    /// <summary>A device is being made to, or kept from, translating through a region.</summary>
    public void BeginAssociation(StreamId device, Vcm vcm, bool active)
    {
        AssociationOf(device, vcm).Begin(active);
        Refresh();
    }

    /// <summary>That operation has returned.</summary>
    public void EndAssociation(StreamId device, Vcm vcm, bool active, bool done)
    {
        AssociationOf(device, vcm).End(active, done);
        Refresh();
    }

    /// <summary>Whether the device may at this instant translate through some region.</summary>
    public bool MayReachAnything(StreamId device) => RegionsOf(device).Any();

    /// <summary>Whether the frame is, or at some time was, what a region that the device may translate through maps the page to.</summary>
    public bool WasEverMapped(StreamId device, Iova page, PhysAddr frame) => RegionsOf(device).Any(vcm =>
        _pages.TryGetValue((vcm, page), out History? history)
        && (history.Earlier.Contains(frame) || history.Current.Possible.Any(target => target?.Frame == frame)));

    /// <summary>The translations that the device may find at this instant; null stands for none.</summary>
    public IReadOnlyList<Target?> Possible(StreamId device, Iova page)
    {
        var possible = new List<Target?>();
        if (MayBeInactive(device)) possible.Add(null);
        foreach (Vcm vcm in RegionsOf(device))
        {
            if (_pages.TryGetValue((vcm, page), out History? history)) possible.AddRange(history.Current.Possible);
            else possible.Add(null);
        }

        return possible;
    }

    /// <summary>An access begins; until <see cref="Close"/> it is noted whether it may be blocked.</summary>
    public DeviceAccessWindow Open(StreamId device, Iova page, Access kind)
    {
        var window = new DeviceAccessWindow(device, page, kind);
        _windows.Add(window);
        Refresh();
        return window;
    }

    /// <summary>An access is over.</summary>
    public void Close(DeviceAccessWindow window) => _windows.Remove(window);

    private void ForEachPage(Vcm vcm, IovaRange range, Access access, IReadOnlyList<PhysRange>? segments, Action<History, Target?> act)
    {
        Iova page = range.First;
        IEnumerable<Target?> targets = segments is null
            ? Enumerable.Repeat<Target?>(null, (int)(range.ByteCount / PageBytes))
            : segments.SelectMany(FramesOf).Select(frame => (Target?)new Target(frame, access));
        foreach (Target? target in targets)
        {
            if (!_pages.TryGetValue((vcm, page), out History? history)) _pages[(vcm, page)] = history = new();
            act(history, target);
            page = new(unchecked(page.Value + PageBytes));
        }

        Refresh();
    }

    private static IEnumerable<PhysAddr> FramesOf(PhysRange segment)
    {
        for (ulong offset = 0; offset < segment.ByteCount; offset += PageBytes) yield return segment.First + offset;
    }

    private Uncertain<bool> AssociationOf(StreamId device, Vcm vcm)
    {
        if (!_associations.TryGetValue((device, vcm), out Uncertain<bool>? state)) _associations[(device, vcm)] = state = new();
        return state;
    }

    private IEnumerable<Vcm> RegionsOf(StreamId device) => _associations
        .Where(association => association.Key.Item1 == device && association.Value.Possible.Contains(true))
        .Select(association => association.Key.Item2);

    private bool MayBeInactive(StreamId device) => _associations
        .Where(association => association.Key.Item1 == device)
        .All(association => association.Value.Possible.Contains(false));

    private void Refresh()
    {
        foreach (DeviceAccessWindow window in _windows)
        {
            window.MayBeBlocked |= Possible(window.Device, window.Page)
                .Any(target => target is null || (target.Value.Access & window.Kind) != window.Kind);
        }
    }

    private sealed class History
    {
        public Uncertain<Target?> Current { get; } = new();

        public HashSet<PhysAddr> Earlier { get; } = [];
    }

    /// <summary>A value, and what it becomes if operations that are under way have already taken effect.</summary>
    private sealed class Uncertain<T>
    {
        private readonly List<T> _underWay = [];

        public T InForce { get; private set; } = default!;

        public IEnumerable<T> Possible => _underWay.Prepend(InForce);

        public void Begin(T value) => _underWay.Add(value);

        public void End(T value, bool done)
        {
            _underWay.Remove(value);
            if (done) InForce = value;
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
}

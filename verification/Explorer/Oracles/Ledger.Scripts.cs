using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Oracles;

// What scripts do beyond backing and unbacking: attributes that change, addresses and memory that are known only once a call has returned, clones, and
// unbacks that wait for a flush.
public sealed partial class Ledger
{
    private readonly List<(Vcm Vcm, string Agent, int Begun, Access Access, List<PhysAddr> Frames)> _anywhere = [];

    /// <summary>Whether a region that the device may translate through grants the access to that page, or did at some time.</summary>
    public bool WasEverGranted(StreamId device, Iova page, Access kind) => RegionsOf(device).Any(vcm =>
        _pages.TryGetValue((vcm, page), out History? history) && history.AllAccess.Any(access => (access & kind) == kind));

    /// <summary>What devices may do in a range that has just been reserved.</summary>
    public void SetAccess(Vcm vcm, IovaRange range, Access access)
    {
        int now = ++_clock;
        ForEachPage(vcm, range, access, null, (page, _) => page.Access.Set(access, now, now));
    }

    /// <summary>What devices may do is being changed.</summary>
    public void BeginAccess(Vcm vcm, IovaRange range, Access access) =>
        ForEachPage(vcm, range, access, null, (page, _) => page.Access.Begin(access, ++_clock));

    /// <summary>That operation has returned.</summary>
    public void EndAccess(Vcm vcm, IovaRange range, Access access, bool done) =>
        ForEachPage(vcm, range, access, null, (page, _) => page.Access.End(done, ++_clock));

    /// <summary>As <see cref="EndMapping"/>, where what was unmapped stays until a flush.</summary>
    public void EndUnmappingLater(Vcm vcm, IovaRange range, Access access, bool done) =>
        ForEachPage(vcm, range, access, null, (page, _) =>
        {
            if (done) page.NoteFrames();
            page.Frame.End(done, ++_clock, waits: true);
        });

    /// <summary>A flush begins.</summary>
    /// <returns>What <see cref="EndFlush"/> is given.</returns>
    public int BeginFlush() => ++_clock;

    /// <summary>It has returned, and has left nothing that had been unmapped before it began.</summary>
    public void EndFlush(int begun)
    {
        foreach (History page in _pages.Values) page.Frame.Settle(begun);
        Refresh();
    }

    /// <summary>Something is being mapped in a region, who knows where.</summary>
    /// <param name="vcm">The region.</param>
    /// <param name="access">What devices may do there.</param>
    /// <param name="segments">The memory; what the call takes itself is told by <see cref="NoteTaken"/>.</param>
    public void BeginAnywhere(Vcm vcm, Access access, IReadOnlyList<PhysRange> segments)
    {
        _anywhere.Add((vcm, Attempt.Agent, ++_clock, access, [.. segments.SelectMany(FramesOf)]));
        Refresh();
    }

    /// <summary>The calling agent was given frames.</summary>
    public void NoteTaken(PhysRange block)
    {
        foreach (var call in _anywhere)
        {
            if (call.Agent == Attempt.Agent) call.Frames.AddRange(FramesOf(block));
        }
    }

    /// <summary>That operation has returned.</summary>
    /// <param name="range">Where; null: nowhere.</param>
    /// <param name="segments">To what.</param>
    public void EndAnywhere(IovaRange? range, IReadOnlyList<PhysRange> segments)
    {
        int at = _anywhere.FindIndex(static call => call.Agent == Attempt.Agent);
        (Vcm vcm, _, int begun, Access access, _) = _anywhere[at];
        _anywhere.RemoveAt(at);
        if (range is { } there)
        {
            int now = ++_clock;
            ForEachPage(vcm, there, access, segments, (page, frame) =>
            {
                page.NoteFrames();
                page.Access.Set(access, now, now);
                page.Frame.Set(frame, begun, now);
                page.Uses.Clear();
            });
        }

        Refresh();
    }

    /// <summary>A region has been cloned; nobody has worked on the clone yet.</summary>
    /// <param name="source">The region.</param>
    /// <param name="clone">The clone.</param>
    /// <param name="translate">What a page of the clone is mapped to now.</param>
    public void NoteClone(Vcm source, Vcm clone, Func<Iova, PhysAddr?> translate)
    {
        int now = ++_clock;
        foreach (((Vcm vcm, Iova page), History original) in _pages.ToArray())
        {
            if (vcm != source) continue;
            History copy = PageOf(clone, page, original.Access.Last);
            copy.Frame.Set(translate(page), now, now);
            // Which of those under way the clone met is not known.
            foreach (Access access in original.AllAccess) copy.Access.Set(access, 0, now);
        }
    }

    private IEnumerable<Target> PossibleAnywhere(StreamId device) => _anywhere.Count == 0
        ? []
        : RegionsOf(device).SelectMany(vcm => _anywhere.Where(call => call.Vcm == vcm).SelectMany(static call => call.Frames.Select(frame => new Target(frame, call.Access))));
}

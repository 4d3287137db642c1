using Platform;
using Vcmm;
using Vcmm.Spec;
using Access = Vcmm.Access;

namespace Explorer.Oracles;

// What devices used and wrote to. Each use of a page that is mapped and stays so is told by a collection: by the first that begins after it, or by one that clears
// and returns after it. No collection tells of a page that nobody asked for since an earlier one had cleared it.
public sealed partial class Ledger
{
    private const ulong LargeBytes = 2UL << 20;

    private readonly HashSet<(StreamId, Vcm)> _noting = [];
    private readonly List<Asked> _asked = [];
    private readonly List<Collection> _collections = [];

    /// <summary>Accesses of a device that are made by way of a region are noted in its tables.</summary>
    public void SetNoting(StreamId device, Vcm vcm, bool isNoted)
    {
        if (isNoted) _noting.Add((device, vcm));
        else _noting.Remove((device, vcm));
    }

    /// <summary>The bytes of an access have moved. It counts where nothing was under way that could have taken it elsewhere, or have forgotten it.</summary>
    public void NoteUse(StreamId device, Iova page, PhysAddr frame, bool writes)
    {
        if (_noting.Count == 0 || MayBeInactive(device) || RegionsOf(device).ToArray() is not [var vcm] || !_noting.Contains((device, vcm))) return;
        if (!_pages.TryGetValue((vcm, page), out History? history) || history.Frame.Possible.Any(possible => possible != frame)) return;
        if (_anywhere.Any(call => call.Vcm == vcm)) return;
        int now = ++_clock;
        history.Uses.Add(new(Use.Accessed, now));
        if (writes) history.Uses.Add(new(Use.Written, now));
    }

    /// <summary>A part of a region is being looked at.</summary>
    /// <returns>What <see cref="EndCollection"/> is given.</returns>
    public Collection BeginCollection(Vcm vcm, IovaRange part, Use use, bool clears)
    {
        var collection = new Collection(vcm, part, use, clears, ++_clock);
        _collections.Add(collection);
        return collection;
    }

    /// <summary>It has returned.</summary>
    /// <param name="collection">What <see cref="BeginCollection"/> gave.</param>
    /// <param name="told">What it told; null: it was refused.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? EndCollection(Collection collection, IReadOnlyList<IovaRange>? told)
    {
        collection.Ended = ++_clock;
        collection.WasDone = told is not null;
        (string, string)? wrong = null;
        foreach (((Vcm vcm, Iova page), History history) in _pages)
        {
            if (vcm != collection.Vcm) continue;
            bool isTold = told is not null && told.Any(range => range.Contains(page));
            if (isTold && wrong is null) wrong = Invented(collection, page);
            bool isAsked = told is not null && collection.Part.Contains(page);
            foreach (NotedUse use in history.Uses.Where(use => use.Kind == collection.Kind).ToArray())
            {
                if (isTold && use.Moved > collection.Begun) collection.MetUse = true;
                if (isTold) collection.ToldUse = true;
                if (isTold && collection.Clears) history.Uses.Remove(use);
                else if (isTold) use.IsMissed = false;
                else if (WhyLost(collection, use, page, isAsked) is { } lost) wrong ??= lost;
            }
        }

        return wrong;
    }

    /// <summary>The pages with uses of a kind that must still be told.</summary>
    public IEnumerable<(Vcm Vcm, Iova Page)> Untold(Use use) => _pages.Where(page => page.Value.Uses.Any(one => one.Kind == use)).Select(static page => page.Key);

    /// <summary>A use that was not told, though it was over when the collection began: one that clears and is under way may have it, and tells of it when it returns.</summary>
    private (string, string)? WhyLost(Collection collection, NotedUse use, Iova page, bool isAsked)
    {
        bool wasSuspect = use.Suspects.Remove(collection);
        if (isAsked && use.Moved < collection.Begun)
        {
            use.IsMissed = true;
            use.Suspects.UnionWith(_collections.Where(other => other.IsUnderWay && other.Clears && other.Kind == use.Kind && other.Vcm == collection.Vcm));
            wasSuspect = true;
        }

        if (!wasSuspect || !use.IsMissed || use.Suspects.Count != 0) return null;
        use.IsMissed = false;
        return ($"a collection of {collection.Part} did not tell that {page} was {Said(use.Kind)}", "each use is told by a collection");
    }

    private (string, string)? Invented(Collection collection, Iova page)
    {
        // Whoever begins after a collection that cleared the page has returned asks for it anew.
        int since = _collections.Where(other => other.Clears && other.Kind == collection.Kind && other.Vcm == collection.Vcm && other.Part.Contains(page) && other.WasDone && other.Ended < collection.Begun)
            .Select(static other => other.Begun).DefaultIfEmpty(0).Max();
        bool isAsked = _asked.Any(asked => asked.Window.Page == page && asked.Is(collection.Kind) && asked.Ended >= since && _associations.ContainsKey((asked.Window.Device, collection.Vcm)));
        return isAsked || collection.MayInvent || IsLarge(collection.Vcm, page) ? null : ($"a collection of {collection.Part} told that {page} was {Said(collection.Kind)}", "what nobody did is not told");
    }

    /// <summary>Whether one leaf may have the page with others: it is told as a whole.</summary>
    private bool IsLarge(Vcm vcm, Iova page) => _pages.Keys.Count(key => key.Item1 == vcm && key.Item2.Value / LargeBytes == page.Value / LargeBytes) == (int)(LargeBytes / PageBytes);

    private static string Said(Use use) => use == Use.Written ? "written" : "accessed";

    /// <summary>A collection of what devices used.</summary>
    public sealed class Collection
    {
        internal Collection(Vcm vcm, IovaRange part, Use kind, bool clears, int begun) => (Vcm, Part, Kind, Clears, Begun) = (vcm, part, kind, clears, begun);

        /// <summary>Whether it told a use that was made while it was under way.</summary>
        public bool MetUse { get; internal set; }

        /// <summary>Whether it told a use.</summary>
        public bool ToldUse { get; internal set; }

        /// <summary>Whether it may tell of what nobody did.</summary>
        public bool MayInvent { get; set; }

        internal Vcm Vcm { get; }

        internal IovaRange Part { get; }

        internal Use Kind { get; }

        internal bool Clears { get; }

        internal int Begun { get; }

        internal int Ended { get; set; }

        internal bool IsUnderWay => Ended == 0;

        internal bool WasDone { get; set; }
    }

    /// <summary>A use that a collection must tell.</summary>
    private sealed class NotedUse(Use kind, int moved)
    {
        public Use Kind => kind;

        public int Moved => moved;

        /// <summary>Whether a collection that had to tell it did not.</summary>
        public bool IsMissed { get; set; }

        /// <summary>The collections under way that may have it.</summary>
        public HashSet<Collection> Suspects { get; } = [];
    }

    /// <summary>That a device asked for a page.</summary>
    private sealed class Asked(DeviceAccessWindow window)
    {
        public DeviceAccessWindow Window => window;

        /// <summary>When it had its answer.</summary>
        public int Ended { get; set; } = int.MaxValue;

        public bool Is(Use kind) => kind == Use.Accessed || (window.Kind & Access.Write) != 0;
    }
}

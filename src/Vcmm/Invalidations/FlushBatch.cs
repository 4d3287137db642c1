using Platform;

namespace Vcmm.Invalidations;

/// <summary>What one flush tells the hardware, and what it releases afterwards.</summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
internal sealed class FlushBatch
{
    private readonly List<IQuarantined> _entries = [];
    private readonly List<DomainCover> _covers = [];
    private int _coverCount;
    private int _lastCover;
    private Invalidation[] _commands = new Invalidation[DomainCover.Limit];
    private bool[] _told = [];

    /// <summary>How many entries it has.</summary>
    public int EntryCount => _entries.Count;

    /// <summary>When the first entry came.</summary>
    public long OldestTimestamp { get; private set; }

    public void Add(ReadOnlySpan<PendingInvalidation> invalidations, IQuarantined quarantined, long now)
    {
        if (_entries.Count == 0) OldestTimestamp = now;
        foreach (PendingInvalidation invalidation in invalidations)
            CoverOf(invalidation.Iommu, invalidation.Domain).Add(invalidation.Range, invalidation.LeavesOnly);
        _entries.Add(quarantined);
    }

    /// <summary>Takes over everything of <paramref name="other"/>, which is then empty.</summary>
    public void Append(FlushBatch other)
    {
        _entries.AddRange(other._entries);
        for (int i = 0; i < other._coverCount; i++)
        {
            DomainCover cover = other._covers[i];
            DomainCover own = CoverOf(cover.Iommu!, cover.Domain);
            foreach (IovaRange range in cover.Ranges) own.Add(range, cover.LeavesOnly);
        }

        other.Clear();
    }

    /// <summary>Tells each IOMMU once. Every IOMMU is told, also after one has failed: the hardware that works forgets early.</summary>
    public VcmmError Invalidate()
    {
        VcmmError outcome = VcmmError.None;
        if (_told.Length < _coverCount) _told = new bool[_coverCount];
        Array.Clear(_told);
        for (int i = 0; i < _coverCount; i++)
        {
            if (_told[i]) continue;
            IIommu iommu = _covers[i].Iommu!;
            int count = CollectCommands(iommu, i);
            VcmmError error = iommu.Invalidate(_commands.AsSpan(0, count));
            if (outcome == VcmmError.None) outcome = error;
        }

        return outcome;
    }

    public void Release()
    {
        foreach (IQuarantined entry in _entries) entry.Release();
        Clear();
    }

    private int CollectCommands(IIommu iommu, int firstCover)
    {
        int count = 0;
        for (int i = firstCover; i < _coverCount; i++)
        {
            DomainCover cover = _covers[i];
            if (!ReferenceEquals(cover.Iommu, iommu)) continue;
            _told[i] = true;
            if (_commands.Length < count + cover.Count) Array.Resize(ref _commands, 2 * (count + cover.Count));
            foreach (IovaRange range in cover.Ranges) _commands[count++] = new(cover.Domain, range, cover.LeavesOnly);
        }

        return count;
    }

    private DomainCover CoverOf(IIommu iommu, DomainId domain)
    {
        // Whoever adds mostly adds to the domain of the last time.
        if (_lastCover < _coverCount && Is(_covers[_lastCover], iommu, domain)) return _covers[_lastCover];
        for (int i = 0; i < _coverCount; i++)
        {
            if (!Is(_covers[i], iommu, domain)) continue;
            _lastCover = i;
            return _covers[i];
        }

        if (_coverCount == _covers.Count) _covers.Add(new());
        _lastCover = _coverCount++;
        _covers[_lastCover].Begin(iommu, domain);
        return _covers[_lastCover];
    }

    private static bool Is(DomainCover cover, IIommu iommu, DomainId domain) => ReferenceEquals(cover.Iommu, iommu) && cover.Domain == domain;

    private void Clear()
    {
        _entries.Clear();
        // An idle batch keeps no IOMMU alive.
        for (int i = 0; i < _coverCount; i++) _covers[i].Begin(null, default);
        _coverCount = 0;
    }
}

namespace Vcmm.Invalidations;

/// <summary>What is to be forgotten of several domains, a <see cref="DomainCover"/> each. Allocates only while it grows.</summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
internal sealed class CoverSet
{
    private readonly List<DomainCover> _covers = [];
    private int _last;

    public int Count { get; private set; }

    public DomainCover this[int index] => _covers[index];

    /// <summary>The cover of a domain; an empty one if there is none yet.</summary>
    public DomainCover Of(IIommu? iommu, DomainId domain)
    {
        // Whoever adds mostly adds to the domain of the last time.
        if (_last < Count && Is(_covers[_last], iommu, domain)) return _covers[_last];
        for (int i = 0; i < Count; i++)
        {
            if (!Is(_covers[i], iommu, domain)) continue;
            _last = i;
            return _covers[i];
        }

        if (Count == _covers.Count) _covers.Add(new());
        _last = Count++;
        _covers[_last].Begin(iommu, domain);
        return _covers[_last];
    }

    /// <summary>Forgets everything, IOMMUs too: what is idle keeps none alive.</summary>
    public void Clear()
    {
        for (int i = 0; i < Count; i++) _covers[i].Begin(null, default);
        Count = 0;
    }

    private static bool Is(DomainCover cover, IIommu? iommu, DomainId domain) => ReferenceEquals(cover.Iommu, iommu) && cover.Domain == domain;
}

using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>A line that breaks an invariant.</summary>
/// <param name="Line">The line at which the breach is proven.</param>
/// <param name="Invariant">What it breaks.</param>
/// <param name="Sentence">What was observed and what is permitted.</param>
/// <param name="Page">The first page concerned.</param>
internal sealed record Breach(long Line, Invariant Invariant, string Sentence, AddressRange Page);

/// <summary>What the trace has mapped and left stale, judged by the reference model, and which domain each line speaks of.</summary>
/// <remarks>
/// <c>map</c> and <c>unmap</c> name no domain. Direct maps that are made just before a domain's first device is attached are
/// that domain's; all others belong to one domain, <i>the shared one</i>, whose id is learnt from the first decision to flush
/// that was carried out. An <c>unmap</c> of what the shared domain does not map, but another one does, is that other's.
/// </remarks>
internal sealed class TraceModel
{
    private const ulong PageBytes = 4096;

    /// <summary>The domain of all maps but direct ones; no id of a unit is so large.</summary>
    private static readonly DomainKey Shared = new(1UL << 41);

    private readonly List<Unmapped> _stale = [];
    private readonly MapOrigins _origins = new();
    private TranslationViews _views = TranslationViews.Empty;

    /// <summary>The id of the shared domain, once it is known.</summary>
    public UnitDomain? SharedId { get; private set; }

    /// <summary>How often each invariant was checked.</summary>
    public Dictionary<Invariant, long> Checks { get; } = new()
    {
        [Invariant.NoStaleAccess] = 0,
        [Invariant.Conservation] = 0,
        [Invariant.BreakBeforeMake] = 0,
    };

    /// <summary>The longest time between an unmap and the end of what made it safe; microseconds.</summary>
    public long LongestStaleMicroseconds { get; private set; }

    /// <summary>What was unmapped and not invalidated since.</summary>
    public IReadOnlyList<Unmapped> Stale => _stale;

    /// <summary>A direct map of which the domain is not known yet.</summary>
    public Breach? MapDirect(Lane lane, in PageEvent what) => CountedMap(lane.Provisional, what);

    /// <summary>A map in the shared domain.</summary>
    public Breach? Map(in PageEvent what) => CountedMap(Shared, what);

    /// <summary>The direct maps of a lane turn out to be of <paramref name="domain"/>, or of the shared one if that is null.</summary>
    public Breach? PlaceDirect(Lane lane, UnitDomain? domain)
    {
        DomainKey target = domain is { } id && id != SharedId ? id.Key : Shared;
        foreach (DirectMap direct in lane.Direct)
        {
            PageEvent origin = _origins.Take(lane.Provisional, direct.Map.Range);
            Drop(lane.Provisional, direct.Map.Range);
            if (Map(target, origin) is { } breach) return breach;
        }

        lane.Direct.Clear();
        return null;
    }

    /// <summary>Entries were cleared.</summary>
    public Breach? Unmap(in PageEvent what, out Unmapped? unmapped)
    {
        DomainKey domain = OwnerOf(what.Range);
        Checks[Invariant.Conservation]++;
        Verdict<TranslationViews> verdict = _views.Unmap(domain, what.Range);
        if (!verdict.IsAccepted)
        {
            unmapped = null;
            _views.Current(domain).TryFindGap(what.Range, out ulong gap);
            return new(what.Line, verdict.Broken, verdict.Sentence, PageOf(gap));
        }

        _origins.Forget(domain, _views.Current(domain), what.Range);
        _views = verdict.Next;
        _stale.Add(unmapped = new(what.Line, what.Microseconds, domain, what.Range));
        return null;
    }

    /// <summary>The hardware was told to forget, and the driver waited for it.</summary>
    public void Invalidate(in IotlbDescriptor descriptor, long microseconds)
    {
        if (_stale.Count == 0) return;
        foreach (DomainKey domain in _views.Domains)
        {
            if (Reaches(descriptor, domain)) _views = _views.Invalidate(domain, descriptor.Range);
        }

        for (int i = _stale.Count - 1; i >= 0; i--)
        {
            Unmapped unmapped = _stale[i];
            if (_views.Stale(unmapped.Domain).TryFindFirst(unmapped.Range, out _)) continue;
            unmapped.IsSettled = true;
            LongestStaleMicroseconds = Math.Max(LongestStaleMicroseconds, microseconds - unmapped.Microseconds);
            _stale[i] = _stale[^1];
            _stale.RemoveAt(_stale.Count - 1);
        }
    }

    /// <summary>Devices may see nothing of what was unmapped any more.</summary>
    public Breach? RequireSettled(Unmapped unmapped, long line)
    {
        Checks[Invariant.NoStaleAccess]++;
        if (unmapped.IsSettled) return null;
        Verdict<TranslationViews> verdict = _views.RequireSettled(unmapped.Domain, unmapped.Range);
        _views.Stale(unmapped.Domain).TryFindFirst(unmapped.Range, out Mapping stale);
        return new(line, verdict.Broken, verdict.Sentence, PageOf(Math.Max(stale.Range.First, unmapped.Range.First)));
    }

    /// <summary>The first page that is stale in a domain.</summary>
    public AddressRange FirstStaleIn(AddressRange range) =>
        PageOf(_views.Stale(Shared).TryFindFirst(range, out Mapping stale) ? Math.Max(stale.Range.First, range.First) : range.First);

    /// <summary>The shared domain is <paramref name="id"/>: what was mapped directly in it is the shared domain's.</summary>
    public Breach? Learn(UnitDomain id, long line)
    {
        SharedId = id;
        foreach (Mapping mapping in _views.Current(id.Key).Mappings())
        {
            PageEvent origin = _origins.Take(id.Key, mapping.Range);
            Drop(id.Key, mapping.Range);
            if (Map(Shared, origin with { Line = line, Range = mapping.Range, Target = mapping.Translation.Target }) is { } breach) return breach;
        }

        return null;
    }

    /// <summary>Whether something is known to be mapped or stale in a domain.</summary>
    public bool Knows(UnitDomain id) => id == SharedId || _views.Domains.Contains(id.Key);

    /// <summary>The event that mapped a page which is still mapped.</summary>
    public PageEvent? OriginOf(AddressRange page)
    {
        foreach (DomainKey domain in _views.Domains)
        {
            if (_views.Current(domain).TryFind(page.First, out Mapping mapping)) return _origins.Find(domain, mapping.Range);
        }

        return null;
    }

    /// <summary>How many pages are mapped.</summary>
    public ulong LivePageCount() => PageCount(_views.Current);

    /// <summary>How many pages are stale.</summary>
    public ulong StalePageCount() => PageCount(_views.Stale);

    private static AddressRange PageOf(ulong address) => new(address & ~(PageBytes - 1), address | (PageBytes - 1));

    private ulong PageCount(Func<DomainKey, TranslationMap> map)
    {
        ulong count = 0;
        foreach (Mapping mapping in _views.Domains.SelectMany(domain => map(domain).Mappings()))
            count += (mapping.Range.Last - mapping.Range.First) / PageBytes + 1;
        return count;
    }

    private Breach? CountedMap(DomainKey domain, in PageEvent what)
    {
        Checks[Invariant.BreakBeforeMake]++;
        Checks[Invariant.NoStaleAccess]++;
        return Map(domain, what);
    }

    private Breach? Map(DomainKey domain, in PageEvent what)
    {
        Verdict<TranslationViews> verdict = _views.Map(domain, what.Range, new(what.Target));
        if (verdict.IsAccepted)
        {
            _views = verdict.Next;
            _origins.Add(domain, what);
            return null;
        }

        TranslationMap inTheWay = verdict.Broken == Invariant.BreakBeforeMake ? _views.Current(domain) : _views.Stale(domain);
        inTheWay.TryFindFirst(what.Range, out Mapping first);
        return new(what.Line, verdict.Broken, verdict.Sentence, PageOf(Math.Max(first.Range.First, what.Range.First)));
    }

    private void Drop(DomainKey domain, AddressRange range) => _views = _views.Unmap(domain, range).Next.Invalidate(domain, range);

    private DomainKey OwnerOf(AddressRange range)
    {
        if (!_views.Current(Shared).TryFindGap(range, out _)) return Shared;
        foreach (DomainKey domain in _views.Domains)
        {
            if (!_views.Current(domain).TryFindGap(range, out _)) return domain;
        }

        return Shared;
    }

    /// <summary>While the shared domain's id is unknown, any descriptor may be meant for it: only what is proven is refused.</summary>
    private bool Reaches(in IotlbDescriptor descriptor, DomainKey domain)
    {
        if (domain != Shared)
            return descriptor.Granularity == Granularity.Global ? domain.Value >> 16 == (ulong)descriptor.Domain.Unit : domain == descriptor.Domain.Key;
        if (SharedId is not { } id) return true;
        return descriptor.Granularity == Granularity.Global ? id.Unit == descriptor.Domain.Unit : id == descriptor.Domain;
    }
}

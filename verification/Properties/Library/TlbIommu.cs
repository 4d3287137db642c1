using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// An IOMMU that caches all it can and drops only what it must: after a call that promises so, nothing in it may differ from
/// the table.
/// </summary>
internal sealed class TlbIommu(IIommu inner) : PassingIommu(inner)
{
    private readonly Dictionary<(DomainId Domain, ulong Page), Translation> _cached = [];
    private readonly Dictionary<DomainId, IPageTable> _tables = [];

    /// <summary>The commands of each call that asked it to forget.</summary>
    public List<Invalidation[]> Batches { get; } = [];

    /// <summary>Called in each call that tells the hardware something; what it returns is the outcome.</summary>
    public Func<VcmmError> Outcome { get; set; } = static () => VcmmError.None;

    public int CachedCount => _cached.Count;

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        VcmmError error = Outcome();
        if (error == VcmmError.None) _tables[domain] = table;
        return error;
    }

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        VcmmError error = Outcome();
        if (error != VcmmError.None) return error;
        _tables.Remove(domain);
        Forget(entry => entry.Domain == domain);
        return error;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Invalidation[] batch = commands.ToArray();
        Batches.Add(batch);
        VcmmError error = Outcome();
        if (error == VcmmError.None)
            Forget(entry => Array.Exists(batch, command => command.Domain == entry.Domain && command.Range.Contains(new Iova(entry.Page << 12))));
        return error;
    }

    /// <summary>A device uses every page up to <paramref name="pageCount"/>: what is mapped is cached now.</summary>
    public void TouchAll(int pageCount)
    {
        foreach ((DomainId domain, IPageTable table) in _tables)
        {
            for (ulong page = 0; page < (ulong)pageCount; page++)
            {
                if (table.TryWalk(new(page << 12), out Translation translation)) _cached.TryAdd((domain, page), translation);
            }
        }
    }

    public void AssertNothingStale(Predicate<ulong>? except = null)
    {
        foreach (((DomainId domain, ulong page), Translation cached) in _cached)
        {
            if (except is not null && except(page)) continue;
            if (!_tables.TryGetValue(domain, out IPageTable? table)) Assert.Fail($"{domain} has no table and yet a cached page");
            if (!table.TryWalk(new(page << 12), out Translation now)) Assert.Fail($"page {page} is cached and not mapped");
            if (now.Address != cached.Address || now.Attributes != cached.Attributes) Assert.Fail($"page {page} is {now} and cached as {cached}");
        }
    }

    private void Forget(Predicate<(DomainId Domain, ulong Page)> which)
    {
        foreach ((DomainId Domain, ulong Page) entry in _cached.Keys.Where(entry => which(entry)).ToArray()) _cached.Remove(entry);
    }
}

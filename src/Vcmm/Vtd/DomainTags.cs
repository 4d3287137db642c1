namespace Vcmm.Vtd;

/// <summary>What of a domain is cached under domain and PASID.</summary>
/// <param name="IsNested">Whether its first-stage table is nested in a second-stage one, whose entries are cached under the domain alone.</param>
/// <param name="Pasids">Under which PASIDs it is attached.</param>
internal sealed record DomainTag(bool IsNested, uint[] Pasids);

/// <summary>
/// Under which PASIDs each domain is attached through first-stage tables: what they give, alone or nested, is cached under domain and PASID.
/// </summary>
/// <remarks>
/// <b>Threads.</b> Any number at once. <see cref="Find"/> takes no lock: it reads arrays that are replaced and never changed.
/// </remarks>
internal sealed class DomainTags
{
    [LockRank(LockRank.DomainTags)]
    private readonly object _gate = new();
    private readonly Dictionary<(DomainId Domain, uint Pasid), int> _uses = [];
    // Survives as `[default]`: equivalent, of a domain whose place is empty there is as little as of one that has no place
    private DomainTag?[] _tags = [];

    /// <summary>What is known of a domain; null if it is not one of first-stage tables.</summary>
    public DomainTag? Find(DomainId domain)
    {
        DomainTag?[] all = Volatile.Read(ref _tags);
        return domain.Value < all.Length ? Volatile.Read(ref all[domain.Value]) : null;
    }

    /// <summary>An attachment under domain and PASID begins.</summary>
    public void Add(DomainId domain, uint pasid, bool isNested)
    {
        lock (_gate)
        {
            if (_tags.Length <= domain.Value)
            {
                DomainTag?[] larger = _tags;
                Array.Resize(ref larger, Math.Max((int)domain.Value + 1, 2 * larger.Length));
                Volatile.Write(ref _tags, larger);
            }

            int uses = _uses.GetValueOrDefault((domain, pasid));
            _uses[(domain, pasid)] = uses + 1;
            if (uses == 0) Volatile.Write(ref _tags[domain.Value], new(isNested, [.. _tags[domain.Value]?.Pasids ?? [], pasid]));
        }
    }

    /// <summary>One has ended: nothing is cached under it that others of the same PASID would not fetch again.</summary>
    public void Remove(DomainId domain, uint pasid)
    {
        lock (_gate)
        {
            if (--_uses[(domain, pasid)] != 0) return;
            _uses.Remove((domain, pasid));
            DomainTag tag = _tags[domain.Value]!;
            Volatile.Write(ref _tags[domain.Value], tag with { Pasids = Array.FindAll(tag.Pasids, other => other != pasid) });
        }
    }

    /// <summary>The domain has no table now; its next may be of the other stage.</summary>
    public void Forget(DomainId domain)
    {
        lock (_gate)
        {
            if (domain.Value < _tags.Length) Volatile.Write(ref _tags[domain.Value], null);
        }
    }
}

namespace Vcmm.Vtd;

/// <summary>
/// Under which PASIDs each domain is attached through first-stage tables: what they give is cached under domain and PASID.
/// </summary>
/// <remarks>
/// <b>Threads.</b> Any number at once. <see cref="TryFind"/> takes no lock: it reads arrays that are replaced and never changed.
/// </remarks>
internal sealed class DomainTags
{
    private readonly object _gate = new();
    private readonly Dictionary<(DomainId Domain, uint Pasid), int> _uses = [];
    private uint[]?[] _pasids = [];

    /// <summary>The PASIDs of a domain.</summary>
    /// <returns>False if it is not one of first-stage tables.</returns>
    public bool TryFind(DomainId domain, out ReadOnlySpan<uint> pasids)
    {
        uint[]?[] all = Volatile.Read(ref _pasids);
        uint[]? found = domain.Value < all.Length ? Volatile.Read(ref all[domain.Value]) : null;
        pasids = found;
        return found is not null;
    }

    /// <summary>An attachment under domain and PASID begins.</summary>
    public void Add(DomainId domain, uint pasid)
    {
        lock (_gate)
        {
            if (_pasids.Length <= domain.Value)
            {
                uint[]?[] larger = _pasids;
                Array.Resize(ref larger, Math.Max((int)domain.Value + 1, 2 * larger.Length));
                Volatile.Write(ref _pasids, larger);
            }

            int uses = _uses.GetValueOrDefault((domain, pasid));
            _uses[(domain, pasid)] = uses + 1;
            if (uses == 0) Volatile.Write(ref _pasids[domain.Value], [.. _pasids[domain.Value] ?? [], pasid]);
        }
    }

    /// <summary>One has ended: nothing is cached under it that others of the same PASID would not fetch again.</summary>
    public void Remove(DomainId domain, uint pasid)
    {
        lock (_gate)
        {
            if (--_uses[(domain, pasid)] != 0) return;
            _uses.Remove((domain, pasid));
            Volatile.Write(ref _pasids[domain.Value], Array.FindAll(_pasids[domain.Value]!, other => other != pasid));
        }
    }

    /// <summary>The domain has no table now; its next may be of the other stage.</summary>
    public void Forget(DomainId domain)
    {
        lock (_gate)
        {
            if (domain.Value < _pasids.Length) Volatile.Write(ref _pasids[domain.Value], null);
        }
    }
}

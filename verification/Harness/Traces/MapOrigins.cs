using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>Which event made each mapping that is in force, however long ago: grows with what is mapped.</summary>
internal sealed class MapOrigins
{
    private readonly Dictionary<(DomainKey Domain, ulong First), PageEvent> _byStart = [];

    public void Add(DomainKey domain, in PageEvent what) => _byStart[(domain, what.Range.First)] = what;

    /// <summary>The event behind a mapping; it must be there.</summary>
    public PageEvent Find(DomainKey domain, AddressRange mapping) => _byStart[(domain, mapping.First)];

    /// <summary>The event behind a mapping, which is forgotten.</summary>
    public PageEvent Take(DomainKey domain, AddressRange mapping)
    {
        _byStart.Remove((domain, mapping.First), out PageEvent what);
        return what;
    }

    /// <summary>A range that is wholly mapped is about to be unmapped; it may cut mappings.</summary>
    public void Forget(DomainKey domain, TranslationMap current, AddressRange range)
    {
        for (ulong address = range.First; current.TryFind(address, out Mapping mapping); address = mapping.Range.Last + 1)
        {
            PageEvent what = Find(domain, mapping.Range);
            if (mapping.Range.First >= range.First) _byStart.Remove((domain, mapping.Range.First));
            if (mapping.Range.Last > range.Last) _byStart[(domain, range.Last + 1)] = what;
            if (mapping.Range.Last >= range.Last) return;
        }
    }
}

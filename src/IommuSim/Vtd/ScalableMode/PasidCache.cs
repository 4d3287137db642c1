using System.Runtime.CompilerServices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>What is known of a requester's PASID: its table entry, or the fault met on the way to it.</summary>
/// <param name="Entry">The table entry; where none could be read, all zero.</param>
/// <param name="Fault">None if the entry can be used.</param>
/// <param name="FaultProcessingDisabled">FPD of the directory entry or the table entry.</param>
internal readonly record struct CachedPasid(PasidTableEntry Entry, VtdFaultReason Fault, bool FaultProcessingDisabled)
{
    /// <summary>The domain it is tagged with; in caching mode faults are tagged with domain id 0 (PASID-Cache).</summary>
    public VtdDomainId Tag => Fault == VtdFaultReason.None ? Entry.Domain : default;
}

/// <summary>The PASID cache, by requester id and PASID.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, PASID-Cache, and the table of cache tags: looked up by source id and PASID,
/// invalidated by PASID and domain id.</para>
/// <para><b>Threads.</b> As <see cref="EntryCache{TKey,TEntry}"/>.</para>
/// </remarks>
internal sealed class PasidCache(int count) : EntryCache<PasidCache.Requester, CachedPasid>(count)
{
    /// <summary>Finds the entry of a requester's PASID. One that is changed meanwhile counts as not there.</summary>
    public bool TryFind(StreamId source, Pasid pasid, out CachedPasid found)
    {
        Unsafe.SkipInit(out found);
        ref readonly CachedPasid content = ref Look(new(source, pasid), PlaceOf(source, pasid), out int seen);
        if (Unsafe.IsNullRef(in content)) return false;
        found = content;
        return IsAsSeen(seen);
    }

    public void Insert(StreamId source, Pasid pasid, in CachedPasid content) =>
        Insert(new(source, pasid), PlaceOf(source, pasid), content);

    public void InvalidateDomain(VtdDomainId domain) =>
        Invalidate((in Requester _, in CachedPasid content) => content.Tag == domain);

    public void InvalidatePasid(VtdDomainId domain, Pasid pasid) =>
        Invalidate((in Requester of, in CachedPasid content) => content.Tag == domain && of.Pasid == pasid);

    public void AddTo(List<PasidCacheEntry> entries)
    {
        foreach (ref readonly Line line in Lines)
        {
            if (!line.Valid || line.Entry.Fault != VtdFaultReason.None) continue;
            AddressSpace space = line.Entry.Entry.ToAddressSpace(line.Key.Pasid);
            PhysAddr root = space.IsNested ? space.SecondTable : space.Table;
            if (space.Stage != TranslationStage.PassThrough) entries.Add(new(line.Key.Source, line.Key.Pasid, space.Domain, space.Stage, root));
        }
    }

    // Neighbouring PASIDs fall into neighbouring lines; the requester only shifts them, so that sharing a line is easy to provoke.
    private static uint PlaceOf(StreamId source, Pasid pasid) => unchecked(source.Value + pasid.Value);

    internal readonly record struct Requester(StreamId Source, Pasid Pasid);
}

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

/// <summary>The direct-mapped PASID cache, by requester id and PASID.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, PASID-Cache, and the table of cache tags: looked up by source id and PASID,
/// invalidated by PASID and domain id.</para>
/// <para><b>Threads.</b> Changed under the unit's lock; looked up by any number of threads without one.</para>
/// </remarks>
internal sealed class PasidCache(int count)
{
    private readonly Line[] _lines = new Line[count];
    private ChangeCounter _changes;

    /// <summary>Finds the entry of a requester's PASID. One that is changed meanwhile counts as not there.</summary>
    public bool TryFind(StreamId source, VtdPasid pasid, out CachedPasid found)
    {
        if (_lines.Length != 0)
        {
            int seen = _changes.Look();
            ref readonly Line line = ref _lines[IndexOf(source, pasid)];
            found = line.Content;
            return line.Valid && line.Source == source && line.Pasid == pasid && _changes.IsAsSeen(seen);
        }

        found = default;
        return false;
    }

    public void Insert(StreamId source, VtdPasid pasid, in CachedPasid content)
    {
        if (_lines.Length == 0) return;
        _changes.Begin();
        _lines[IndexOf(source, pasid)] = new(true, source, pasid, content);
        _changes.End();
    }

    public void InvalidateAll() => Invalidate(static (in Line _) => true);

    public void InvalidateDomain(VtdDomainId domain) => Invalidate((in Line line) => line.Content.Tag == domain);

    public void InvalidatePasid(VtdDomainId domain, VtdPasid pasid) => Invalidate((in Line line) => line.Content.Tag == domain && line.Pasid == pasid);

    public void AddTo(List<PasidCacheEntry> entries)
    {
        foreach (ref readonly Line line in _lines.AsSpan())
        {
            if (!line.Valid || line.Content.Fault != VtdFaultReason.None) continue;
            AddressSpace space = line.Content.Entry.ToAddressSpace(line.Pasid);
            PhysAddr root = space.IsNested ? space.SecondTable : space.Table;
            if (space.Stage != TranslationStage.PassThrough) entries.Add(new(line.Source, line.Pasid, space.Domain, space.Stage, root));
        }
    }

    // Neighbouring PASIDs fall into neighbouring lines; the requester only shifts them, so that sharing a line is easy to provoke.
    private uint IndexOf(StreamId source, VtdPasid pasid) => (source.Value + pasid.Value) % (uint)_lines.Length;

    /// <summary>Drops each line or not.</summary>
    public void Evict(Xorshift random) => Invalidate((in Line _) => random.Next(2) == 0);

    private void Invalidate(Match matches)
    {
        _changes.Begin();
        foreach (ref Line line in _lines.AsSpan())
        {
            if (matches(line)) line = default;
        }

        _changes.End();
    }

    private delegate bool Match(in Line line);

    private readonly record struct Line(bool Valid, StreamId Source, VtdPasid Pasid, CachedPasid Content);
}

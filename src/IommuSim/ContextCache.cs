using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>What is known of a requester: its context entry, or the fault met on the way to it.</summary>
/// <param name="Entry">The context entry of legacy mode; where none could be read, all zero.</param>
/// <param name="Scalable">The context entry of scalable mode, likewise.</param>
/// <param name="IsScalable">Which of the two it is.</param>
/// <param name="Fault">None if the entry can be used.</param>
internal readonly record struct CachedContext(
    ContextEntry Entry, ScalableContextEntry Scalable, bool IsScalable, VtdFaultReason Fault)
{
    /// <summary>
    /// The domain it is tagged with in legacy mode. In caching mode absent and erroneous entries are tagged with domain id 0,
    /// which software therefore must not use (Caching Translation Information, Caching Mode).
    /// </summary>
    public VtdDomainId Tag => Fault == VtdFaultReason.None ? Entry.Domain : default;

    /// <summary>DTE, or the translation type that lets translation requests through.</summary>
    public bool IsDeviceTlbEnabled => IsScalable ? Scalable.IsDeviceTlbEnabled : Entry.IsDeviceTlbEnabled;

    /// <summary>FPD.</summary>
    public bool FaultProcessingDisabled => IsScalable ? Scalable.FaultProcessingDisabled : Entry.FaultProcessingDisabled;
}

/// <summary>What an access of a device goes by whose context entry of legacy mode has nothing special: second-stage tables.</summary>
/// <param name="Tag">Of the lines of the IOTLB.</param>
/// <param name="Beyond">The bits of an address that the tables do not translate; not 0 if there are such tables.</param>
internal readonly record struct PlainTables(CacheTag Tag, ulong Beyond)
{
    public static PlainTables From(in CachedContext context, VtdOptions options)
    {
        if (context.IsScalable || context.Fault != VtdFaultReason.None || context.Entry.IsPassThrough) return default;
        AddressSpace space = context.Entry.ToAddressSpace();
        return new(space.Tag, VtdEntries.BitsFrom(space.Width(options)));
    }
}

/// <summary>The direct-mapped context cache, by requester id.</summary>
/// <remarks><b>Threads.</b> Changed under the unit's lock; looked up by any number of threads without one.</remarks>
internal sealed class ContextCache(VtdOptions options)
{
    private readonly Line[] _lines = new Line[options.ContextCacheEntries];
    private ChangeCounter _changes;

    /// <summary>Finds a requester's entry of the mode that the unit is in. One that is changed meanwhile counts as not there.</summary>
    public bool TryFind(StreamId source, bool isScalable, out CachedContext context)
    {
        if (_lines.Length != 0)
        {
            int seen = _changes.Look();
            ref readonly Line line = ref _lines[IndexOf(source)];
            context = line.Context;
            return line.Valid && line.Source == source.Value && context.IsScalable == isScalable && _changes.IsAsSeen(seen);
        }

        context = default;
        return false;
    }

    /// <summary>The same of an entry that leads to <see cref="PlainTables"/>.</summary>
    public bool TryFindPlain(StreamId source, out PlainTables tables)
    {
        if (_lines.Length != 0)
        {
            int seen = _changes.Look();
            ref readonly Line line = ref _lines[IndexOf(source)];
            tables = line.Plain;
            return tables.Beyond != 0 && line.Source == source.Value && _changes.IsAsSeen(seen);
        }

        tables = default;
        return false;
    }

    public void Insert(StreamId source, in CachedContext context)
    {
        if (_lines.Length == 0) return;
        _changes.Begin();
        _lines[IndexOf(source)] = new(true, source.Value, context, PlainTables.From(context, options));
        _changes.End();
    }

    public void InvalidateAll() => Invalidate(static (in Line _) => true);

    public void InvalidateDomain(VtdDomainId domain) => Invalidate((in Line line) => line.Context.Tag == domain);

    /// <summary>Drops the entries of <paramref name="domain"/> whose requester id equals <paramref name="source"/> but for the masked bits.</summary>
    public void InvalidateDevice(VtdDomainId domain, ushort source, ushort ignoredBits) =>
        Invalidate((in Line line) => line.Context.Tag == domain && ((line.Source ^ source) & ~(uint)ignoredBits) == 0);

    /// <summary>Scalable mode, where the cache knows no domains: the same whatever the domain.</summary>
    public void InvalidateDevice(ushort source, ushort ignoredBits) => Invalidate((in Line line) => ((line.Source ^ source) & ~(uint)ignoredBits) == 0);

    // The division shows where it can be avoided.
    private uint IndexOf(StreamId source)
    {
        uint lineCount = (uint)_lines.Length;
        return (lineCount & (lineCount - 1)) == 0 ? source.Value & (lineCount - 1) : source.Value % lineCount;
    }

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

    private readonly record struct Line(bool Valid, uint Source, CachedContext Context, PlainTables Plain);
}

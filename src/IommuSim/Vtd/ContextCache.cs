using System.Runtime.CompilerServices;
using IommuSim.Machinery;
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
        return new(space.Tag, PageLevels.BitsFrom(space.Width(options)));
    }
}

/// <summary>And where those tables are, for an access that the IOTLB does not know.</summary>
/// <param name="Table">SSPTPTR.</param>
/// <param name="Levels">Of the tables.</param>
/// <param name="Domain">What the caches tag translations with.</param>
/// <param name="FaultProcessingDisabled">FPD.</param>
internal readonly record struct PlainRoot(PhysAddr Table, int Levels, VtdDomainId Domain, bool FaultProcessingDisabled)
{
    public static PlainRoot From(in CachedContext context) =>
        new(context.Entry.Table, context.Entry.Levels, context.Entry.Domain, context.Entry.FaultProcessingDisabled);
}

/// <summary>The context cache, by requester id.</summary>
/// <remarks><b>Threads.</b> As <see cref="EntryCache{TKey,TEntry}"/>.</remarks>
internal sealed class ContextCache(VtdOptions options) : EntryCache<StreamId, ContextCache.Content>(options.ContextCacheEntries)
{
    /// <summary>Finds a requester's entry of the mode that the unit is in. One that is changed meanwhile counts as not there.</summary>
    public bool TryFind(StreamId source, bool isScalable, out CachedContext context)
    {
        Unsafe.SkipInit(out context);
        ref readonly Content content = ref Look(source, source.Value, out int seen);
        if (Unsafe.IsNullRef(in content)) return false;
        context = content.Context;
        return context.IsScalable == isScalable && IsAsSeen(seen);
    }

    /// <summary>The same of an entry that leads to <see cref="PlainTables"/>.</summary>
    public bool TryFindPlain(StreamId source, out PlainTables tables)
    {
        Unsafe.SkipInit(out tables);
        ref readonly Content content = ref Look(source, source.Value, out int seen);
        if (Unsafe.IsNullRef(in content)) return false;
        tables = content.Plain;
        return tables.Beyond != 0 && IsAsSeen(seen);
    }

    /// <summary>The root of such tables, if they translate the address.</summary>
    public bool TryFindRoot(StreamId source, Iova address, out PlainRoot root)
    {
        Unsafe.SkipInit(out root);
        ref readonly Content content = ref Look(source, source.Value, out int seen);
        if (Unsafe.IsNullRef(in content)) return false;
        root = content.Root;
        ulong beyond = content.Plain.Beyond;
        // Survives as `address.Value | beyond`: performance only, for whom no root is found goes the long way to the same tables
        return beyond != 0 && (address.Value & beyond) == 0 && IsAsSeen(seen);
    }

    public void Insert(StreamId source, in CachedContext context) =>
        Insert(source, source.Value, new(context, PlainTables.From(context, options), PlainRoot.From(context)));

    public void InvalidateDomain(VtdDomainId domain) =>
        Invalidate((in StreamId _, in Content content) => content.Context.Tag == domain);

    /// <summary>Drops the entries of <paramref name="domain"/> whose requester id equals <paramref name="source"/> but for the masked bits.</summary>
    public void InvalidateDevice(VtdDomainId domain, ushort source, ushort ignoredBits) =>
        Invalidate((in StreamId of, in Content content) => content.Context.Tag == domain && ((of.Value ^ source) & ~(uint)ignoredBits) == 0);

    /// <summary>Scalable mode, where the cache knows no domains: the same whatever the domain.</summary>
    public void InvalidateDevice(ushort source, ushort ignoredBits) =>
        Invalidate((in StreamId of, in Content _) => ((of.Value ^ source) & ~(uint)ignoredBits) == 0);

    internal readonly record struct Content(CachedContext Context, PlainTables Plain, PlainRoot Root);
}

using System.Globalization;
using Platform;

namespace IommuSim;

/// <summary>The domain id of a context or PASID entry, under which the caches keep translations.</summary>
/// <param name="Value">0 … 65,535.</param>
public readonly record struct VtdDomainId(ushort Value)
{
    /// <summary><c>did:0x1</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"did:0x{Value:x}");
}

/// <summary>How a device's addresses are translated.</summary>
public enum TranslationStage
{
    /// <summary>By second-stage tables: those of the legacy mode, or of a PASID entry with PGTT 010b.</summary>
    SecondStage,

    /// <summary>By first-stage tables, PGTT 001b: those of an x86-64 processor.</summary>
    FirstStage,

    /// <summary>Not at all.</summary>
    PassThrough,

    /// <summary>
    /// By both, PGTT 011b: what first-stage tables are pointed at by and what they translate to are guest-physical addresses, which
    /// second-stage tables translate.
    /// </summary>
    Nested,
}

/// <summary>What a translation gave.</summary>
/// <param name="Ok">Whether the access may go on.</param>
/// <param name="Address">Where it goes; meaningless if not <paramref name="Ok"/>.</param>
/// <param name="Reason">Why it was blocked; <see cref="VtdFaultReason.None"/> if it was not.</param>
public readonly record struct TranslationResult(bool Ok, PhysAddr Address, VtdFaultReason Reason)
{
    internal static TranslationResult At(ulong address) => new(true, new(address), VtdFaultReason.None);

    internal static TranslationResult Blocked(VtdFaultReason reason) => new(false, default, reason);
}

/// <summary>A translation that the IOTLB holds.</summary>
/// <param name="Domain">The domain it is tagged with.</param>
/// <param name="Range">The page: 4 KiB, 2 MiB or 1 GiB. Under nested translation it is the smaller of the two stages' pages.</param>
/// <param name="Address">The physical address of the page's first byte; meaningless for a cached fault.</param>
/// <param name="Read">Whether reads are let through.</param>
/// <param name="Write">Whether writes are let through; those of a supervisor may be all the same (WPE).</param>
/// <param name="Fault">In caching mode, the fault that is cached instead of a translation.</param>
/// <param name="Pasid">In scalable mode the PASID that it is tagged with; the context entry's for a request without one.</param>
/// <param name="Stage">The tables that it comes from; first stage under nested translation, too.</param>
/// <param name="User">Whether requests without supervisor privilege are let through.</param>
/// <param name="Execute">Whether requests that ask to execute are let through; in the second stage they always are.</param>
public readonly record struct IotlbEntry(
    VtdDomainId Domain,
    IovaRange Range,
    PhysAddr Address,
    bool Read,
    bool Write,
    VtdFaultReason Fault,
    Pasid? Pasid = null,
    TranslationStage Stage = TranslationStage.SecondStage,
    bool User = true,
    bool Execute = true);

/// <summary>A paging entry that a paging-structure cache holds: a pointer to a table that the hardware may still walk.</summary>
/// <param name="Domain">The domain it is tagged with.</param>
/// <param name="Range">
/// The device addresses that the table translates; guest-physical ones where a walk of the second stage of nested translation left the entry.
/// </param>
/// <param name="Table">The table pointed at, as a physical address under nested translation, too; meaningless for a cached fault.</param>
/// <param name="Level">The level of the entry: 2 is a page-directory entry, 4 a PML4 entry, 5 a PML5 entry.</param>
/// <param name="Fault">In caching mode, the fault that is cached instead of a pointer.</param>
/// <param name="Pasid">The PASID that a first-stage entry is tagged with; null for second-stage entries, which every PASID of the domain shares.</param>
public readonly record struct WalkCacheEntry(
    VtdDomainId Domain, IovaRange Range, PhysAddr Table, int Level, VtdFaultReason Fault, Pasid? Pasid = null);

/// <summary>A PASID entry that the PASID cache holds: a pointer to a table that the hardware may still walk.</summary>
/// <param name="Source">The requester that it is for.</param>
/// <param name="Pasid">And the PASID; of a request without one, the context entry's.</param>
/// <param name="Domain">The domain that it names.</param>
/// <param name="Stage">By which tables it translates: first or second stage, or both.</param>
/// <param name="Root">Their root. Under nested translation that of the second stage: what the first stage's points at is found through it.</param>
public readonly record struct PasidCacheEntry(StreamId Source, Pasid Pasid, VtdDomainId Domain, TranslationStage Stage, PhysAddr Root);

/// <summary>What the unit has done since it was made.</summary>
public record struct VtdStatistics
{
    /// <summary>Requests that were given to the unit, one for each page touched.</summary>
    public long Translations { get; internal set; }

    /// <summary>Requests that the IOTLB answered, a cached fault included.</summary>
    public long IotlbHits { get; internal set; }

    /// <summary>Requests that went to the tables.</summary>
    public long Walks { get; internal set; }

    /// <summary>Walks that began below the first level, from a paging-structure cache. Under nested translation each walk of the second stage is one.</summary>
    public long WalkCacheHits { get; internal set; }

    /// <summary>Fills thrown away because an invalidation came between the read of the entry and the fill.</summary>
    public long DiscardedFills { get; internal set; }

    /// <summary>Requests that were blocked.</summary>
    public long Faults { get; internal set; }

    /// <summary>Blocked requests that were not recorded because the fault records were full or PFO was set.</summary>
    public long FaultsLost { get; internal set; }

    /// <summary>Blocked requests that were not recorded because a context, PASID directory or PASID entry disables fault processing.</summary>
    public long FaultsSilenced { get; internal set; }

    /// <summary>Context-cache invalidations of any granularity.</summary>
    public long ContextInvalidations { get; internal set; }

    /// <summary>Global IOTLB invalidations.</summary>
    public long IotlbGlobalInvalidations { get; internal set; }

    /// <summary>Domain-selective IOTLB invalidations.</summary>
    public long IotlbDomainInvalidations { get; internal set; }

    /// <summary>Page-selective IOTLB invalidations.</summary>
    public long IotlbPageInvalidations { get; internal set; }

    /// <summary>Requests whose PASID entry the PASID cache knew.</summary>
    public long PasidCacheHits { get; internal set; }

    /// <summary>PASID-cache invalidations of any granularity.</summary>
    public long PasidCacheInvalidations { get; internal set; }

    /// <summary>PASID-based IOTLB invalidations of any granularity.</summary>
    public long PasidIotlbInvalidations { get; internal set; }

    /// <summary>Translations that devices asked for.</summary>
    public long TranslationRequests { get; internal set; }

    /// <summary>Accesses that a device's own TLB translated, without asking.</summary>
    public long DeviceTlbHits { get; internal set; }

    /// <summary>Device-TLB invalidations, with and without PASID.</summary>
    public long DeviceTlbInvalidations { get; internal set; }

    /// <summary>Page requests that context entries let through, lost ones included.</summary>
    public long PageRequests { get; internal set; }

    /// <summary>Page requests that were not queued because the queue was full or PRO was set.</summary>
    public long PageRequestsLost { get; internal set; }

    /// <summary>Page group responses, whether or not a device waited for them.</summary>
    public long PageGroupResponses { get; internal set; }

    /// <summary>Accessed, extended-accessed and dirty flags of paging entries that were set, one for each write of an entry.</summary>
    public long FlagUpdates { get; internal set; }

    /// <summary>Such writes that found that software had changed the entry.</summary>
    public long FlagUpdatesLost { get; internal set; }

    /// <summary>Wait descriptors that completed.</summary>
    public long Waits { get; internal set; }

    /// <summary>Times that a wait descriptor, when looked at, still had to let an access drain.</summary>
    public long WaitsHeld { get; internal set; }

    /// <summary>Times that the queue stopped at an error.</summary>
    public long QueueErrors { get; internal set; }

    /// <summary>Times that the queue stopped since a device had not answered an invalidation of its TLB.</summary>
    public long InvalidationTimeouts { get; internal set; }

    /// <summary>Interrupt messages that were sent.</summary>
    public long InterruptMessages { get; internal set; }
}

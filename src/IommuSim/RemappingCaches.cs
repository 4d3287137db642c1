using IommuSim.DeviceSide;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>The caches of the unit and the invalidations of them.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Caching Translation Information. Software relies on an invalidation
/// covering what it names; it must not rely on it covering more. So every invalidation here covers exactly what it names.</para>
/// <para><b>Epochs.</b> Each invalidation begins an epoch. What was read from memory in an earlier epoch is not put into a
/// cache, and a wait descriptor lets the accesses of earlier epochs end (see <see cref="IsDrained"/>).</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class RemappingCaches
{
    public const int LowestTableLevel = 2;
    public const int HighestTableLevel = 5;
    private readonly TranslationCache[] _walkCaches = new TranslationCache[HighestTableLevel + 1];
    private readonly TranslationCache[] _firstStageWalkCaches = new TranslationCache[HighestTableLevel + 1];
    private ulong _invalidated;
    private ulong _readsDrainedTo;
    private ulong _writesDrainedTo;

    public RemappingCaches(VtdOptions options)
    {
        Contexts = new(options.ContextCacheEntries);
        Pasids = new(options.ScalableMode ? options.PasidCacheEntries : 0);
        Iotlb = new(options.IotlbSets, options.IotlbWays);
        int sets = options.WalkCacheEntriesPerLevel == 0 ? 0 : 1;
        for (int level = LowestTableLevel; level <= HighestTableLevel; level++)
        {
            _walkCaches[level] = new(sets, options.WalkCacheEntriesPerLevel);
            _firstStageWalkCaches[level] = new(options.HasFirstStage ? sets : 0, options.WalkCacheEntriesPerLevel);
        }
    }

    /// <summary>Goes up with each invalidation and each change of the global settings.</summary>
    public ulong Epoch { get; private set; }

    public ContextCache Contexts { get; }

    public PasidCache Pasids { get; }

    public TranslationCache Iotlb { get; }

    public InFlightAccesses InFlight { get; } = new();

    /// <summary>The TLBs of the devices, by requester id.</summary>
    public Dictionary<uint, DeviceTlb> Devices { get; } = [];

    public VtdStatistics Counts;

    /// <summary>The cache of the entries of <paramref name="level"/>, 2 … 5, of one stage that point to tables.</summary>
    public TranslationCache WalkCache(bool isFirstStage, int level) => (isFirstStage ? _firstStageWalkCaches : _walkCaches)[level];

    /// <summary>Whether what the access read is still good to be cached: no invalidation came since it began.</summary>
    public bool MayFill(int slot)
    {
        if (InFlight.Began(slot) == Epoch) return true;
        Counts.DiscardedFills++;
        return false;
    }

    public ulong BeginEpoch() => Epoch = unchecked(Epoch + 1);

    /// <summary>Context-cache invalidation. In scalable mode the cache is not tagged by domain, so that a domain is all.</summary>
    public void InvalidateContexts(Granularity granularity, VtdDomainId domain, ushort source, int functionMask, bool isScalable)
    {
        _invalidated = BeginEpoch();
        Counts.ContextInvalidations++;
        // FM: 0 no bit of the function number masked, 1 bit 2, 2 bits 2:1, 3 bits 2:0.
        ushort ignoredBits = (ushort)(functionMask switch { 0 => 0, 1 => 4, 2 => 6, _ => 7 });
        switch (granularity)
        {
            case Granularity.Global:
            case Granularity.Domain when isScalable:
                Contexts.InvalidateAll();
                break;
            case Granularity.Domain:
                Contexts.InvalidateDomain(domain);
                break;
            case Granularity.Selective when isScalable:
                Contexts.InvalidateDevice(source, ignoredBits);
                break;
            case Granularity.Selective:
                Contexts.InvalidateDevice(domain, source, ignoredBits);
                break;
        }
    }

    /// <summary>PASID-cache invalidation.</summary>
    public void InvalidatePasids(PasidGranularity granularity, VtdDomainId domain, VtdPasid pasid)
    {
        _invalidated = BeginEpoch();
        Counts.PasidCacheInvalidations++;
        switch (granularity)
        {
            case PasidGranularity.Global:
                Pasids.InvalidateAll();
                break;
            case PasidGranularity.Domain:
                Pasids.InvalidateDomain(domain);
                break;
            case PasidGranularity.Pasid:
                Pasids.InvalidatePasid(domain, pasid);
                break;
        }
    }

    /// <summary>
    /// PASID-based IOTLB invalidation: of all that the IOTLB has of the PASID and of the first-stage paging-structure caches,
    /// or of first-stage pages. Accesses in flight are always drained. Second-stage paging structures stay.
    /// </summary>
    public void InvalidatePasidIotlb(Granularity granularity, CacheTag tag, PageSelection pages)
    {
        _invalidated = BeginEpoch();
        _readsDrainedTo = _writesDrainedTo = Epoch;
        Counts.PasidIotlbInvalidations++;
        bool isPasid = granularity == Granularity.Domain;
        if (isPasid) Iotlb.InvalidateTag(tag);
        else Iotlb.InvalidateFirstStageRange(tag, pages.Range);
        if (!isPasid && pages.LeafOnly) return;
        for (int level = LowestTableLevel; level <= HighestTableLevel; level++)
        {
            if (isPasid) _firstStageWalkCaches[level].InvalidateTag(tag);
            else _firstStageWalkCaches[level].InvalidateFirstStageRange(tag, pages.Range);
        }
    }

    /// <summary>
    /// IOTLB invalidation, of the paging-structure caches too, except where a page-selective one comes with the
    /// leaf-only hint. The drain flags say which kinds of access in flight a wait must let end. A page is one of the second
    /// stage: of the first stage all that the domain has goes.
    /// </summary>
    public void InvalidateIotlb(Granularity granularity, VtdDomainId domain, PageSelection pages, bool drainReads, bool drainWrites)
    {
        _invalidated = BeginEpoch();
        if (drainReads) _readsDrainedTo = Epoch;
        if (drainWrites) _writesDrainedTo = Epoch;
        switch (granularity)
        {
            case Granularity.Global:
                Counts.IotlbGlobalInvalidations++;
                Iotlb.InvalidateAll();
                break;
            case Granularity.Domain:
                Counts.IotlbDomainInvalidations++;
                Iotlb.InvalidateDomain(domain.Value);
                break;
            case Granularity.Selective:
                Counts.IotlbPageInvalidations++;
                Iotlb.InvalidateRange(domain.Value, pages.Range);
                Iotlb.InvalidateFirstStage(domain.Value);
                break;
        }

        for (int level = LowestTableLevel; level <= HighestTableLevel; level++)
        {
            if (granularity == Granularity.Global) _firstStageWalkCaches[level].InvalidateAll();
            else _firstStageWalkCaches[level].InvalidateDomain(domain.Value);
        }

        if (granularity == Granularity.Selective && pages.LeafOnly) return;
        for (int level = LowestTableLevel; level <= HighestTableLevel; level++)
        {
            TranslationCache cache = _walkCaches[level];
            if (granularity == Granularity.Global) cache.InvalidateAll();
            else if (granularity == Granularity.Domain) cache.InvalidateDomain(domain.Value);
            else cache.InvalidateRange(domain.Value, pages.Range);
        }
    }

    /// <summary>
    /// Device-TLB invalidation. A device answers it when its accesses by older translations are over; no device, no answer to
    /// wait for.
    /// </summary>
    public void InvalidateDeviceTlb(ushort source, uint pasid, bool isOfAllPasids, IovaRange range)
    {
        BeginEpoch();
        Counts.DeviceTlbInvalidations++;
        if (Devices.TryGetValue(source, out DeviceTlb? device)) device.Invalidate(pasid, isOfAllPasids, range, Epoch);
    }

    /// <summary>
    /// A page request takes with it what the unit may know of the page, so that the device's next translation request is
    /// answered from the tables.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Handling of Page Requests.</remarks>
    public void ForgetAskedFor(CacheTag tag, Iova page)
    {
        BeginEpoch();
        var range = IovaRange.FromLength(page, 4096);
        Iotlb.InvalidateTagRange(tag, range);
        for (int level = LowestTableLevel; level <= HighestTableLevel; level++)
        {
            _firstStageWalkCaches[level].InvalidateTagRange(tag, range);
            _walkCaches[level].InvalidateRange(tag.Domain, range);
        }
    }

    /// <summary>
    /// Whether everything is over that an invalidation so far must wait for: translations begun before it, and, where
    /// its drain flag for the kind of access was set, their memory accesses too. Accesses that devices translated themselves
    /// are drained by the invalidation of their TLB.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Draining of Requests to Memory; Handling of Device-TLB Invalidations.</remarks>
    public bool IsDrained =>
        !InFlight.AnyTranslatingBefore(_invalidated)
        && !InFlight.AnyReadBefore(_readsDrainedTo)
        && !InFlight.AnyWriteBefore(_writesDrainedTo)
        && AreDevicesDrained;

    private bool AreDevicesDrained
    {
        get
        {
            foreach (DeviceTlb device in Devices.Values)
            {
                if (InFlight.AnyTranslatedBefore(device.InvalidatedAt, device.Source)) return false;
            }

            return true;
        }
    }
}

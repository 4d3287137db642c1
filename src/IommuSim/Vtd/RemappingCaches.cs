using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>The caches of the unit and the invalidations of them.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Caching Translation Information. Software relies on an invalidation
/// covering what it names; it must not rely on it covering more. So every invalidation here covers exactly what it names.</para>
/// <para><b>Epochs.</b> Each invalidation ends an epoch. What was read from memory in an earlier epoch is not put into a
/// cache, and a wait descriptor lets the accesses of earlier epochs end (see <see cref="IsDrained"/>).</para>
/// <para><b>Threads.</b> Under the unit's lock, but for <see cref="Epoch"/>, look-ups, fills, and <see cref="InFlight"/>. An
/// invalidation is therefore no instant: it has an epoch of its own, an odd one, while it drops. Who begins in that may find what
/// is about to be dropped: it fills nothing, and has to be waited for. Who begins later finds nothing of it.</para>
/// </remarks>
internal sealed class RemappingCaches
{
    public const int LowestTableLevel = 2;
    public const int HighestTableLevel = 5;
    private const int TableLevels = HighestTableLevel - LowestTableLevel + 1;
    private readonly TranslationCache<PageLevels>[] _walkCaches = new TranslationCache<PageLevels>[TableLevels];

    // None where there is no first stage.
    private readonly TranslationCache<PageLevels>[] _firstStageWalkCaches;
    private bool _isHeld;
    private ulong _epoch;
    private ulong _invalidated;
    private ulong _readsDrainedTo;
    private ulong _writesDrainedTo;

    public RemappingCaches(VtdOptions options)
    {
        Contexts = new(options);
        // Survives as `(true?…`: performance only, without the scalable mode nobody fills it
        Pasids = new(options.ScalableMode ? options.PasidCacheEntries : 0);
        Iotlb = new(options.IotlbSets, options.IotlbWays, options.Replacement);
        foreach (ref TranslationCache<PageLevels> cache in _walkCaches.AsSpan()) cache = new(sets: 1, options.WalkCacheEntriesPerLevel, options.Replacement);
        // Survives as `(true?…`: performance only, without a first stage nobody fills them, and nothing is found in them
        _firstStageWalkCaches = new TranslationCache<PageLevels>[options.HasFirstStage ? _walkCaches.Length : 0];
        foreach (ref TranslationCache<PageLevels> cache in _firstStageWalkCaches.AsSpan()) cache = new(sets: 1, options.WalkCacheEntriesPerLevel, options.Replacement);
    }

    /// <summary>Goes up with each invalidation and each change of the global settings. Read without a lock, too.</summary>
    public ulong Epoch => Volatile.Read(ref _epoch);

    public ContextCache Contexts { get; }

    public PasidCache Pasids { get; }

    public TranslationCache<PageLevels> Iotlb { get; }

    public InFlightAccesses InFlight { get; } = new();

    /// <summary>The TLBs of the devices, by requester id.</summary>
    public Dictionary<uint, DeviceTlb> Devices { get; } = [];

    /// <summary>What is counted under the lock.</summary>
    public VtdStatistics Counts;

    /// <summary>All that is counted.</summary>
    public VtdStatistics Statistics
    {
        get
        {
            AccessCounts accesses = InFlight.Counts;
            return Counts with
            {
                Translations = accesses.Translations,
                IotlbHits = accesses.IotlbHits,
                Walks = accesses.Walks,
                WalkCacheHits = accesses.WalkCacheHits,
                PasidCacheHits = accesses.PasidCacheHits,
                DiscardedFills = Counts.DiscardedFills + accesses.DiscardedFills,
            };
        }
    }

    /// <summary>The cache of the entries of <paramref name="level"/>, 2 … 5, of one stage that point to tables.</summary>
    public TranslationCache<PageLevels> WalkCache(bool isFirstStage, int level) => WalkCaches(isFirstStage)[level - LowestTableLevel];

    /// <summary>Those of one stage, from <see cref="LowestTableLevel"/> up.</summary>
    public TranslationCache<PageLevels>[] WalkCaches(bool isFirstStage) => isFirstStage ? _firstStageWalkCaches : _walkCaches;

    /// <summary>Whether what the access read is still good to be cached; for the caches of structures, under the lock.</summary>
    public bool MayFill(int slot) => Discard(slot, new FillGuard(in _epoch, InFlight.Began(slot)).IsGood);

    /// <summary>Puts what the access read into a cache, if it is still good. Needs no lock.</summary>
    public void Fill(TranslationCache<PageLevels> cache, int slot, in CacheLine line) =>
        Discard(slot, cache.TryInsert(line, new FillGuard(in _epoch, InFlight.Began(slot))));

    /// <summary>Before something is dropped, or set anew. A full fence: a fill that is not seen after it sees the epoch.</summary>
    public void BeginChange()
    {
        if (!_isHeld) Interlocked.Increment(ref _epoch);
    }

    /// <summary>After it: accesses that began in an earlier epoch than the one returned may have seen what was before.</summary>
    public ulong EndChange()
    {
        ulong next = _epoch + 1;
        if (!_isHeld) Volatile.Write(ref _epoch, next);
        return next;
    }

    /// <summary>Before several invalidations in a row, which then end one epoch together, at <see cref="Release"/>.</summary>
    public void Hold()
    {
        BeginChange();
        Iotlb.Hold();
        _isHeld = true;
    }

    /// <summary>After them.</summary>
    public void Release()
    {
        _isHeld = false;
        Iotlb.Release();
        EndChange();
    }

    private bool Discard(int slot, bool isGood)
    {
        if (!isGood) InFlight.CountsOf(slot).DiscardedFills++;
        return isGood;
    }

    /// <summary>Context-cache invalidation. In scalable mode the cache is not tagged by domain, so that a domain is all.</summary>
    public void InvalidateContexts(Granularity granularity, VtdDomainId domain, ushort source, int functionMask, bool isScalable)
    {
        Counts.ContextInvalidations++;
        BeginChange();
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

        _invalidated = EndChange();
    }

    /// <summary>PASID-cache invalidation.</summary>
    public void InvalidatePasids(PasidGranularity granularity, VtdDomainId domain, Pasid pasid)
    {
        Counts.PasidCacheInvalidations++;
        BeginChange();
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

        _invalidated = EndChange();
    }

    /// <summary>
    /// PASID-based IOTLB invalidation: of all that the IOTLB has of the PASID and of the first-stage paging-structure caches,
    /// or of first-stage pages, nested ones included. Accesses in flight are always drained. Second-stage paging structures stay.
    /// </summary>
    public void InvalidatePasidIotlb(Granularity granularity, CacheTag tag, PageSelection pages)
    {
        Counts.PasidIotlbInvalidations++;
        BeginChange();
        bool isPasid = granularity == Granularity.Domain;
        LineFilter filter = LineFilter.Of(tag);
        if (!isPasid) filter = filter.OfStage(isFirst: true).In(pages.Range);
        Iotlb.Invalidate(filter);
        if (isPasid || !pages.LeafOnly)
        {
            foreach (TranslationCache<PageLevels> cache in _firstStageWalkCaches) cache.Invalidate(filter);
        }

        _invalidated = _readsDrainedTo = _writesDrainedTo = EndChange();
    }

    /// <summary>
    /// IOTLB invalidation, of the paging-structure caches too, except where a page-selective one comes with the
    /// leaf-only hint. The drain flags say which kinds of access in flight a wait must let end. A page is one of the second
    /// stage: of the first stage all that the domain has goes, since under nested translation any of it may have come through the page.
    /// </summary>
    public void InvalidateIotlb(Granularity granularity, VtdDomainId domain, PageSelection pages, bool drainReads, bool drainWrites)
    {
        BeginChange();
        LineFilter ofFirstStage = granularity == Granularity.Global ? LineFilter.All : VtdTags.OfDomain(domain);
        LineFilter filter = ofFirstStage;
        switch (granularity)
        {
            case Granularity.Global:
                Counts.IotlbGlobalInvalidations++;
                break;
            case Granularity.Domain:
                Counts.IotlbDomainInvalidations++;
                break;
            case Granularity.Selective:
                Counts.IotlbPageInvalidations++;
                filter = filter.OfStage(isFirst: false).In(pages.Range);
                if (_firstStageWalkCaches.Length != 0) Iotlb.Invalidate(ofFirstStage.OfStage(isFirst: true));
                break;
        }

        Iotlb.Invalidate(filter);
        foreach (TranslationCache<PageLevels> cache in _firstStageWalkCaches) cache.Invalidate(ofFirstStage);
        if (granularity != Granularity.Selective || !pages.LeafOnly)
        {
            foreach (TranslationCache<PageLevels> cache in _walkCaches) cache.Invalidate(filter);
        }

        _invalidated = EndChange();
        if (drainReads) _readsDrainedTo = _invalidated;
        if (drainWrites) _writesDrainedTo = _invalidated;
    }

    /// <summary>
    /// Device-TLB invalidation. A device answers it when its accesses by older translations are over; no device, no answer to
    /// wait for. False if the device does not answer: then it has not forgotten either.
    /// </summary>
    public bool InvalidateDeviceTlb(ushort source, Pasid? pasid, bool isOfAllPasids, IovaRange range)
    {
        BeginChange();
        EndChange();
        Counts.DeviceTlbInvalidations++;
        if (!Devices.TryGetValue(source, out DeviceTlb? device)) return true;
        if (!device.IsResponding) return false;
        device.Invalidate(pasid, isOfAllPasids, range, Epoch);
        return true;
    }

    /// <summary>
    /// A page request takes with it what the unit may know of the page, so that the device's next translation request is
    /// answered from the tables.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Handling of Page Requests.</remarks>
    public void ForgetAskedFor(CacheTag tag, Iova page, bool hasNesting)
    {
        BeginChange();
        IovaRange range = IovaRange.FromLength(page, 4096);
        LineFilter ofPage = VtdTags.OfDomain(tag).In(range);
        LineFilter filter = LineFilter.Of(tag).In(range);
        // By which guest-physical addresses a nested walk has come to the page is not known any more.
        LineFilter ofSecondStage = hasNesting ? VtdTags.OfDomain(tag) : ofPage;
        Iotlb.Invalidate(filter);
        foreach (TranslationCache<PageLevels> cache in _firstStageWalkCaches) cache.Invalidate(filter);
        foreach (TranslationCache<PageLevels> cache in _walkCaches) cache.Invalidate(ofSecondStage);
        EndChange();
    }

    /// <summary>Drops about half of everything.</summary>
    public void Evict(Xorshift random)
    {
        Contexts.Evict(random);
        Pasids.Evict(random);
        Iotlb.Evict(random);
        foreach (TranslationCache<PageLevels> cache in _walkCaches) cache.Evict(random);
        foreach (TranslationCache<PageLevels> cache in _firstStageWalkCaches) cache.Evict(random);
    }

    /// <summary>
    /// Whether everything is over that an invalidation so far must wait for: translations begun before it, and, where
    /// its drain flag for the kind of access was set, their memory accesses too. Accesses that devices translated themselves
    /// are drained by the invalidation of their TLB.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Draining of Requests to Memory; Handling of Device-TLB Invalidations.</remarks>
    public bool IsDrained
    {
        get
        {
            foreach (InFlightAccess access in InFlight)
            {
                if (MustDrain(access)) return false;
            }

            return true;
        }
    }

    private bool MustDrain(in InFlightAccess access)
    {
        if (access.Phase == AccessPhase.Translating && access.Epoch < _invalidated) return true;
        if (access.Translator is { } source) return Devices.TryGetValue(source, out DeviceTlb? device) && access.Epoch < device.InvalidatedAt;
        if (access.Phase == AccessPhase.Asking) return false;
        return access.Epoch < (access.Access == DeviceAccess.Read ? _readsDrainedTo : _writesDrainedTo);
    }
}

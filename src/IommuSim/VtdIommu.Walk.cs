using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>
    /// Reads root and context entry of the requester from memory.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Legacy Mode Address Translation; conditions by their names.</remarks>
    private CachedContext FetchContext(in Request request, PhysAddr root)
    {
        CachedContext context = ReadContext(request.Source, root);
        if (context.Fault != VtdFaultReason.None && !_options.CachingMode) return context;
        _steps.At(SimStep.ContextFill, request.Source.Value);
        lock (_gate)
        {
            if (_caches.MayFill(request.Slot)) _caches.Contexts.Insert(request.Source, context);
        }

        return context;
    }

    private CachedContext ReadContext(StreamId source, PhysAddr root)
    {
        // The low 12 bits of RTADDR_REG are the translation table mode, of which only legacy (0) exists here, and reserved
        // bits; a root table beyond the host address width cannot be fetched.
        if (!root.IsAligned(4096)) return Failed(VtdFaultReason.RootTableAddressInvalid);

        // 1. The bus number selects the root entry.
        var rootAt = new PhysAddr(root.Value | (source.Value >> 8) * RootEntry.Bytes);
        _steps.At(SimStep.ContextFetch, rootAt.Value);
        if (!VtdEntries.TryRead128(_memory, rootAt, out ulong low, out ulong high))
            return Failed(VtdFaultReason.RootTableAddressInvalid);                                       // LRT.1
        var rootEntry = new RootEntry(low, high);
        if (!rootEntry.IsPresent) return Failed(VtdFaultReason.RootEntryNotPresent);                     // LRT.2
        if (rootEntry.HasReserved(_options.HostAddressWidth)) return Failed(VtdFaultReason.RootEntryReserved);    // LRT.3

        // 2. Device and function number select the context entry in the table that it points at.
        var contextAt = new PhysAddr(rootEntry.ContextTable.Value | (source.Value & 0xFF) * ContextEntry.Bytes);
        _steps.At(SimStep.ContextFetch, contextAt.Value);
        if (!VtdEntries.TryRead128(_memory, contextAt, out low, out high))
            return Failed(VtdFaultReason.ContextTableAddressInvalid);                                    // LCT.1
        var entry = new ContextEntry(low, high);
        return new(entry, entry.Check(_options));                                                        // LCT.2 to LCT.4.2
    }

    private static CachedContext Failed(VtdFaultReason reason) => new(default, reason);

    /// <summary>Walks the second-stage tables from the lowest level at which a paging-structure cache knows the way.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Second-Stage Translation; Caching Translation Information, Using the
    /// Paging-Structure Caches.</remarks>
    private TranslationResult Walk(in Request request, in ContextEntry context)
    {
        ulong iova = request.Address.Value;
        var line = new CacheLine { Domain = context.Domain.Value, Target = context.Table.Value, Read = true, Write = true };
        int level = context.Levels;
        _steps.At(SimStep.WalkCacheLookup, iova);
        lock (_gate)
        {
            if (FindInWalkCaches(context, iova, ref line)) level = line.Level - 1;
        }

        if (line.Fault != VtdFaultReason.None) return TranslationResult.Blocked(line.Fault.For(request.Access));
        while (true)
        {
            PhysAddr entryAt = VtdEntries.EntryAddress(new(line.Target), iova, level);
            line.Level = (byte)level;
            line.Page = iova >> VtdEntries.Shift(level);
            _steps.At(SimStep.WalkRead, entryAt.Value);
            bool fetched = _memory.TryRead64(entryAt, out ulong bits);
            var entry = new SecondStageEntry(bits);
            line.Fault = fetched ? Check(entry, level, request.Access) : FetchFault(level == context.Levels);
            if (line.Fault != VtdFaultReason.None) return BlockedByEntry(request, line);

            // Permission is what every entry on the way grants.
            line.Read &= entry.Read;
            line.Write &= entry.Write;
            line.Target = entry.Address.Value;
            if (entry.IsLeaf(level)) return Complete(request, line);
            FillWalkCache(request, line);
            level--;
        }
    }

    private bool FindInWalkCaches(in ContextEntry context, ulong iova, ref CacheLine line)
    {
        for (int level = 2; level <= context.Levels; level++)
        {
            TranslationCache cache = _caches.WalkCache(level);
            int index = cache.Find(context.Domain.Value, iova, level);
            if (index < 0) continue;
            _caches.Counts.WalkCacheHits++;
            line = cache[index];
            return true;
        }

        return false;
    }

    private VtdFaultReason Check(SecondStageEntry entry, int level, DeviceAccess access)
    {
        if (!entry.IsPresent) return VtdFaultReasons.Denied(access);                                     // LGN.2, LGN.3
        return entry.HasReserved(level, _options) ? VtdFaultReason.PagingEntryReserved : VtdFaultReason.None;    // LSL.2
    }

    // LCT.4.3 for the entry that the context entry leads to, LSL.1 for those below.
    private static VtdFaultReason FetchFault(bool isTopLevel) =>
        isTopLevel ? VtdFaultReason.ContextEntryInvalid : VtdFaultReason.NextTablePointerInvalid;

    /// <summary>
    /// An absent or erroneous entry blocks the access. In caching mode it is remembered: in the IOTLB for its page, and,
    /// above the last level, in the paging-structure cache for all that it should have translated.
    /// </summary>
    private TranslationResult BlockedByEntry(in Request request, CacheLine line)
    {
        VtdFaultReason reason = line.Fault;
        if (!_options.CachingMode) return TranslationResult.Blocked(reason);
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        lock (_gate)
        {
            if (!_caches.MayFill(request.Slot)) return TranslationResult.Blocked(reason);
            if (line.Level > 1) _caches.WalkCache(line.Level).Insert(line);
            line.Level = 1;
            line.Page = request.Address.Value >> VtdEntries.Shift(1);
            _caches.Iotlb.Insert(line);
        }

        return TranslationResult.Blocked(reason);
    }

    private void FillWalkCache(in Request request, in CacheLine line)
    {
        if (_options.WalkCacheEntriesPerLevel == 0) return;
        _steps.At(SimStep.WalkCacheFill, request.Address.Value);
        lock (_gate)
        {
            if (_caches.MayFill(request.Slot)) _caches.WalkCache(line.Level).Insert(line);
        }
    }

    /// <summary>The walk found its leaf. Only what lets the access through is cached, unless caching mode is on.</summary>
    private TranslationResult Complete(in Request request, in CacheLine line)
    {
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        lock (_gate)
        {
            TranslationResult result = Resolve(request, line);
            if ((result.Ok || _options.CachingMode) && _caches.MayFill(request.Slot)) _caches.Iotlb.Insert(line);
            return result;
        }
    }
}

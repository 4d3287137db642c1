using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>
    /// Reads root and context entry of the requester from memory.
    /// </summary>
    private CachedContext FetchContext(in Request request, RootPointer root)
    {
        CachedContext context = root.IsScalable
            ? ScalableStructures.ReadContext(_memory, _steps, _options, request.Source, root.Table)
            : LegacyStructures.ReadContext(_memory, _steps, _options, request.Source, root.Table);
        if (context.Fault != VtdFaultReason.None && !_options.CachingMode) return context;
        _steps.At(SimStep.ContextFill, request.Source.Value);
        lock (_gate)
        {
            if (_caches.MayFill(request.Slot)) _caches.Contexts.Insert(request.Source, context);
        }

        return context;
    }

    /// <summary>Walks the tables from the lowest level at which a paging-structure cache knows the way.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, First-Stage Translation; Second-Stage Translation; Caching Translation
    /// Information, Using the Paging-Structure Caches.</remarks>
    private TranslationResult Walk<TEntry>(in Request request, in AddressSpace space)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        ulong iova = request.Address.Value;
        var line = new CacheLine
        {
            IsFirstStage = space.IsFirstStage, Target = space.Table.Value, Read = true, Write = true, User = true, Execute = true,
        };
        int level = space.Levels;
        _steps.At(SimStep.WalkCacheLookup, iova);
        lock (_gate)
        {
            if (FindInWalkCaches(space, iova, ref line)) level = line.Level - 1;
        }

        if (line.Fault != VtdFaultReason.None) return TranslationResult.Blocked(line.Fault.For(request.Access));
        while (true)
        {
            line.Tag = space.WalkTag;
            line.Level = (byte)level;
            line.Page = iova >> VtdEntries.Shift(level);
            TEntry entry = ReadEntry<TEntry>(request, space, ref line);
            if (line.Fault != VtdFaultReason.None) return BlockedByEntry(request, space, line);
            line.Target = entry.Target(level).Value;
            if (entry.IsLeaf(level)) return Complete(request, space, line);
            FillWalkCache(request, line);
            level--;
        }
    }

    /// <summary>
    /// Reads the entry that <paramref name="line"/>, which comes from the level above, leads to; sets the flags that its use
    /// calls for; adds its permissions to the line, or its fault.
    /// </summary>
    private TEntry ReadEntry<TEntry>(in Request request, in AddressSpace space, ref CacheLine line)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        // Software that changes the entry again and again makes the hardware give up (SFS.10, SSS.6).
        const int Attempts = 8;
        PhysAddr at = VtdEntries.EntryAddress(new(line.Target), request.Address.Value, line.Level);
        _steps.At(SimStep.WalkRead, at.Value);
        if (!_memory.TryRead64(at, out ulong bits))
        {
            line.Fault = line.Level == space.Levels ? space.Faults.TopUnreachable : space.Faults.NextUnreachable;
            return default;
        }

        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            TEntry entry = TEntry.From(bits);
            line.Fault = Check(entry, space, line.Level, request.Access);
            if (line.Fault != VtdFaultReason.None) return entry;
            CacheLine combined = WithPermissions(line, entry);
            ulong wanted = WantedFlags(request, space, entry, combined);
            if ((bits & wanted) == wanted)
            {
                combined.Dirty = entry.IsDirty;
                line = combined;
                return entry;
            }

            if (!space.IsWalkSnooped)
            {
                line.Fault = space.Faults.FlagsNotSnooped;                                               // SFS.9, SSS.5
                return entry;
            }

            bits = SetFlags(at, bits, wanted);
        }

        line.Fault = space.Faults.FlagsNotUpdated;
        return default;
    }

    /// <summary>Permission is what every entry on the way grants.</summary>
    private static CacheLine WithPermissions<TEntry>(CacheLine line, TEntry entry)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        line.Read &= entry.Read;
        line.Write &= entry.Write;
        line.User &= entry.User;
        line.Execute &= entry.Execute;
        return line;
    }

    /// <summary>The flags that the entry must have for this use. A leaf that does not permit the access is not used.</summary>
    private static ulong WantedFlags<TEntry>(in Request request, in AddressSpace space, TEntry entry, in CacheLine combined)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        if (!space.KeepsFlags) return 0;
        bool isLeaf = entry.IsLeaf(combined.Level);
        if (isLeaf && Denial(request, space, combined) != VtdFaultReason.None) return 0;
        return entry.FlagsFor(space, dirties: isLeaf && request.Access == DeviceAccess.Write);
    }

    /// <summary>Sets flags in an entry if it still is what was read; what it is now.</summary>
    private ulong SetFlags(PhysAddr at, ulong bits, ulong flags)
    {
        _steps.At(SimStep.FlagUpdate, at.Value);
        ulong found = _memory.CompareExchange64(at, bits | flags, bits);
        lock (_gate)
        {
            if (found == bits) _caches.Counts.FlagUpdates++;
            else _caches.Counts.FlagUpdatesLost++;
        }

        return found == bits ? bits | flags : found;
    }

    private bool FindInWalkCaches(in AddressSpace space, ulong iova, ref CacheLine line)
    {
        for (int level = 2; level <= space.Levels; level++)
        {
            TranslationCache cache = _caches.WalkCache(space.IsFirstStage, level);
            int index = cache.Find(space.WalkTag, iova, level);
            if (index < 0) continue;
            _caches.Counts.WalkCacheHits++;
            line = cache[index];
            return true;
        }

        return false;
    }

    private VtdFaultReason Check<TEntry>(TEntry entry, in AddressSpace space, int level, DeviceAccess access)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        if (!entry.IsPresent) return space.Faults.Absent(access);                                        // LGN.2, LGN.3, SFS.2, SSS.2
        return entry.HasReserved(level, _options) ? space.Faults.Reserved : VtdFaultReason.None;         // LSL.2, SFS.3, SSS.3
    }

    /// <summary>
    /// An absent or erroneous entry blocks the access. In caching mode it is remembered: in the IOTLB for its page, and,
    /// above the last level, in the paging-structure cache for all that it should have translated. Of the first stage nothing
    /// is (Details of IOTLB Use).
    /// </summary>
    private TranslationResult BlockedByEntry(in Request request, in AddressSpace space, CacheLine line)
    {
        VtdFaultReason reason = line.Fault;
        if (!_options.CachingMode || space.IsFirstStage || !reason.IsLasting()) return TranslationResult.Blocked(reason);
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        lock (_gate)
        {
            if (!_caches.MayFill(request.Slot)) return TranslationResult.Blocked(reason);
            if (line.Level > 1) _caches.WalkCache(isFirstStage: false, line.Level).Insert(line);
            line.Tag = space.Tag;
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
            if (_caches.MayFill(request.Slot)) _caches.WalkCache(line.IsFirstStage, line.Level).Insert(line);
        }
    }

    /// <summary>
    /// The walk found its leaf. Only what lets the access through is cached, unless caching mode is on, which does not count
    /// for the first stage. Nor does it where flags are kept: a leaf that does not permit the access has no Accessed flag set, and
    /// an access that it permits would find it in the IOTLB and set none (Accessed and Dirty Flags).
    /// </summary>
    private TranslationResult Complete(in Request request, in AddressSpace space, CacheLine line)
    {
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        line.Tag = space.Tag;
        lock (_gate)
        {
            TranslationResult result = Resolve(request, space, line);
            bool isCached = result.Ok || (_options.CachingMode && !space.IsFirstStage && !space.KeepsFlags);
            if (isCached && _caches.MayFill(request.Slot)) _caches.Iotlb.Insert(line);
            return result;
        }
    }
}

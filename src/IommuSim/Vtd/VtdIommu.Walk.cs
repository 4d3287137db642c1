using System.Runtime.CompilerServices;
using IommuSim.DeviceSide;
using IommuSim.Machinery;
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

    /// <summary>Walks the tables, and under nested translation those of the second stage for whatever the first stage points at.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, First-Stage Translation; Second-Stage Translation; Nested Translation.</remarks>
    private TranslationResult Walk<TEntry>(in Request request, in AddressSpace space)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        VtdFaultReason fault = FindLeaf<TEntry>(request, space, out Leaf leaf);
        if (TEntry.CanBeNested && fault == VtdFaultReason.None && space.IsNested) fault = Nest(request, space, ref leaf);
        return fault == VtdFaultReason.None ? Complete(request, space, leaf) : TranslationResult.Blocked(fault);
    }

    /// <summary>Walks the tables of one stage from the lowest level at which a paging-structure cache knows the way.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Caching Translation Information, Using the Paging-Structure Caches.</remarks>
    private VtdFaultReason FindLeaf<TEntry>(in Request request, in AddressSpace space, out Leaf leaf)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        ulong iova = request.Address.Value;
        var step = new WalkStep(space.Levels, space.Table, Rights.All);
        VtdFaultReason fault = VtdFaultReason.None;
        leaf = default;
        _steps.At(SimStep.WalkCacheLookup, iova);
        if (TryFindInWalkCaches(space, iova, out CacheLine known))
        {
            _caches.InFlight.CountsOf(request.Slot).WalkCacheHits++;
            if (known.Fault != 0) return ((VtdFaultReason)known.Fault).For(request.Access);
            step = new(known.Level - 1, new(known.Target), known.Rights);
        }
        else if (TEntry.CanBeNested && space.IsNested)
        {
            fault = Locate(request, space, ref step);
        }

        while (fault == VtdFaultReason.None)
        {
            fault = ReadEntry(request, space, step, out PhysAddr at, out TEntry entry);
            if (fault == VtdFaultReason.None && space.KeepsFlags)
            {
                if (TEntry.CanBeNested && space.IsNested && step.Guest == WalkStep.Unknown && MissingFlags(request, space, step, entry) != 0)
                {
                    // A cached pointer does not say where the table is for the second stage, which flags are written through.
                    step = new(space.Levels, space.Table, Rights.All);
                    fault = Locate(request, space, ref step);
                    continue;
                }

                fault = KeepFlags(request, space, step, at, ref entry);
            }

            if (fault != VtdFaultReason.None)
            {
                RememberFault(request, space, step, fault);
                break;
            }

            Rights rights = step.Rights & entry.Rights;
            PhysAddr target = entry.Target(step.Level);
            if (entry.IsLeaf(step.Level))
            {
                leaf = new(step.Level, target, rights, entry.IsDirty);
                break;
            }

            step = new(step.Level - 1, target, rights);
            if (TEntry.CanBeNested && space.IsNested) fault = Locate(request, space, ref step);
            if (fault == VtdFaultReason.None) FillWalkCache(request, space, step.Level + 1, step.Table, rights);
        }

        return fault;
    }

    /// <summary>Reads the entry that a walk has come to.</summary>
    /// <returns>The fault that there is in it.</returns>
    private VtdFaultReason ReadEntry<TEntry>(in Request request, in AddressSpace space, in WalkStep step, out PhysAddr at, out TEntry entry)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        at = PageLevels.EntryAddress(step.Table, request.Address.Value, step.Level);
        _steps.At(SimStep.WalkRead, at.Value);
        if (!_memory.TryRead64(at, out ulong bits))
        {
            entry = default;
            return step.Level == space.Levels ? space.Faults.TopUnreachable : space.Faults.NextUnreachable;
        }

        entry = TEntry.From(bits);
        return Check(entry, space, step.Level, request.Access);
    }

    /// <summary>The flags that an entry lacks for this use. A leaf that does not permit the access is not used.</summary>
    private static ulong MissingFlags<TEntry>(in Request request, in AddressSpace space, in WalkStep step, TEntry entry)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        bool isLeaf = entry.IsLeaf(step.Level);
        if (isLeaf && Denial(request, space, step.Rights & entry.Rights) != VtdFaultReason.None) return 0;
        return entry.FlagsFor(space, dirties: isLeaf && request.Access == DeviceAccess.Write) & ~entry.Bits;
    }

    /// <summary>Sets the flags that an entry must have for this use.</summary>
    private VtdFaultReason KeepFlags<TEntry>(in Request request, in AddressSpace space, in WalkStep step, PhysAddr at, ref TEntry entry)
        where TEntry : struct, IPagingEntry<TEntry>
    {
        // Software that changes the entry again and again makes the hardware give up (SFS.10, SSS.6).
        const int Attempts = 8;
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            ulong missing = MissingFlags(request, space, step, entry);
            if (missing == 0) return VtdFaultReason.None;
            if (request.Type == RequestType.Prefetch) return space.Faults.FlagsNotUpdated;
            if (!space.IsWalkSnooped) return space.Faults.FlagsNotSnooped;                               // SFS.9, SSS.5
            VtdFaultReason fault = VtdFaultReason.None;
            if (TEntry.CanBeNested && space.IsNested) fault = LocateForFlags(request, space, step, out at);    // SFS.8
            if (fault == VtdFaultReason.None)
            {
                entry = TEntry.From(SetFlags(at, entry.Bits, missing));
                fault = Check(entry, space, step.Level, request.Access);
            }

            if (fault != VtdFaultReason.None) return fault;
        }

        return space.Faults.FlagsNotUpdated;
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

    private bool TryFindInWalkCaches(in AddressSpace space, ulong iova, out CacheLine line)
    {
        Unsafe.SkipInit(out line);
        for (int level = RemappingCaches.LowestTableLevel; level <= space.Levels; level++)
        {
            if (_caches.WalkCache(space.IsFirstStage, level).TryFind(space.WalkTag, iova, level, out line)) return true;
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
    /// is (Details of IOTLB Use); and the IOTLB knows nothing by guest-physical addresses.
    /// </summary>
    private void RememberFault(in Request request, in AddressSpace space, in WalkStep step, VtdFaultReason reason)
    {
        if (!_options.CachingMode || space.IsFirstStage || !reason.IsLasting()) return;
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        if (step.Level > 1)
        {
            var absent = LineFor(space.WalkTag, request, step.Level, isFirstStage: false, target: 0, step.Rights) with { Fault = (byte)reason };
            _caches.Fill(_caches.WalkCache(isFirstStage: false, step.Level), request.Slot, absent);
        }

        if (space.Guest != GuestAccess.None) return;
        var line = LineFor(space.Tag, request, level: 1, isFirstStage: false, target: 0, step.Rights) with { Fault = (byte)reason };
        _caches.Fill(_caches.Iotlb, request.Slot, line);
    }

    private static CacheLine LineFor(CacheTag tag, in Request request, int level, bool isFirstStage, ulong target, Rights rights) =>
        new(tag, request.Address.Value >> PageLevels.Shift(level), level, isFirstStage, target, rights);

    private void FillWalkCache(in Request request, in AddressSpace space, int level, PhysAddr table, Rights rights)
    {
        TranslationCache<PageLevels> cache = _caches.WalkCache(space.IsFirstStage, level);
        if (cache.IsOff) return;
        _steps.At(SimStep.WalkCacheFill, request.Address.Value);
        var line = LineFor(space.WalkTag, request, level, space.IsFirstStage, table.Value, rights);
        _caches.Fill(cache, request.Slot, line);
    }

    /// <summary>
    /// The walk found its leaf. Only what lets the access through is cached, unless caching mode is on, which does not count
    /// for the first stage. Nor does it where flags are kept: a leaf that does not permit the access has no Accessed flag set, and
    /// an access that it permits would find it in the IOTLB and set none (Accessed and Dirty Flags).
    /// </summary>
    private TranslationResult Complete(in Request request, in AddressSpace space, in Leaf leaf)
    {
        _steps.At(SimStep.IotlbFill, request.Address.Value);
        int level = _options.IotlbLevelOf(leaf.Level);
        ulong target = leaf.Reach(request.Address.Value) & ~PageLevels.PageMask(level);
        var line = LineFor(space.Tag, request, level, space.IsFirstStage, target, leaf.Rights) with { Dirty = leaf.IsDirty };
        TranslationResult result = Resolve(request, space, line);
        bool isCached = result.Ok || (_options.CachingMode && !space.IsFirstStage && !space.KeepsFlags);
        if (!isCached || _caches.Iotlb.IsOff) return result;
        _caches.Fill(_caches.Iotlb, request.Slot, line);
        return result;
    }

    /// <summary>Where a walk is.</summary>
    /// <param name="Level">Of the entry that comes next.</param>
    /// <param name="Table">The table that it is in.</param>
    /// <param name="Rights">What the entries before it grant together.</param>
    /// <param name="Guest">Under nested translation, the guest-physical address of the table, if the walk has come by it.</param>
    private readonly record struct WalkStep(int Level, PhysAddr Table, Rights Rights, ulong Guest = WalkStep.Unknown)
    {
        public const ulong Unknown = ulong.MaxValue;
    }

    /// <summary>What a walk has found.</summary>
    /// <param name="Level">Of the leaf.</param>
    /// <param name="Target">The page.</param>
    /// <param name="Rights">What all entries grant together.</param>
    /// <param name="IsDirty">Whether nothing has to be set for a write any more.</param>
    private readonly record struct Leaf(int Level, PhysAddr Target, Rights Rights, bool IsDirty)
    {
        /// <summary>Where in the page an address leads that it translates.</summary>
        public ulong Reach(ulong address) => Target.Value | (address & PageLevels.PageMask(Level));
    }
}

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
        where TEntry : struct, IVtdPagingEntry<TEntry>
    {
        VtdFaultReason fault = FindLeaf<TEntry>(request, space, out Leaf leaf);
        if (TEntry.CanBeNested && fault == VtdFaultReason.None && space.IsNested) fault = Nest(request, space, ref leaf);
        return fault == VtdFaultReason.None ? Complete(request, space, leaf) : TranslationResult.Blocked(fault);
    }

    private VtdFaultReason FindLeaf<TEntry>(in Request request, in AddressSpace space, out Leaf leaf)
        where TEntry : struct, IVtdPagingEntry<TEntry> =>
        (VtdFaultReason)TableWalk<TMemory, TSteps, PageLevels>.FindLeaf(_memory, _steps, new Walker<TEntry>(this, request, space), out leaf, out TEntry _);

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
        new(tag, request.Address.Value >> PageLevels.Shift(level), level, target, rights, isFirstStage);

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
        ulong target = leaf.Reach<PageLevels>(request.Address.Value) & ~PageLevels.PageMask(level);
        var line = LineFor(space.Tag, request, level, space.IsFirstStage, target, leaf.Rights);
        line.Dirty = leaf.IsDirty;
        TranslationResult result = Resolve(request, space, line);
        bool isCached = result.Ok || (_options.CachingMode && !space.IsFirstStage && !space.KeepsFlags);
        if (!isCached || _caches.Iotlb.IsOff) return result;
        _caches.Fill(_caches.Iotlb, request.Slot, line);
        return result;
    }
}

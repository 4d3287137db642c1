using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

public sealed partial class CpuCore<TMemory, TSteps>
{
    /// <summary>Asks the TLB, under the gate. What it knows and does not permit is a fault, and forgotten with that.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Use of the TLBs".</remarks>
    private bool TryFind(in Request request, out CpuTranslation known)
    {
        known = default;
        for (int level = 1; level <= 3; level++)
        {
            if (!_tlb.TryFind(CpuTags.Of(request.Pcid), request.Address, level, out CacheLine line)
                && !(_options.GlobalPages && _tlb.TryFind(CpuTags.Global, request.Address, level, out line))) continue;
            if (!IsGranted(request, line.Rights)) known = Denied(request);
            // The dirty flag is set in memory before the first write: by a walk.
            else if (request.Access == CpuAccess.Write && !line.Dirty) return false;
            else known = CpuTranslation.At(line.Target | (request.Address & PageLevels.PageMask(level)));
            _counts.TlbHits++;
            return true;
        }

        return false;
    }

    /// <summary>Walks the tables; see <see cref="Walker"/>.</summary>
    private CpuTranslation Walk(in Request request)
    {
        byte fault = TableWalk<TMemory, TSteps, PageLevels>.FindLeaf(_memory, _steps, new Walker(this, request), out Leaf leaf, out CpuPagingEntry entry);
        switch ((WalkFault)fault)
        {
            case WalkFault.NoMemory:
                return new(CpuOutcome.NoMemory, default, PageFaultCode.None);
            case WalkFault.NotPresent:
                return Fault(request, PageFaultCode.None);
            case WalkFault.Reserved:
                return Fault(request, PageFaultCode.Present | PageFaultCode.Reserved);
        }

        if (!IsGranted(request, leaf.Rights)) return Fault(request, PageFaultCode.Present);
        CacheTag tag = entry.IsGlobal && _options.GlobalPages ? CpuTags.Global : CpuTags.Of(request.Pcid);
        CacheLine line = LineFor(request, tag, leaf.Level, leaf.Target, leaf.Rights);
        line.Dirty = leaf.IsDirty;
        return Complete(request, line);
    }

    private static CacheLine LineFor(in Request request, CacheTag tag, int level, PhysAddr target, Rights rights) =>
        new(tag, request.Address >> PageLevels.Shift(level), level, target.Value, rights);

    private bool TryFindStructure(in Request request, out CacheLine line)
    {
        for (int level = LowestTableLevel; level <= _options.Levels; level++)
        {
            if (!_structures[level].TryFind(CpuTags.Of(request.Pcid), request.Address, level, out line)) continue;
            _counts.PagingStructureHits++;
            return true;
        }

        line = default;
        return false;
    }

    /// <summary>Whether the rights that all entries on the way have together permit the access.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Determination of Access Rights".</remarks>
    private bool IsGranted(in Request request, Rights rights)
    {
        bool isUserPage = (rights & Rights.User) != 0;
        if (request.IsUser && !isUserPage) return false;
        bool isOfUser = !request.IsUser && isUserPage;
        if (request.Access == CpuAccess.Fetch)
            return (!isOfUser || !_options.SupervisorExecutionPrevention) && (!_options.ExecuteDisable || (rights & Rights.Execute) != 0);
        if (isOfUser && _options.SupervisorAccessPrevention && !AlignmentCheck) return false;
        return request.Access == CpuAccess.Read || (rights & Rights.Write) != 0 || (!request.IsUser && !_options.WriteProtect);
    }

    /// <summary>The walk found its leaf.</summary>
    private CpuTranslation Complete(in Request request, in CacheLine line)
    {
        Keep(request, SimStep.TlbFill, _tlb, line);
        return CpuTranslation.At(line.Target | (request.Address & PageLevels.PageMask(line.Level)));
    }

    private void Keep(in Request request, SimStep step, TranslationCache<PageLevels> cache, in CacheLine line)
    {
        if (cache.IsOff) return;
        _steps.At(step, request.Address);
        lock (_gate)
        {
            // What was read before a broadcast is used, and not kept.
            if (!cache.TryInsert(line, new FillGuard(in _epoch, request.Epoch))) _counts.DiscardedFills++;
        }
    }

    private CpuTranslation Fault(in Request request, PageFaultCode reason)
    {
        lock (_gate) return FaultNow(request, reason);
    }

    private CpuTranslation NotPresent(in Request request) => FaultNow(request, PageFaultCode.None);

    private CpuTranslation Denied(in Request request) => FaultNow(request, PageFaultCode.Present);

    /// <summary>
    /// A page fault forgets what led to it, under the gate, so that one which memory would not cause does not come again.
    /// </summary>
    /// <remarks>
    /// <b>Source.</b> Intel SDM, volume 3A, "Page-Fault Exceptions"; "Operations that Invalidate TLBs and Paging-Structure Caches": the
    /// page's entries in the TLBs, and those of the paging-structure caches that would be used for the address, under the current PCID.
    /// </remarks>
    private CpuTranslation FaultNow(in Request request, PageFaultCode reason)
    {
        IovaRange page = IovaRange.FromLength(new(request.Address & ~(PageBytes - 1)), PageBytes);
        Forget(request.Pcid, page, globals: true);
        _counts.PageFaults++;
        return CpuTranslation.Fault(reason | CodeOf(request.Access) | (request.IsUser ? PageFaultCode.User : PageFaultCode.None));
    }

    /// <summary>What the error code says of an access.</summary>
    private PageFaultCode CodeOf(CpuAccess access) => access switch
    {
        CpuAccess.Write => PageFaultCode.Write,
        CpuAccess.Fetch when _options.ExecuteDisable || _options.SupervisorExecutionPrevention => PageFaultCode.Fetch,
        _ => PageFaultCode.None,
    };

    /// <summary>Forgets what is cached under a tag and shares a byte with a range; under the gate.</summary>
    private void Forget(ushort pcid, IovaRange range, bool globals)
    {
        LineFilter filter = LineFilter.Of(CpuTags.Of(pcid)).In(range);
        _tlb.Invalidate(filter);
        if (globals) ForgetGlobals(range);
        foreach (TranslationCache<PageLevels> cache in _structures.AsSpan(LowestTableLevel)) cache.Invalidate(filter);
    }

    /// <summary>Forgets what is cached under a tag, or under any; under the gate.</summary>
    private void Forget(ushort? pcid, bool globals)
    {
        _tlb.Invalidate(FilterOf(pcid));
        if (globals) _tlb.Invalidate(LineFilter.Of(CpuTags.Global));
        ForgetStructures(pcid);
    }

    private void ForgetGlobals(IovaRange range) => _tlb.Invalidate(LineFilter.Of(CpuTags.Global).In(range));

    private void ForgetStructures(ushort? pcid)
    {
        foreach (TranslationCache<PageLevels> cache in _structures.AsSpan(LowestTableLevel)) cache.Invalidate(FilterOf(pcid));
    }

    private static LineFilter FilterOf(ushort? pcid) => pcid is { } tag ? LineFilter.Of(CpuTags.Of(tag)) : CpuTags.NotGlobal;
}

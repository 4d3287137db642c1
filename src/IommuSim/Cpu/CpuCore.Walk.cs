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

    /// <summary>Walks the tables from the lowest level at which a paging-structure cache knows the way.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel SDM, volume 3A, "Linear-Address Translation with 4-Level Paging and 5-Level Paging"; "Using the
    /// Paging-Structure Caches to Translate Linear Addresses".
    /// </remarks>
    private CpuTranslation Walk(in Request request)
    {
        var line = new CacheLine { Target = request.Root, Rights = Rights.All };
        int level = _options.Levels;
        _steps.At(SimStep.WalkCacheLookup, request.Address);
        lock (_gate)
        {
            if (TryFindStructure(request, out CacheLine structure)) (line, level) = (structure, structure.Level - 1);
        }

        while (true)
        {
            CpuOutcome outcome = UseEntry(request, level, ref line, out bool isLeaf, out PageFaultCode reason);
            if (outcome == CpuOutcome.PageFault) return Fault(request, reason);
            if (outcome != CpuOutcome.Done) return new(outcome, default, PageFaultCode.None);
            if (isLeaf) return Complete(request, line);
            Keep(request, SimStep.WalkCacheFill, _structures[level], line);
            level--;
        }
    }

    /// <summary>Reads the entry that the line leads to, refuses it or sets its flags, and adds what it says to the line.</summary>
    private CpuOutcome UseEntry(in Request request, int level, ref CacheLine line, out bool isLeaf, out PageFaultCode reason)
    {
        (isLeaf, reason) = (false, PageFaultCode.None);
        PhysAddr at = PageLevels.EntryAddress(new(line.Target), request.Address, level);
        _steps.At(SimStep.WalkRead, at.Value);
        if (!_memory.TryRead64(at, out ulong bits)) return CpuOutcome.NoMemory;
        while (true)
        {
            var entry = new CpuPagingEntry(bits);
            if (!entry.IsPresent) return CpuOutcome.PageFault;
            if (entry.HasReserved(level, _options))
            {
                reason = PageFaultCode.Present | PageFaultCode.Reserved;
                return CpuOutcome.PageFault;
            }

            isLeaf = entry.IsLeaf(level);
            Rights rights = line.Rights & entry.Rights;
            // A leaf that does not permit the access is not used, so that no flag of it is set.
            if (isLeaf && !IsGranted(request, rights))
            {
                reason = PageFaultCode.Present;
                return CpuOutcome.PageFault;
            }

            ulong wanted = CpuPagingEntry.FlagsFor(dirties: isLeaf && request.Access == CpuAccess.Write);
            if ((bits & wanted) == wanted)
            {
                CacheTag tag = isLeaf && entry.IsGlobal && _options.GlobalPages ? CpuTags.Global : CpuTags.Of(request.Pcid);
                ulong page = request.Address >> PageLevels.Shift(level);
                line = new(tag, page, level, isFirstStage: true, entry.Target(level).Value, rights) { Dirty = isLeaf && entry.IsDirty };
                return CpuOutcome.Done;
            }

            bits = SetFlags(at, bits, wanted);
        }
    }

    /// <summary>Sets flags in an entry if it still is what was read; what it is now.</summary>
    private ulong SetFlags(PhysAddr at, ulong bits, ulong flags)
    {
        _steps.At(SimStep.FlagUpdate, at.Value);
        ulong found = _memory.CompareExchange64(at, bits | flags, bits);
        lock (_gate)
        {
            if (found == bits) _counts.FlagUpdates++;
            else _counts.FlagUpdatesLost++;
        }

        return found == bits ? bits | flags : found;
    }

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
        PageFaultCode code = reason;
        if (request.Access == CpuAccess.Write) code |= PageFaultCode.Write;
        if (request.IsUser) code |= PageFaultCode.User;
        if (request.Access == CpuAccess.Fetch && (_options.ExecuteDisable || _options.SupervisorExecutionPrevention)) code |= PageFaultCode.Fetch;
        return CpuTranslation.Fault(code);
    }

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

using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Backing: what happens between a reservation and the tables. All of it runs under the reservation's gate.
public sealed partial class Vcm
{
    internal VcmmError Back(ReservationState state, PhysicalAllocation memory)
    {
        if (memory.Manager != Manager || memory.ByteCount != state.Range.ByteCount) return VcmmError.Invalid;
        if (state.Memory is not null) return VcmmError.Busy;
        if (!memory.TryAcquire()) return VcmmError.Invalid;

        IPageTable[] tables = Volatile.Read(ref _tables);
        VcmmError error = MapInAll(state, memory, tables);
        if (error != VcmmError.None)
        {
            memory.Release();
            return error;
        }

        state.MappedIn = tables;
        state.Memory = memory;
        return VcmmError.None;
    }

    internal VcmmError Unback(ReservationState state)
    {
        PhysicalAllocation? memory = state.Memory;
        if (memory is null) return VcmmError.NotFound;
        IPageTable[] tables = state.MappedIn;
        VcmmError error = UnmapFromAll(state.Range, tables, state.Gather);
        if (error != VcmmError.None)
        {
            // The hardware may still hold the translations, so they stay what they were.
            foreach (IPageTable table in tables)
                table.Map(state.Range.First, memory.SegmentSpan, state.Attributes, state.Pages);
            return error;
        }

        state.Memory = null;
        memory.Release();
        return VcmmError.None;
    }

    private VcmmError MapInAll(ReservationState state, PhysicalAllocation memory, IPageTable[] tables)
    {
        VcmmError error = DropEmptyTables(state, tables);
        if (error != VcmmError.None) return error;
        error = SetTablePagesAside(state, memory, tables);
        if (error != VcmmError.None) return error;

        foreach (IPageTable table in tables) table.Map(state.Range.First, memory.SegmentSpan, state.Attributes, state.Pages);
        state.Pages.ReturnAll(Manager.Frames);

        error = InvalidateAbsent(state.Range);
        if (error == VcmmError.None) return VcmmError.None;
        VcmmError undo = UnmapFromAll(state.Range, tables, state.Gather);
        if (undo == VcmmError.None) return error;

        // Twice the hardware did not answer: it may have walked to the memory, which must stay in use. The mapping stands; a
        // device may find it absent a while longer, and the next call meets the failure.
        foreach (IPageTable table in tables) table.Map(state.Range.First, memory.SegmentSpan, state.Attributes, state.Pages);
        return VcmmError.None;
    }

    /// <summary>All table pages, for all formats, before the first entry changes: what follows cannot run out.</summary>
    private VcmmError SetTablePagesAside(ReservationState state, PhysicalAllocation memory, IPageTable[] tables)
    {
        int missing = 0;
        foreach (IPageTable table in tables) missing += table.CountMissingTables(state.Range.First, memory.SegmentSpan);
        return state.Pages.TryFill(Manager.Frames, VcmManager.PageBytes, missing);
    }

    /// <summary>
    /// A range that spans a large leaf may hold empty tables of smaller mappings that are gone; they would stand in the
    /// leaf's place. A live pointer cannot turn into a leaf, so they go first, with an invalidation.
    /// </summary>
    private VcmmError DropEmptyTables(ReservationState state, IPageTable[] tables)
    {
        const ulong smallestLargeLeafBytes = 2UL << 20;
        if (state.Range.ByteCount < smallestLargeLeafBytes) return VcmmError.None;
        foreach (IPageTable table in tables) table.Unmap(state.Range, state.Gather);
        return state.Gather.HasTables ? FinishUnmap(state.Range, tables, state.Gather) : VcmmError.None;
    }

    private VcmmError UnmapFromAll(IovaRange range, IPageTable[] tables, InvalidationGather gather)
    {
        foreach (IPageTable table in tables) table.Unmap(range, gather);
        return FinishUnmap(range, tables, gather);
    }

    /// <summary>Invalidates, waits, and only then frees the unlinked tables; links them again if the hardware fails.</summary>
    private VcmmError FinishUnmap(IovaRange range, IPageTable[] tables, InvalidationGather gather)
    {
        // The entries were cleared, and fenced, before this is read. A domain that is not in it yet becomes reachable for
        // the hardware only after the clear: see Activate.
        VcmmError error = VcmmError.None;
        foreach (ActiveDomain domain in Volatile.Read(ref _activeDomains))
        {
            VcmmError failed = domain.Iommu.Invalidate([new(domain.Id, range, LeavesOnly: !gather.HasTables)]);
            if (failed != VcmmError.None) error = failed;
        }

        foreach (IPageTable table in tables)
        {
            if (error == VcmmError.None) table.Release(gather);
            else table.Relink(gather);
        }

        gather.Clear();
        return error;
    }

    private VcmmError InvalidateAbsent(IovaRange range)
    {
        foreach (ActiveDomain domain in Volatile.Read(ref _activeDomains))
        {
            if (!domain.Iommu.CachesAbsent) continue;
            VcmmError error = domain.Iommu.Invalidate([new(domain.Id, range, LeavesOnly: false)]);
            if (error != VcmmError.None) return error;
        }

        return VcmmError.None;
    }
}

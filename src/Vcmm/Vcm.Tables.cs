using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Tables: one for each format that an association of the region has.
public sealed partial class Vcm
{
    /// <summary>The table of a prebuilt region, as its owner gave it.</summary>
    private readonly PrebuiltTable? _prebuilt;

    /// <summary>Each has all that is backed. Replaced, never changed; written under the association gate while reservations are at rest.</summary>
    private IPageTable[] _tables = [];

    /// <summary>
    /// Makes devices forget what a prebuilt region's table said of a range, after its owner has changed it and before the owner
    /// gives the memory to others. When this returns no access through what it said before is under way.
    /// </summary>
    /// <param name="range">Whole 4 KiB pages.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the region is not prebuilt, or the range is not made of whole pages of it;
    /// <see cref="VcmmError.HardwareFailure"/> if devices are not known to have forgotten.
    /// </returns>
    public VcmmError TryInvalidate(IovaRange range)
    {
        if (Kind != VcmKind.Prebuilt || !Range.Contains(range) || !VcmManager.IsWholePages(range)) return VcmmError.Invalid;
        return Invalidate(DomainsAfterOwnersWrites(), [range], leavesOnly: false, absentOnly: false);
    }

    /// <summary>Makes devices forget what a prebuilt region's table said of a range.</summary>
    /// <exception cref="VcmmException">As <see cref="TryInvalidate"/>.</exception>
    public void Invalidate(IovaRange range) => VcmmException.ThrowIf(TryInvalidate(range), nameof(Invalidate));

    internal VcmmError InvalidateNested(Association association, IovaRange range)
    {
        AssociationTerms terms = association.Terms;
        if (terms.Nested is null || association.IsDropped || !VcmManager.IsWholePages(range)) return VcmmError.Invalid;
        // A domain is there before a device is attached under it: what is not active yet has cached nothing from before the writes.
        ActiveDomain? domain = FindDomain(DomainsAfterOwnersWrites(), association.Device.Iommu, terms);
        return domain is null ? VcmmError.None : domain.Iommu.InvalidateNested(domain.Id, range);
    }

    /// <summary>
    /// The domains, read after the writes of a table's owner, as an unmap reads them after its own. Nothing is exchanged: it is a read that overtakes
    /// no write.
    /// </summary>
    private ActiveDomain[] DomainsAfterOwnersWrites() => Interlocked.CompareExchange(ref _activeDomains, null!, null!);

    /// <summary>The active domain of devices that are given these terms; null: none is active.</summary>
    private static ActiveDomain? FindDomain(ActiveDomain[] domains, IIommu iommu, AssociationTerms terms)
    {
        foreach (ActiveDomain active in domains)
        {
            if (active.Serves(iommu, terms)) return active;
        }

        return null;
    }

    /// <summary>Whether the address is that of a whole page of the region.</summary>
    private bool HasPage(Iova address) => address.IsAligned(VcmManager.PageBytes) && Range.Contains(IovaRange.FromLength(address, VcmManager.PageBytes));

    private VcmmError TryProvideTable(IIommu iommu, TableFormat format)
    {
        if (TryGetTable(format, out _)) return VcmmError.None;
        if (_prebuilt is { } prebuilt)
        {
            if (Manager.DeferredRoots.ContainsKey(prebuilt.Root)) return VcmmError.Invalid;
            Volatile.Write(ref _tables, [iommu.AdoptTable(format, prebuilt.Root)]);
            return VcmmError.None;
        }

        VcmmError error = iommu.TryCreateTable(format, Manager.Frames, out IPageTable? table);
        if (error != VcmmError.None) return error;
        if (IsDeferred(format)) Manager.DeferredRoots[table!.Root] = this;
        return TryAddTable(table!);
    }

    /// <summary>Writes what is backed into a table, and publishes it: whoever backs and unbacks meets it as a whole or not at all.</summary>
    private VcmmError TryAddTable(IPageTable table) => AtRest(states =>
    {
        bool isWhole = false;
        try
        {
            foreach (ReservationState state in states)
            {
                VcmmError error = TryWriteInto(table, state);
                if (error != VcmmError.None) return error;
            }

            isWhole = true;
        }
        finally
        {
            // Also where a port throws.
            if (!isWhole) Free(table);
        }

        Volatile.Write(ref _tables, [.. _tables, table]);
        return VcmmError.None;
    });

    private VcmmError TryWriteInto(IPageTable table, ReservationState state)
    {
        if (!table.CanExpress(state.Attributes)) return VcmmError.Invalid;
        foreach (Backing backing in state.Backings)
        {
            if (backing.Memory.LastAddress.Value > table.LastPhysAddr.Value) return VcmmError.Invalid;
            ReadOnlySpan<PhysRange> segments = backing.Segments(state.Scratch);
            VcmmError error = state.Pages.TryFill(Manager.Frames, VcmManager.PageBytes, table.CountMissingTables(backing.Range.First, segments));
            if (error != VcmmError.None) return error;
            try
            {
                table.Map(backing.Range.First, segments, state.Attributes, state.Pages);
            }
            finally
            {
                state.Pages.ReturnAll(Manager.Frames);
            }
        }

        return VcmmError.None;
    }

    /// <summary>Withdraws a table that no IOMMU walks, and frees it.</summary>
    private VcmmError RemoveTable(IPageTable table, bool keepsUse) => AtRest(states =>
    {
        if (keepsUse)
        {
            foreach (ReservationState state in states) KeepUse(state, table);
        }

        Volatile.Write(ref _tables, Array.FindAll(_tables, other => other != table));
        Free(table);
        return VcmmError.None;
    });

    private void Free(IPageTable table)
    {
        // Before the page can be another table's.
        if (IsDeferred(table.Format)) Manager.DeferredRoots.TryRemove(table.Root, out _);
        table.Free();
    }

    // An identity has no pages that could be adopted.
    private bool IsDeferred(TableFormat format) => Options.FlushQueue is not null && format != IdentityTable.Format;

    private sealed record PrebuiltTable(TableFormat Format, PhysAddr Root);
}

using Platform;
using Vcmm.Tables;

namespace Vcmm.Vtd;

// First-stage tables that are nested in second-stage ones.
public sealed partial class VtdDriver<TMemory>
{
    /// <summary>A first-stage format in a second-stage one, in scalable mode, where the hardware can (ECAP.NEST).</summary>
    /// <inheritdoc/>
    public bool CanNest(TableFormat outer, TableFormat nested) =>
        _capabilities.Nesting && Formats.Contains(outer) && Formats.Contains(nested) && !VtdFormats.IsFirstStage(outer) && VtdFormats.IsFirstStage(nested);

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The PASID is 0, or not below <see cref="PasidCount"/>.</exception>
    /// <exception cref="InvalidOperationException">The address space is attached already.</exception>
    /// <remarks><b>Source.</b> VT-d specification, "Nested Translation" and "Scalable-Mode PASID Table Entry" (PGTT 011b).</remarks>
    public VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested)
    {
        ArgumentNullException.ThrowIfNull(table);
        if (!CanNest(table.Format, nested.Format)) return VcmmError.Invalid;
        // Wider than that is an error of the entry, and not of what the table says.
        // Survives as `nested.Root.Value >= …`: equivalent, the root is a multiple of a page here, and the last address is none
        if ((nested.Root.Value & ~EntryExtensions.AddressMask) != 0 || nested.Root.Value > VtdFormats.LastAddress(_capabilities, table.Format).Value) return VcmmError.Invalid;
        return AttachTo(new(device, EntryOf(pasid), domain, Stage.Nested) { Ats = _tlbs.Find(device), Nested = nested }, table);
    }

    /// <inheritdoc/>
    /// <remarks><b>Source.</b> VT-d specification, "PASID-based-IOTLB Invalidate": of a first-stage address what is nested goes, too.</remarks>
    public VcmmError InvalidateNested(DomainId domain, IovaRange range)
    {
        ReadOnlySpan<DeviceTlb> tlbs = _tlbs.Of(domain);
        if (_tags.Find(domain) is not { IsNested: true } tag) return VcmmError.None;
        int most = 1 + (tag.Pasids.Length + tlbs.Length) * PageCover.MostBlocks;
        Span<InvalidationDescriptor> room = stackalloc InvalidationDescriptor[Math.Min(most, _invalidations.Capacity)];
        var batch = new InvalidationBatch(_invalidations, room);
        Span<PageBlock> blocks = stackalloc PageBlock[PageCover.MostBlocks];
        int count = PageCover.Cover(_capabilities, range, blocks);
        // Nobody says whether only leaves have changed.
        AddFirstStage(ref batch, new(domain, range, LeavesOnly: false), tag.Pasids, blocks[..count]);
        AddDevices(ref batch, tlbs, blocks[..count]);
        return batch.Submit();
    }
}

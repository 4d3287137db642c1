using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Harness.Passing;

/// <summary>An IOMMU that passes everything on: a test overrides what is to be wrong.</summary>
/// <param name="inner">What does the work.</param>
public abstract class PassingIommu(IIommu inner) : IIommu
{
    /// <summary>What does the work.</summary>
    protected IIommu Inner => inner;

    /// <inheritdoc/>
    public virtual IReadOnlyList<TableFormat> Formats => inner.Formats;

    /// <inheritdoc/>
    public virtual uint PasidCount => inner.PasidCount;

    /// <inheritdoc/>
    public virtual IReadOnlyList<IovaRange> ReservedRegions => inner.ReservedRegions;

    /// <inheritdoc/>
    public virtual bool CachesAbsent => inner.CachesAbsent;

    /// <inheritdoc/>
    public virtual uint HardwareVersion => inner.HardwareVersion;

    /// <inheritdoc/>
    public virtual bool CanIdentify(StreamId device) => inner.CanIdentify(device);

    /// <inheritdoc/>
    public virtual bool CanTranslate(TableFormat format, IovaRange range) => inner.CanTranslate(format, range);

    /// <inheritdoc/>
    public virtual bool CanShare(TableFormat format, IovaRange range) => inner.CanShare(format, range);

    /// <inheritdoc/>
    public virtual bool TracksUse(TableFormat format) => inner.TracksUse(format);

    /// <inheritdoc/>
    public virtual bool CanPassThrough => inner.CanPassThrough;

    /// <inheritdoc/>
    public virtual bool CanNest(TableFormat outer, TableFormat nested) => inner.CanNest(outer, nested);

    /// <inheritdoc/>
    public virtual VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table) => inner.TryCreateTable(format, frames, out table);

    /// <inheritdoc/>
    public virtual IPageTable AdoptTable(TableFormat format, PhysAddr root) => inner.AdoptTable(format, root);

    /// <inheritdoc/>
    public virtual VcmmError TryCreateDomain(out DomainId domain) => inner.TryCreateDomain(out domain);

    /// <inheritdoc/>
    public virtual void ReleaseDomain(DomainId domain) => inner.ReleaseDomain(domain);

    /// <inheritdoc/>
    public virtual VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table) => inner.Attach(device, pasid, domain, table);

    /// <inheritdoc/>
    public virtual VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain) => inner.AttachPassThrough(device, pasid, domain);

    /// <inheritdoc/>
    public virtual VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested) =>
        inner.AttachNested(device, pasid, domain, table, nested);

    /// <inheritdoc/>
    public virtual VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => inner.Detach(device, pasid, domain);

    /// <inheritdoc/>
    public virtual VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => inner.Invalidate(commands);

    /// <inheritdoc/>
    public virtual VcmmError InvalidateNested(DomainId domain, IovaRange range) => inner.InvalidateNested(domain, range);

    /// <inheritdoc/>
    public virtual bool TryTakeFault(out DeviceFault fault) => inner.TryTakeFault(out fault);

    /// <inheritdoc/>
    public virtual VcmmError EndFault(in DeviceFault fault, bool retry) => inner.EndFault(fault, retry);
}

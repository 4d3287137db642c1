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
    public virtual TableFormat Format => inner.Format;

    /// <inheritdoc/>
    public virtual Iova LastAddress => inner.LastAddress;

    /// <inheritdoc/>
    public virtual IReadOnlyList<IovaRange> ReservedRegions => inner.ReservedRegions;

    /// <inheritdoc/>
    public virtual bool CachesAbsent => inner.CachesAbsent;

    /// <inheritdoc/>
    public virtual bool CanIdentify(StreamId device) => inner.CanIdentify(device);

    /// <inheritdoc/>
    public virtual VcmmError TryCreateTable(IFrameSource frames, out IPageTable? table) => inner.TryCreateTable(frames, out table);

    /// <inheritdoc/>
    public virtual VcmmError TryCreateDomain(out DomainId domain) => inner.TryCreateDomain(out domain);

    /// <inheritdoc/>
    public virtual void ReleaseDomain(DomainId domain) => inner.ReleaseDomain(domain);

    /// <inheritdoc/>
    public virtual VcmmError Attach(StreamId device, DomainId domain, IPageTable table) => inner.Attach(device, domain, table);

    /// <inheritdoc/>
    public virtual VcmmError Detach(StreamId device, DomainId domain) => inner.Detach(device, domain);

    /// <inheritdoc/>
    public virtual VcmmError Invalidate(DomainId domain, IovaRange range, bool leavesOnly) => inner.Invalidate(domain, range, leavesOnly);
}

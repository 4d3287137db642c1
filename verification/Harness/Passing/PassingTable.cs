using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Harness.Passing;

/// <summary>A table that passes everything on: a test overrides what is to be wrong.</summary>
/// <param name="inner">What does the work.</param>
public abstract class PassingTable(IPageTable inner) : IPageTable
{
    /// <summary>What does the work.</summary>
    protected IPageTable Inner => inner;

    /// <inheritdoc/>
    public TableFormat Format => inner.Format;

    /// <inheritdoc/>
    public PhysAddr Root => inner.Root;

    /// <inheritdoc/>
    public PhysAddr LastPhysAddr => inner.LastPhysAddr;

    /// <inheritdoc/>
    public bool HasDirtyBits => inner.HasDirtyBits;

    /// <inheritdoc/>
    public virtual ulong LargeLeafBytes => inner.LargeLeafBytes;

    /// <inheritdoc/>
    public virtual bool Covers(IovaRange range) => inner.Covers(range);

    /// <inheritdoc/>
    public virtual bool CanExpress(MappingAttributes attributes) => inner.CanExpress(attributes);

    /// <inheritdoc/>
    public virtual int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments) => inner.CountMissingTables(first, segments);

    /// <inheritdoc/>
    public virtual void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) => inner.Map(first, segments, attributes, pages);

    /// <inheritdoc/>
    public virtual void Unmap(IovaRange range, InvalidationGather gather) => inner.Unmap(range, gather);

    /// <inheritdoc/>
    public virtual int CountSplitTables(IovaRange range) => inner.CountSplitTables(range);

    /// <inheritdoc/>
    public virtual void Split(IovaRange range, TablePagePool pages, InvalidationGather gather) => inner.Split(range, pages, gather);

    /// <inheritdoc/>
    public virtual void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather) => inner.Protect(range, attributes, gather);

    /// <inheritdoc/>
    public virtual bool TryMerge(IovaRange range, InvalidationGather gather) => inner.TryMerge(range, gather);

    /// <inheritdoc/>
    public virtual void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather) => inner.CollectDirty(range, clear, dirty, gather);

    /// <inheritdoc/>
    public virtual void CollectAccessed(IovaRange range, bool clear, ICollection<IovaRange> accessed, InvalidationGather gather) => inner.CollectAccessed(range, clear, accessed, gather);

    /// <inheritdoc/>
    public virtual void Relink(InvalidationGather gather) => inner.Relink(gather);

    /// <inheritdoc/>
    public virtual void Release(InvalidationGather gather) => inner.Release(gather);

    /// <inheritdoc/>
    public virtual bool TryWalk(Iova address, out Translation translation) => inner.TryWalk(address, out translation);

    /// <inheritdoc/>
    public virtual IEnumerable<Leaf> Leaves() => inner.Leaves();

    /// <inheritdoc/>
    public virtual IEnumerable<PhysAddr> TablePages() => inner.TablePages();

    /// <inheritdoc/>
    public virtual TableAudit Audit() => inner.Audit();

    /// <inheritdoc/>
    public virtual void Free() => inner.Free();
}

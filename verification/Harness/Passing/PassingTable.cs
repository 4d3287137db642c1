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
    public Iova LastAddress => inner.LastAddress;

    /// <inheritdoc/>
    public virtual bool CanExpress(MappingAttributes attributes) => inner.CanExpress(attributes);

    /// <inheritdoc/>
    public virtual int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments) => inner.CountMissingTables(first, segments);

    /// <inheritdoc/>
    public virtual void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) => inner.Map(first, segments, attributes, pages);

    /// <inheritdoc/>
    public virtual void Unmap(IovaRange range, InvalidationGather gather) => inner.Unmap(range, gather);

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
    public virtual void Free() => inner.Free();
}

using Platform;

namespace Vcmm.Tables;

/// <summary>A page table in memory, whatever its format.</summary>
/// <remarks>
/// <para><b>Threads.</b> Calls on ranges that do not touch may run at once; calls on ranges that do are the caller's to keep
/// apart. <see cref="TryWalk"/> takes no lock and may run beside anything.</para>
/// <para><b>Invalidation is the caller's.</b> The table changes memory only. After a call that added to a gather the caller
/// invalidates <see cref="InvalidationGather.Ranges"/> in every IOMMU that may have walked the table, waits, and only then calls
/// <see cref="Release"/>, or <see cref="Relink"/> if the hardware failed; then it clears the gather. What was absent and has
/// become present adds nothing to a gather.</para>
/// <para><b>Break-before-make.</b> Where the format demands it, <see cref="Split"/> and <see cref="TryMerge"/> leave the entries that
/// they change absent until <see cref="Release"/>: the gather has <see cref="InvalidationGather.HasBroken"/>, and nothing else may be
/// done to these addresses meanwhile.</para>
/// <para><b>Errors.</b> A range that is not made of whole granules or that the table does not cover (<see cref="Covers"/>), memory that is
/// not made of whole granules or lies beyond <see cref="LastPhysAddr"/>, and attributes that an entry cannot express are an
/// <see cref="ArgumentException"/>; then nothing has changed. Where <see cref="Map"/> finds something else mapped it throws
/// <see cref="InvalidOperationException"/>, and what it has mapped until then stays.</para>
/// <para><b>Hardware's bits.</b> The accessed and dirty bits that hardware sets in a leaf are kept by every call but
/// <see cref="Unmap"/>, whenever they are set.</para>
/// </remarks>
public interface IPageTable
{
    /// <summary>What an IOMMU must accept to walk this table.</summary>
    TableFormat Format { get; }

    /// <summary>The root page, for the IOMMU's registers or context entries.</summary>
    PhysAddr Root { get; }

    /// <summary>Whether hardware can note in a leaf that it used it and that it wrote through it.</summary>
    bool HasDirtyBits { get; }

    /// <summary>The last physical address that the table can map to.</summary>
    PhysAddr LastPhysAddr { get; }

    /// <summary>
    /// The size in bytes of the smallest leaf that is larger than a granule; <see cref="ulong.MaxValue"/> where there is none. A range
    /// that is shorter holds no place for a large leaf.
    /// </summary>
    ulong LargeLeafBytes { get; }

    /// <summary>Whether the table can map every address of <paramref name="range"/>.</summary>
    /// <remarks>Where addresses are sign-extended there are two halves; a range that spans the gap between them is not covered.</remarks>
    bool Covers(IovaRange range);

    /// <summary>Whether an entry can protect as <paramref name="attributes"/> say; the cache policy does not count.</summary>
    bool CanExpress(MappingAttributes attributes);

    /// <summary>
    /// How many table pages <see cref="Map"/> of the same arguments would add. Exact unless another thread adds pages of
    /// its own meanwhile; then fewer are needed, never more.
    /// </summary>
    int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments);

    /// <summary>
    /// Maps <paramref name="segments"/>, one behind the other, from <paramref name="first"/> on. As long as its callers keep to what
    /// follows it cannot fail.
    /// </summary>
    /// <param name="first">A multiple of the granule. The range must be unmapped, or mapped to the very same.</param>
    /// <param name="segments">Whole granules. Segments that continue each other are mapped as one.</param>
    /// <param name="attributes">Some that <see cref="CanExpress"/> accepts.</param>
    /// <param name="pages">Holds at least <see cref="CountMissingTables"/> pages; what is not used stays in it.</param>
    void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages);

    /// <summary>
    /// Clears every entry in <paramref name="range"/> and unlinks the tables that lie wholly inside it; ends with a fence.
    /// A range in which nothing is mapped only loses its empty tables.
    /// </summary>
    /// <param name="range">Must not cut a leaf.</param>
    /// <param name="gather">
    /// Gets the ranges of what was present and the unlinked tables; nothing if all was absent already.
    /// </param>
    /// <exception cref="InvalidOperationException">The range cuts a leaf.</exception>
    void Unmap(IovaRange range, InvalidationGather gather);

    /// <summary>
    /// How many table pages <see cref="Split"/> of the same range would add. Exact unless the table changes meanwhile.
    /// </summary>
    int CountSplitTables(IovaRange range);

    /// <summary>
    /// Makes both ends of <paramref name="range"/> ends of leaves; what is mapped stays the same. Without break-before-make a
    /// walker finds the old leaf or the new ones, never nothing; ends with a fence.
    /// </summary>
    /// <param name="range">Whole granules.</param>
    /// <param name="pages">Holds at least <see cref="CountSplitTables"/> pages; what is not used stays in it.</param>
    /// <param name="gather">Gets the range of each leaf that was split.</param>
    void Split(IovaRange range, TablePagePool pages, InvalidationGather gather);

    /// <summary>
    /// Gives every leaf in <paramref name="range"/> these attributes. What is absent stays absent; ends with a fence.
    /// </summary>
    /// <param name="range">Whole granules; must not cut a leaf.</param>
    /// <param name="attributes">Some that <see cref="CanExpress"/> accepts.</param>
    /// <param name="gather">Gets the ranges of the leaves that changed.</param>
    /// <exception cref="InvalidOperationException">The range cuts a leaf; nothing has changed.</exception>
    void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather);

    /// <summary>
    /// Replaces tables that say what one larger leaf would say (contiguous memory, aligned, one set of attributes, a level at which
    /// the format has leaves) by that leaf. A table that reaches beyond <paramref name="range"/> is left alone. Ends with a fence.
    /// </summary>
    /// <param name="range">Whole granules.</param>
    /// <param name="gather">Gets the ranges of the new leaves, and the tables.</param>
    /// <returns>Whether there was such a table.</returns>
    bool TryMerge(IovaRange range, InvalidationGather gather);

    /// <summary>
    /// After an invalidation that failed: links the tables again that were unlinked from this table, by <see cref="Unmap"/> or
    /// <see cref="TryMerge"/>, and makes broken leaves what they were. Leaves that an unmap cleared, or a protect changed, are the
    /// caller's to map or protect again; a split without break-before-make stays.
    /// </summary>
    void Relink(InvalidationGather gather);

    /// <summary>
    /// After the invalidation: frees what was unlinked from this table, and makes what was broken. No walker may still be able
    /// to reach what was unlinked.
    /// </summary>
    /// <remarks>
    /// A broken entry was absent and becomes present. An IOMMU that caches absent entries must forget them after this.
    /// </remarks>
    void Release(InvalidationGather gather);

    /// <summary>Finds the addresses of <paramref name="range"/> that hardware wrote to since their leaves' dirty bits were clear.</summary>
    /// <param name="range">Whole granules; with <paramref name="clear"/> it must not cut a leaf.</param>
    /// <param name="clear">
    /// Whether the bits are cleared. The ranges are then added to the gather: until the invalidation hardware that has a leaf
    /// cached may write without setting the bit again.
    /// </param>
    /// <param name="dirty">Gets the ranges, ascending; what touches is one.</param>
    /// <param name="gather">Gets what was cleared.</param>
    /// <exception cref="InvalidOperationException">The format has no such bit, or a leaf would be cut; nothing has changed.</exception>
    void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather);

    /// <summary>Finds the addresses of <paramref name="range"/> whose leaves hardware used since their accessed bits were clear.</summary>
    /// <param name="range">As for <see cref="CollectDirty"/>.</param>
    /// <param name="clear">As for <see cref="CollectDirty"/>.</param>
    /// <param name="accessed">Gets the ranges, ascending; what touches is one.</param>
    /// <param name="gather">Gets what was cleared.</param>
    /// <exception cref="InvalidOperationException">As for <see cref="CollectDirty"/>.</exception>
    void CollectAccessed(IovaRange range, bool clear, ICollection<IovaRange> accessed, InvalidationGather gather);

    /// <summary>Reads the table.</summary>
    /// <returns>False if <paramref name="address"/> is not mapped.</returns>
    bool TryWalk(Iova address, out Translation translation);

    /// <summary>Every leaf, in the order of device addresses; decoded from memory entry by entry.</summary>
    /// <remarks><b>Threads.</b> Gives a consistent picture only while nobody changes the table.</remarks>
    IEnumerable<Leaf> Leaves();

    /// <summary>Every table page, the root first; decoded from memory entry by entry.</summary>
    /// <remarks><b>Threads.</b> Gives a consistent picture only while nobody changes the table.</remarks>
    IEnumerable<PhysAddr> TablePages();

    /// <summary>Decodes every entry of every page: what is mapped, the pages, and what should not be there.</summary>
    /// <remarks><b>Threads.</b> Gives a consistent picture only while nobody changes the table.</remarks>
    TableAudit Audit();

    /// <summary>Frees every page of the table. No walker may still be able to reach it.</summary>
    void Free();
}

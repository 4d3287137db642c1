using Platform;

namespace Vcmm.Tables;

/// <summary>A page table in memory, whatever its format.</summary>
/// <remarks>
/// <para><b>Threads.</b> Calls on ranges that do not touch may run at once; calls on ranges that do are the caller's to keep
/// apart. <see cref="TryWalk"/> takes no lock and may run beside anything.</para>
/// <para><b>Invalidation is the caller's.</b> The table changes memory only. After <see cref="Unmap"/> the caller invalidates
/// every IOMMU that may have walked the table, waits, and only then calls <see cref="Release"/>.</para>
/// </remarks>
public interface IPageTable
{
    /// <summary>What an IOMMU must accept to walk this table.</summary>
    TableFormat Format { get; }

    /// <summary>The root page, for the IOMMU's registers or context entries.</summary>
    PhysAddr Root { get; }

    /// <summary>The last device address that the table can map.</summary>
    Iova LastAddress { get; }

    /// <summary>Whether an entry can protect as <paramref name="attributes"/> say; the cache policy does not count.</summary>
    bool CanExpress(MappingAttributes attributes);

    /// <summary>
    /// How many table pages <see cref="Map"/> of the same arguments would add. Exact unless another thread adds pages of
    /// its own meanwhile; then fewer are needed, never more.
    /// </summary>
    int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments);

    /// <summary>Maps <paramref name="segments"/>, one behind the other, from <paramref name="first"/> on. Cannot fail.</summary>
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
    /// <param name="gather">Collects the unlinked tables.</param>
    /// <exception cref="InvalidOperationException">The range cuts a leaf.</exception>
    void Unmap(IovaRange range, InvalidationGather gather);

    /// <summary>Links again what <see cref="Unmap"/> unlinked from this table, after an invalidation that failed.</summary>
    void Relink(InvalidationGather gather);

    /// <summary>Frees what <see cref="Unmap"/> unlinked from this table. No walker may still be able to reach it.</summary>
    void Release(InvalidationGather gather);

    /// <summary>Reads the table.</summary>
    /// <returns>False if <paramref name="address"/> is not mapped.</returns>
    bool TryWalk(Iova address, out Translation translation);

    /// <summary>Every leaf, in the order of device addresses; decoded from memory entry by entry.</summary>
    /// <remarks><b>Threads.</b> Gives a consistent picture only while nobody changes the table.</remarks>
    IEnumerable<Leaf> Leaves();

    /// <summary>Every table page, the root first; decoded from memory entry by entry.</summary>
    /// <remarks><b>Threads.</b> Gives a consistent picture only while nobody changes the table.</remarks>
    IEnumerable<PhysAddr> TablePages();

    /// <summary>Frees every page of the table. No walker may still be able to reach it.</summary>
    void Free();
}

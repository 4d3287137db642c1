using Platform;

namespace Vcmm.Tables;

/// <summary>The tables that an unmap unlinked and that wait for an invalidation before they are freed.</summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
public sealed class InvalidationGather
{
    private readonly List<Unlinked> _tables = [];

    /// <summary>
    /// Whether tables were unlinked. If so the invalidation must reach the walk caches; if not, leaves alone have changed
    /// and a leaf-only invalidation is enough.
    /// </summary>
    public bool HasTables => _tables.Count != 0;

    internal IReadOnlyList<Unlinked> Tables => _tables;

    /// <summary>Forgets everything.</summary>
    public void Clear() => _tables.Clear();

    internal void Add(Unlinked table) => _tables.Add(table);

    /// <param name="Owner">The table that it was part of.</param>
    /// <param name="Slot">Where the entry stood that pointed at it.</param>
    /// <param name="Entry">That entry.</param>
    /// <param name="Level">The level of the unlinked table.</param>
    internal readonly record struct Unlinked(IPageTable Owner, PhysAddr Slot, ulong Entry, int Level);
}

using IommuSim;
using Platform;

namespace Harness.Running;

/// <summary>A second-stage table as its bytes say.</summary>
/// <param name="Root">The root page.</param>
/// <param name="Pages">All of its pages, the root first.</param>
/// <param name="Leaves">What it maps, in the order of device addresses.</param>
/// <param name="Malformed">Entries that the hardware refuses.</param>
public sealed record DecodedTable(PhysAddr Root, IReadOnlyList<PhysAddr> Pages, IReadOnlyList<DecodedLeaf> Leaves, IReadOnlyList<MalformedEntry> Malformed)
{
    /// <summary>Decodes a table.</summary>
    public static DecodedTable Read<TMemory>(TMemory memory, PhysAddr root, int levels, VtdOptions options)
        where TMemory : struct, IPhysicalMemory => new(
            root,
            [.. VtdTables.TablePages(memory, root, levels, options)],
            [.. VtdTables.Leaves(memory, root, levels, options)],
            [.. VtdTables.Malformed(memory, root, levels, options)]);
}

using Platform;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>
/// A table within a region that somebody else builds and changes, such as a guest: it translates a device's addresses to addresses of the
/// region, and the region's table translates these. It lies in the region itself: its root, what its entries point at and what it yields are
/// all addresses of the region.
/// </summary>
/// <param name="Format">A format that the IOMMU nests in the region's (<see cref="IIommu.CanNest"/>).</param>
/// <param name="Root">Where its root page is, as an address of the region.</param>
public readonly record struct NestedTable(TableFormat Format, Iova Root)
{
    /// <summary>The format, and where the root is.</summary>
    public override string ToString() => $"{Format} at {Root}";
}

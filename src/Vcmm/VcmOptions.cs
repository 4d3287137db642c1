using Platform;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>What a region is.</summary>
public enum VcmKind
{
    /// <summary>Device addresses of its own; what they mean is in tables that the library builds.</summary>
    Device = 0,

    /// <summary>
    /// Every device address is the physical address behind it, so that a device without an MMU can take part, beside devices
    /// with one.
    /// </summary>
    OneToOne,

    /// <summary>
    /// What the addresses mean is in a table that somebody else built and changes: a CPU, for a process (shared virtual
    /// addressing) or for a kernel. It has no reservations.
    /// </summary>
    Prebuilt,
}

/// <summary>How a region is made.</summary>
public sealed record VcmOptions
{
    /// <summary>The defaults.</summary>
    public static VcmOptions Default { get; } = new();

    /// <summary><see cref="VcmKind.Device"/> or <see cref="VcmKind.OneToOne"/>.</summary>
    public VcmKind Kind { get; init; }

    /// <summary>
    /// Null: strict, when an unback returns the hardware has forgotten. A queue: deferred, the memory and the addresses of what is
    /// unbacked stay in quarantine until it flushes; many regions can share one.
    /// </summary>
    public FlushQueue? FlushQueue { get; init; }

    /// <summary>From which end of the free addresses reservations are taken.</summary>
    public Placement Placement { get; init; } = Placement.BottomUp;
}

/// <summary>How physical memory is allocated.</summary>
public sealed record MemoryOptions
{
    /// <summary>The defaults.</summary>
    public static MemoryOptions Default { get; } = new();

    /// <summary>The chunk sizes that may be used.</summary>
    public ChunkSizes Sizes { get; init; } = ChunkSizes.All;

    /// <summary>
    /// True: chunks of one size descend in physical memory, so that none continues the one before it and whoever relies on
    /// contiguity is found out.
    /// </summary>
    public bool Scattered { get; init; }

    /// <summary>From which banks, such as coherent ones only.</summary>
    public MemoryRequest From { get; init; }
}

/// <summary>How a device is associated.</summary>
public sealed record AssociationOptions
{
    /// <summary>The defaults.</summary>
    public static AssociationOptions Default { get; } = new();

    /// <summary>Which of the formats that the device's IOMMU walks is used; null: the first.</summary>
    public TableFormat? Format { get; init; }

    /// <summary>
    /// Which of the device's address spaces the region becomes: 1 … below <see cref="IIommu.PasidCount"/>; null: its requests without a
    /// PASID. 0 is none: hardware keeps it for those.
    /// </summary>
    public Pasid? Pasid { get; init; }

    /// <summary>
    /// A table of whoever owns the device, such as a guest, through which its accesses go before they go through the region's: its addresses are then
    /// that table's, and what that yields are addresses of the region. Null: they are the region's.
    /// </summary>
    public NestedTable? NestedTable { get; init; }

    /// <summary>
    /// Which of two table bases leads to the region's table, in formats that have two, such as Arm's. None that an association can name
    /// has: anything but <see cref="TableBase.Only"/> is refused with <see cref="VcmmError.Invalid"/>.
    /// </summary>
    public TableBase Base { get; init; }

    /// <summary>
    /// The first device address of the high base, in formats that have two; null: where the format says. Where there is one base,
    /// any is refused with <see cref="VcmmError.Invalid"/>.
    /// </summary>
    public Iova? Split { get; init; }
}

/// <summary>A base from which an IOMMU finds a table.</summary>
public enum TableBase
{
    /// <summary>All addresses have the same.</summary>
    Only = 0,

    /// <summary>That of the addresses below the split.</summary>
    Low,

    /// <summary>That of the addresses from the split on.</summary>
    High,
}

using Platform;
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
}

/// <summary>How a device is associated.</summary>
public sealed record AssociationOptions
{
    /// <summary>The defaults.</summary>
    public static AssociationOptions Default { get; } = new();

    /// <summary>Which of the formats that the device's IOMMU walks is used; null: the first.</summary>
    public TableFormat? Format { get; init; }

    /// <summary>Which of the device's address spaces the region becomes; null: its requests without a PASID.</summary>
    public Pasid? Pasid { get; init; }
}

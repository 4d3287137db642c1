namespace Vcmm.Spec;

/// <summary>A base from which the hardware finds tables. None that the model knows has two.</summary>
public enum TableBase
{
    /// <summary>All addresses have the same.</summary>
    Only = 0,

    /// <summary>That of the addresses below the split.</summary>
    Low,

    /// <summary>That of the addresses from the split on.</summary>
    High,
}

/// <summary>Joins a region with a device.</summary>
public sealed record Associate(ObjectId Association, ObjectId Vcm, ObjectId Device) : Operation
{
    /// <summary>Which tables the hardware walks for it; null: the caller does not choose.</summary>
    public TableKind? Kind { get; init; }

    /// <summary>Which of the device's address spaces the region becomes; null: that of its requests without a PASID.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Which of two table bases leads to the tables.</summary>
    public TableBase Base { get; init; }

    /// <summary>The first address of the high base; null: the caller does not say.</summary>
    public ulong? Split { get; init; }

    /// <summary>Whose table is nested in the region; null: nobody's.</summary>
    public ObjectId? Guest { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Association];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => Guest is { } guest ? [Vcm, Device, guest] : [Vcm, Device];
}

/// <summary>Gives an association other tables, or another of the device's address spaces.</summary>
public sealed record ChangeAssociation(ObjectId Association) : Operation
{
    /// <summary>Which tables the hardware walks for it; null: the caller does not choose.</summary>
    public TableKind? Kind { get; init; }

    /// <summary>Which of the device's address spaces the region becomes; null: that of its requests without a PASID.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Which of two table bases leads to the tables.</summary>
    public TableBase Base { get; init; }

    /// <summary>The first address of the high base; null: the caller does not say.</summary>
    public ulong? Split { get; init; }

    /// <summary>Whose table is nested in the region; null: nobody's.</summary>
    public ObjectId? Guest { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => Guest is { } guest ? [Association, guest] : [Association];
}

/// <summary>Drops an association.</summary>
public sealed record Deassociate(ObjectId Association) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Association];
}

/// <summary>Lets the device translate through the region.</summary>
public sealed record Activate(ObjectId Association) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Association];
}

/// <summary>An access that a device makes over and over while a call is under way.</summary>
/// <param name="Address">A multiple of 8.</param>
/// <param name="Kind"><see cref="Permissions.Read"/> or <see cref="Permissions.Write"/>.</param>
public readonly record struct MeanwhileAccess(ulong Address, Permissions Kind);

/// <summary>Ends that.</summary>
public sealed record Deactivate(ObjectId Association) : Operation
{
    /// <summary>What the device goes on with, in the address space that ends, while the call is under way; null: nothing.</summary>
    public MeanwhileAccess? Meanwhile { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Association];
}

/// <summary>Lets an address space of a device through to memory as it is, untranslated.</summary>
/// <param name="Device">The device.</param>
public sealed record PassThrough(ObjectId Device) : Operation
{
    /// <summary>The PASID of the requests; null: those without one.</summary>
    public uint? Pasid { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];
}

/// <summary>Ends that.</summary>
/// <param name="Device">The device.</param>
public sealed record EndPassThrough(ObjectId Device) : Operation
{
    /// <summary>The PASID of the requests; null: those without one.</summary>
    public uint? Pasid { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];
}

/// <summary>A device reads or writes eight bytes.</summary>
/// <param name="Device">The device.</param>
/// <param name="Address">A multiple of 8.</param>
/// <param name="Kind"><see cref="Permissions.Read"/> or <see cref="Permissions.Write"/>.</param>
public sealed record DeviceAccess(ObjectId Device, ulong Address, Permissions Kind) : Operation
{
    /// <summary>The PASID of the request, below 2^20; null: it has none.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Whether a device that asks for pages may do so, and wait; otherwise the access fails where it is not let through.</summary>
    public bool MayAsk { get; init; } = true;

    /// <summary>Whether the device makes it under a requester id that no device has.</summary>
    public bool IsStray { get; init; }

    /// <summary>Whether the request asks for supervisor privilege, which it needs a PASID for. No device is given that, whatever is mapped.</summary>
    public bool IsPrivileged { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];
}

/// <summary>A device moves sixteen bytes across the end of a page: the last eight of one page, and the first eight of the next.</summary>
/// <param name="Device">The device. It has no TLB.</param>
/// <param name="Boundary">Where the second page begins, a multiple of 4096 and not 0.</param>
/// <param name="Kind"><see cref="Permissions.Read"/> or <see cref="Permissions.Write"/>.</param>
public sealed record CrossingAccess(ObjectId Device, ulong Boundary, Permissions Kind) : Operation
{
    /// <summary>The PASID of the requests, below 2^20; null: they have none.</summary>
    public uint? Pasid { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];

    /// <summary>The half in the first page.</summary>
    public DeviceAccess First => new(Device, Boundary - sizeof(ulong), Kind) { Pasid = Pasid };

    /// <summary>The half in the second page.</summary>
    public DeviceAccess Second => new(Device, Boundary, Kind) { Pasid = Pasid };
}

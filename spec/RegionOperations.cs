namespace Vcmm.Spec;

/// <summary>What a region is.</summary>
public enum VcmKind
{
    /// <summary>Addresses of its own.</summary>
    Device = 0,

    /// <summary>Every address is the physical address behind it.</summary>
    OneToOne,

    /// <summary>What the addresses mean is in a table that somebody else changes.</summary>
    Prebuilt,
}

/// <summary>Makes a region.</summary>
public sealed record CreateVcm(ObjectId Vcm, AddressRange Range, VcmKind Kind = VcmKind.Device) : Operation
{
    /// <summary>Whether what is unbacked waits for a flush.</summary>
    public bool IsDeferred { get; init; }

    /// <summary>Whether what is taken anywhere is taken from the top, not from the bottom.</summary>
    public bool IsTopDown { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Vcm];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Makes a region with the same bounds, reservations and backings.</summary>
/// <param name="Vcm">The new region. What it holds is named after what it is a copy of: <c>r0@v1</c> is the copy of <c>r0</c> in <c>v1</c>.</param>
/// <param name="Source">The region that is copied.</param>
public sealed record CloneVcm(ObjectId Vcm, ObjectId Source) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Vcm];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Source];
}

/// <summary>Ends a region.</summary>
public sealed record FreeVcm(ObjectId Vcm) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Sets a part of a region aside.</summary>
public sealed record CreateBound(ObjectId Bound, ObjectId Vcm, ulong ByteCount, ulong Alignment) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Bound];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Ends a bound.</summary>
public sealed record FreeBound(ObjectId Bound) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Bound];
}

/// <summary>Asks for the reservation at an address.</summary>
public sealed record FindReservation(ObjectId Vcm, ulong Address) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Asks for all reservations of a region.</summary>
public sealed record ListReservations(ObjectId Vcm) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Asks what a device address of a region means.</summary>
public sealed record Translate(ObjectId Vcm, ulong Address) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Asks at which address another region maps what an address of a region means.</summary>
public sealed record TranslateTo(ObjectId Vcm, ulong Address, ObjectId Other) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm, Other];
}

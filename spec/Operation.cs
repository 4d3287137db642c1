namespace Vcmm.Spec;

/// <summary>What a device may do with memory, or wants to.</summary>
[Flags]
public enum Permissions
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Read.</summary>
    Read = 1,

    /// <summary>Write.</summary>
    Write = 2,

    /// <summary>Read and write.</summary>
    ReadWrite = Read | Write,
}

/// <summary>A call of the library, or an access of a device: as data.</summary>
public abstract record Operation
{
    /// <summary>The object that it makes, if it makes one.</summary>
    public virtual ObjectId? Makes => null;

    /// <summary>The objects that it works on.</summary>
    public abstract IEnumerable<ObjectId> Uses { get; }
}

/// <summary>Makes a region.</summary>
public sealed record CreateVcm(ObjectId Vcm, AddressRange Range) : Operation
{
    /// <inheritdoc/>
    public override ObjectId? Makes => Vcm;

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Ends a region.</summary>
public sealed record FreeVcm(ObjectId Vcm) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Takes a range anywhere in a region.</summary>
public sealed record Reserve(ObjectId Reservation, ObjectId Vcm, ulong ByteCount, Permissions Permissions, ulong Alignment) : Operation
{
    /// <inheritdoc/>
    public override ObjectId? Makes => Reservation;

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Takes the range that starts at an address.</summary>
public sealed record ReserveAt(ObjectId Reservation, ObjectId Vcm, ulong First, ulong ByteCount, Permissions Permissions) : Operation
{
    /// <inheritdoc/>
    public override ObjectId? Makes => Reservation;

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Ends a reservation.</summary>
public sealed record Unreserve(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Allocates physical memory in chunks.</summary>
/// <param name="Memory">The name of the memory.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="ChunkSizes">The sizes that chunks may have, in bytes: the sum of the powers of two.</param>
/// <param name="Scattered">Whether no chunk may continue the one before it.</param>
public sealed record AllocateMemory(ObjectId Memory, ulong ByteCount, ulong ChunkSizes, bool Scattered) : Operation
{
    /// <inheritdoc/>
    public override ObjectId? Makes => Memory;

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Gives physical memory back.</summary>
public sealed record FreeMemory(ObjectId Memory) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Memory];
}

/// <summary>Maps a reservation to memory.</summary>
public sealed record Back(ObjectId Reservation, ObjectId Memory) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation, Memory];
}

/// <summary>Ends the mapping of a reservation.</summary>
public sealed record Unback(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Joins a region with a device.</summary>
public sealed record Associate(ObjectId Association, ObjectId Vcm, ObjectId Device) : Operation
{
    /// <inheritdoc/>
    public override ObjectId? Makes => Association;

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm, Device];
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

/// <summary>Ends that.</summary>
public sealed record Deactivate(ObjectId Association) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Association];
}

/// <summary>Asks what a device address of a region means.</summary>
public sealed record Translate(ObjectId Vcm, ulong Address) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
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

/// <summary>A device reads or writes eight bytes.</summary>
/// <param name="Device">The device.</param>
/// <param name="Address">A multiple of 8.</param>
/// <param name="Kind"><see cref="Permissions.Read"/> or <see cref="Permissions.Write"/>.</param>
public sealed record DeviceAccess(ObjectId Device, ulong Address, Permissions Kind) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];
}

namespace Vcmm.Spec;

/// <summary>Takes a range anywhere in a region, or in a bound.</summary>
/// <param name="Reservation">The name of the reservation.</param>
/// <param name="In">The region or the bound.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Attributes">What is granted, and how caches are used.</param>
/// <param name="Alignment">Of the first address.</param>
public sealed record Reserve(ObjectId Reservation, ObjectId In, ulong ByteCount, Attributes Attributes, ulong Alignment) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Reservation];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [In];
}

/// <summary>Takes the range that starts at an address, of a region or of a bound.</summary>
/// <param name="Reservation">The name of the reservation.</param>
/// <param name="In">The region or the bound.</param>
/// <param name="First">The first address.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Attributes">What is granted, and how caches are used.</param>
public sealed record ReserveAt(ObjectId Reservation, ObjectId In, ulong First, ulong ByteCount, Attributes Attributes) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Reservation];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [In];
}

/// <summary>Ends a reservation.</summary>
public sealed record Unreserve(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Adds an owner to a reservation.</summary>
public sealed record Acquire(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Lets an owner of a reservation go; the last one ends it.</summary>
public sealed record Release(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Gives a reservation other attributes.</summary>
public sealed record SetAttributes(ObjectId Reservation, Attributes Attributes) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Maps a reservation to memory.</summary>
public sealed record Back(ObjectId Reservation, ObjectId Memory) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation, Memory];
}

/// <summary>Maps a part of a reservation to a part of memory.</summary>
/// <param name="Reservation">The reservation.</param>
/// <param name="Offset">Where in the reservation the part begins, in bytes.</param>
/// <param name="Memory">The memory.</param>
/// <param name="MemoryOffset">Where in the memory the part begins, in bytes.</param>
/// <param name="ByteCount">In bytes.</param>
public sealed record BackPart(ObjectId Reservation, ulong Offset, ObjectId Memory, ulong MemoryOffset, ulong ByteCount) : Operation
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

/// <summary>Ends the mapping of a part of a reservation.</summary>
public sealed record UnbackPart(ObjectId Reservation, ulong Offset, ulong ByteCount) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Reserves a range and maps it to memory, in one.</summary>
public sealed record Map(ObjectId Reservation, ObjectId Vcm, ObjectId Memory, Attributes Attributes, ulong Alignment) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Reservation];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm, Memory];
}

/// <summary>Ends a reservation and what backs it, in one.</summary>
public sealed record Unmap(ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>Allocates memory, reserves a range and maps it, in one.</summary>
/// <param name="Reservation">The name of the reservation.</param>
/// <param name="Memory">The name of the memory.</param>
/// <param name="Vcm">The region.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Attributes">What is granted, and how caches are used.</param>
/// <param name="ChunkSizes">As of <see cref="AllocateMemory"/>; in a one-to-one region the memory is of one piece.</param>
/// <param name="Scattered">As of <see cref="AllocateMemory"/>.</param>
public sealed record Bind(
    ObjectId Reservation, ObjectId Memory, ObjectId Vcm, ulong ByteCount, Attributes Attributes, ulong ChunkSizes, bool Scattered) : Operation
{
    /// <summary>From which banks.</summary>
    public BankRequest From { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Reservation, Memory];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Ends a reservation, what backs it and the memory, in one.</summary>
public sealed record Unbind(ObjectId Vcm, ObjectId Reservation, ObjectId Memory) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm, Reservation, Memory];
}

/// <summary>Copies bytes from a part of a reservation to a part of another, or of the same.</summary>
/// <param name="Source">Where they come from.</param>
/// <param name="SourceOffset">In bytes, a multiple of 8: what is copied is seen word by word.</param>
/// <param name="Destination">Where they go to.</param>
/// <param name="DestinationOffset">In bytes, a multiple of 8.</param>
/// <param name="ByteCount">In bytes, a multiple of 8.</param>
public sealed record Copy(ObjectId Source, ulong SourceOffset, ObjectId Destination, ulong DestinationOffset, ulong ByteCount) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Source, Destination];
}

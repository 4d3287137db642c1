namespace Vcmm.Spec;

/// <summary>Allocates physical memory in chunks.</summary>
/// <param name="Memory">The name of the memory.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="ChunkSizes">The sizes that chunks may have, in bytes: the sum of the powers of two.</param>
/// <param name="Scattered">Whether no chunk may continue the one before it.</param>
public sealed record AllocateMemory(ObjectId Memory, ulong ByteCount, ulong ChunkSizes, bool Scattered) : Operation
{
    /// <summary>From which banks.</summary>
    public BankRequest From { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Memory];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Allocates physical memory of one piece.</summary>
/// <param name="Memory">The name of the memory.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Alignment">Of the physical address.</param>
public sealed record AllocateContiguous(ObjectId Memory, ulong ByteCount, ulong Alignment) : Operation
{
    /// <summary>From which banks.</summary>
    public BankRequest From { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Memory];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Makes given physical memory available: nobody else's, and nobody gets it back.</summary>
public sealed record Wrap(ObjectId Memory, AddressRange Range) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Memory];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Gives physical memory back.</summary>
public sealed record FreeMemory(ObjectId Memory) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Memory];
}

/// <summary>Asks for every place where a byte of memory is mapped.</summary>
/// <param name="Memory">The memory, which may have been freed.</param>
/// <param name="Offset">Where in it the byte is; beyond its end nothing is asked, which is <see cref="Outcome.Invalid"/>.</param>
public sealed record FindMappings(ObjectId Memory, ulong Offset) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Memory];
}

namespace Vcmm.Spec;

/// <summary>A core reads, writes or fetches eight bytes in the address space of a process; if it is not in that, it enters it first.</summary>
/// <param name="Core">The core.</param>
/// <param name="Process">The process.</param>
/// <param name="Address">A multiple of 8.</param>
/// <param name="Kind"><see cref="Permissions.Read"/>, <see cref="Permissions.Write"/> or <see cref="Permissions.Execute"/>.</param>
public sealed record CoreAccess(ObjectId Core, ObjectId Process, ulong Address, Permissions Kind) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Core, Process];
}

/// <summary>A core has nothing to do: what is taken from the process that it was in, it may forget when it comes back.</summary>
/// <param name="Core">The core.</param>
public sealed record GoIdle(ObjectId Core) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Core];
}

namespace Vcmm.Spec;

/// <summary>What devices did to a page that the hardware notes.</summary>
public enum Use
{
    /// <summary>They wrote to it: it is dirty.</summary>
    Written = 0,

    /// <summary>They read or wrote it: it was accessed.</summary>
    Accessed,
}

/// <summary>Finds the pages of a part of a reservation that devices wrote to, or accessed.</summary>
/// <param name="Reservation">The reservation.</param>
/// <param name="Offset">Where in the reservation the part begins, in bytes.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Use">Which of the two.</param>
/// <param name="Clears">Whether it begins anew.</param>
public sealed record CollectUse(ObjectId Reservation, ulong Offset, ulong ByteCount, Use Use, bool Clears) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

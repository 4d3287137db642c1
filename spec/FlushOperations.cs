namespace Vcmm.Spec;

/// <summary>Makes the hardware forget what was unbacked in every deferred region: they share one queue. Of a strict region: nothing.</summary>
public sealed record Flush(ObjectId Vcm) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Vcm];
}

/// <summary>Flushes if something has waited for long enough.</summary>
public sealed record PollFlush : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

/// <summary>Time goes by; nothing else does.</summary>
/// <param name="Milliseconds">How much.</param>
public sealed record AdvanceTime(ulong Milliseconds) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

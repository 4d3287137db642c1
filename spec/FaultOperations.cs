namespace Vcmm.Spec;

/// <summary>What the hook of a device answers.</summary>
public enum FaultHookKind
{
    /// <summary>There is no hook.</summary>
    None = 0,

    /// <summary>The access fails.</summary>
    Refuse,

    /// <summary>The access is tried again, if it waits; one that has failed already cannot be.</summary>
    Retry,

    /// <summary>
    /// Memory of one page is put behind what an access waits for, where there is a reservation, and then it is tried again. What cannot
    /// be backed is refused; what is backed is tried again.
    /// </summary>
    Back,
}

/// <summary>Gives a device a fault hook, or takes it away.</summary>
public sealed record SetFaultHook(ObjectId Device, FaultHookKind Kind) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Device];
}

/// <summary>Gives every fault that the hardware has to the hook of its device.</summary>
public sealed record DispatchFaults : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [];
}

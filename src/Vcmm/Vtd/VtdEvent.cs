namespace Vcmm.Vtd;

/// <summary>What a VT-d tells by an interrupt of its own.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Fault Event", "Invalidation Event" and "Page Request Event" registers.</remarks>
public enum VtdEvent
{
    /// <summary>A fault was recorded, or lost, or the invalidation queue has stopped at an error.</summary>
    Fault,

    /// <summary>Invalidations that somebody waits for are complete.</summary>
    InvalidationCompletion,

    /// <summary>A device waits for a page.</summary>
    PageRequest,
}

/// <summary>What a fault event was about.</summary>
/// <param name="FaultCount">How many faults were taken.</param>
/// <param name="HasOverflowed">Whether others were lost, because all records were full.</param>
/// <param name="HasQueueError">Whether the invalidation queue had stopped at an error; it was started anew.</param>
public readonly record struct FaultEventOutcome(int FaultCount, bool HasOverflowed, bool HasQueueError);

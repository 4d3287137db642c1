using Platform;

namespace Vcmm.Invalidations;

/// <summary>What must wait until hardware has forgotten: frames, device addresses, table pages.</summary>
public interface IQuarantined
{
    /// <summary>
    /// Nothing can be reached any more through the translations that this waited for: give back what was held. Called once
    /// for each <see cref="FlushQueue.TryAdd"/>, without any lock of the queue's.
    /// </summary>
    /// <remarks><b>Errors.</b> Must not throw. <b>Threads.</b> Called by whichever thread flushes.</remarks>
    void Release();
}

/// <summary>An invalidation that may wait.</summary>
/// <param name="Iommu">Who is to forget.</param>
/// <param name="Domain">The domain.</param>
/// <param name="Range">Whole smallest pages.</param>
/// <param name="LeavesOnly">True if only leaves have changed, so that cached pointers to tables may stay.</param>
public readonly record struct PendingInvalidation(IIommu Iommu, DomainId Domain, IovaRange Range, bool LeavesOnly);

namespace Vcmm.Vtd;

/// <summary>What a PCI device's configuration space says of its address translation services.</summary>
/// <remarks><b>Source.</b> PCI Express Base Specification, ATS Extended Capability and Page Request Extended Capability.</remarks>
public sealed record AtsCapability
{
    /// <summary>How many invalidations its TLB takes at once: 1 … 32 (a field of 0 is 32).</summary>
    public int InvalidateQueueDepth { get; init; } = 32;

    /// <summary>Whether it asks for the pages that it may not reach (PRI), so that its accesses wait.</summary>
    public bool PageRequests { get; init; }
}

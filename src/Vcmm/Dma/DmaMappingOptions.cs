using Platform;
using Vcmm.Invalidations;

namespace Vcmm.Dma;

/// <summary>How a <see cref="DmaMapping{TMemory}"/> works.</summary>
public sealed record DmaMappingOptions
{
    /// <summary>The last address that the device can put on the bus: its DMA mask.</summary>
    public Iova LastAddress { get; init; } = new(ulong.MaxValue);

    /// <summary>Whether the device sees what the CPU wrote without a clean of its caches.</summary>
    public bool IsCoherent { get; init; } = true;

    /// <summary>
    /// Null: an unmap waits for the hardware. Else the queue does: an unmap returns while the device may still reach the
    /// buffer, and says when it cannot any more.
    /// </summary>
    public FlushQueue? Deferred { get; init; }
}

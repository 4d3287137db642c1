using System.Numerics;
using Platform;

namespace Vcmm.Vtd;

/// <summary>A 128-bit descriptor of the invalidation queue.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Queued Invalidation Interface": the descriptors' formats.</remarks>
internal readonly record struct InvalidationDescriptor(ulong Low, ulong High)
{
    private const ulong ContextType = 0x1;
    private const ulong IotlbType = 0x2;
    private const ulong WaitType = 0x5;
    private const ulong GlobalGranularity = 1UL << 4;
    private const ulong DomainGranularity = 2UL << 4;
    private const ulong SelectiveGranularity = 3UL << 4;
    private const ulong StatusWrite = 1UL << 5;
    private const ulong LeafOnlyHint = 1UL << 6;
    private const int PageLog2 = 12;

    public static InvalidationDescriptor ContextGlobal => new(ContextType | GlobalGranularity, 0);

    public static InvalidationDescriptor ContextOfDevice(StreamId device, DomainId domain) =>
        new(ContextType | SelectiveGranularity | (ulong)domain.Value << 16 | (ulong)device.Value << 32, 0);

    public static InvalidationDescriptor IotlbGlobal(VtdCapabilities capabilities) =>
        new(IotlbType | GlobalGranularity | Drains(capabilities), 0);

    public static InvalidationDescriptor IotlbOfDomain(VtdCapabilities capabilities, DomainId domain) =>
        new(IotlbType | DomainGranularity | Drains(capabilities) | (ulong)domain.Value << 16, 0);

    /// <summary>
    /// The smallest naturally aligned power of two of pages that holds the range; the whole domain where the hardware takes
    /// no such mask.
    /// </summary>
    public static InvalidationDescriptor IotlbOfRange(VtdCapabilities capabilities, DomainId domain, IovaRange range, bool leavesOnly)
    {
        ulong firstPage = range.First.Value >> PageLog2;
        ulong lastPage = range.Last.Value >> PageLog2;
        int mask = 64 - BitOperations.LeadingZeroCount(firstPage ^ lastPage);
        if (!capabilities.PageSelectiveInvalidation || mask > capabilities.MaximumAddressMask) return IotlbOfDomain(capabilities, domain);
        ulong address = firstPage >> mask << mask << PageLog2;
        return new(
            IotlbType | SelectiveGranularity | Drains(capabilities) | (ulong)domain.Value << 16,
            address | (leavesOnly ? LeafOnlyHint : 0) | (uint)mask);
    }

    /// <summary>Writes <paramref name="data"/> to <paramref name="status"/> once everything before it is complete.</summary>
    public static InvalidationDescriptor Wait(PhysAddr status, uint data) => new(WaitType | StatusWrite | (ulong)data << 32, status.Value);

    /// <summary>An access that is under way must be over before the invalidation counts as complete.</summary>
    private static ulong Drains(VtdCapabilities capabilities) =>
        (capabilities.WriteDraining ? 1UL << 6 : 0) | (capabilities.ReadDraining ? 1UL << 7 : 0);
}

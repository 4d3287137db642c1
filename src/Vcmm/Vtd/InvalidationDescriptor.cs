using Platform;

namespace Vcmm.Vtd;

/// <summary>A descriptor of the invalidation queue; the upper half of those of 256 bits is 0 in all that are used here.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Queued Invalidation Interface": the descriptors' formats.</remarks>
internal readonly record struct InvalidationDescriptor(ulong Low, ulong High)
{
    private const ulong TypeMask = 0xF;
    private const ulong ContextType = 0x1;
    private const ulong IotlbType = 0x2;
    private const ulong WaitType = 0x5;
    private const ulong PasidIotlbType = 0x6;
    private const ulong PasidCacheType = 0x7;
    private const ulong DeviceTlbType = 0x3;
    private const ulong PasidDeviceTlbType = 0x8;
    private const ulong PageGroupResponseType = 0x9;

    /// <summary>Of the context cache and the IOTLB.</summary>
    private const ulong GlobalGranularity = 1UL << 4;
    private const ulong DomainGranularity = 2UL << 4;
    private const ulong SelectiveGranularity = 3UL << 4;

    private const ulong DrainWritesFlag = 1UL << 6;
    private const ulong DrainReadsFlag = 1UL << 7;

    /// <summary>Of the IOTLB by PASID: all of an address space, or pages of it.</summary>
    private const ulong PasidGranularity = 2UL << 4;
    private const ulong PasidPageGranularity = 3UL << 4;

    /// <summary>Of the PASID cache, where 0 is a domain.</summary>
    private const ulong OnePasid = 1UL << 4;
    private const ulong AllPasids = 3UL << 4;

    private const ulong InterruptFlag = 1UL << 4;
    private const ulong StatusWrite = 1UL << 5;
    private const ulong FenceFlag = 1UL << 6;
    private const ulong LeafOnlyHint = 1UL << 6;
    private const ulong DrainPageRequests = 1UL << 7;
    private const int PageLog2 = 12;

    /// <summary>A mask for all addresses there are.</summary>
    private const int AllPages = 64 - PageLog2;

    public static InvalidationDescriptor ContextGlobal => new(ContextType | GlobalGranularity, 0);

    public static InvalidationDescriptor ContextOfDevice(StreamId device, DomainId domain) =>
        new(ContextType | SelectiveGranularity | Tag(domain) | (ulong)device.Value << 32, 0);

    public static InvalidationDescriptor IotlbGlobal(VtdCapabilities capabilities) =>
        new(IotlbType | GlobalGranularity | Drains(capabilities), 0);

    public static InvalidationDescriptor IotlbOfDomain(VtdCapabilities capabilities, DomainId domain) =>
        new(IotlbType | DomainGranularity | Drains(capabilities) | Tag(domain), 0);

    public static InvalidationDescriptor IotlbOfPages(VtdCapabilities capabilities, DomainId domain, PageBlock pages, bool leavesOnly) =>
        new(IotlbType | SelectiveGranularity | Drains(capabilities) | Tag(domain), Pages(pages, leavesOnly));

    /// <summary>What first-stage tables gave to one address space. Accesses under way are always drained.</summary>
    public static InvalidationDescriptor IotlbOfPasid(DomainId domain, uint pasid) =>
        new(PasidIotlbType | PasidGranularity | Tag(domain) | (ulong)pasid << 32, 0);

    public static InvalidationDescriptor IotlbOfPasidPages(DomainId domain, uint pasid, PageBlock pages, bool leavesOnly) =>
        new(PasidIotlbType | PasidPageGranularity | Tag(domain) | (ulong)pasid << 32, Pages(pages, leavesOnly));

    public static InvalidationDescriptor PasidCacheGlobal => new(PasidCacheType | AllPasids, 0);

    public static InvalidationDescriptor PasidCacheOfDomain(DomainId domain) => new(PasidCacheType | Tag(domain), 0);

    public static InvalidationDescriptor PasidCacheOfPasid(DomainId domain, uint pasid) =>
        new(PasidCacheType | OnePasid | Tag(domain) | (ulong)pasid << 32, 0);

    /// <summary>
    /// A wait that holds back what follows it; the queue gives it the address of a status word. It has one although nobody
    /// looks there: "Invalidation Wait Descriptor" knows waits without a notice, but not all hardware does.
    /// </summary>
    public static InvalidationDescriptor Fence => new(WaitType | StatusWrite | FenceFlag, 0);

    public bool IsFence => Low == (WaitType | StatusWrite | FenceFlag);

    public bool IsContext => (Low & TypeMask) == ContextType;

    public bool IsIotlb => (Low & TypeMask) == IotlbType;

    public bool IsOfPages => IsIotlb && (Low & SelectiveGranularity) == SelectiveGranularity;

    /// <summary>Of the context cache and the IOTLB: 1 everything, 2 a domain, 3 a device or pages.</summary>
    public uint Granularity => (uint)(Low >> 4 & 3);

    public ushort Domain => (ushort)(Low >> 16 & 0xFFFF);

    /// <summary>Of the context cache: whose entry.</summary>
    public ushort Source => (ushort)(Low >> 32 & 0xFFFF);

    public bool DrainsWrites => (Low & DrainWritesFlag) != 0;

    public bool DrainsReads => (Low & DrainReadsFlag) != 0;

    /// <summary>
    /// What a device holds of pages. Where it came from must be forgotten before, or the device fetches it again: "Device-TLB
    /// Invalidate".
    /// </summary>
    public static InvalidationDescriptor DeviceTlbPages(DeviceTlb tlb, PageBlock pages)
    {
        // The lowest clear bit of the address says how many pages: bit 12 two, bit 13 four, …. At the top none needs to be.
        ulong size = ((1UL << (PageLog2 + pages.Mask - 1)) - 1) & ~((1UL << PageLog2) - 1);
        ulong hasSize = pages.Mask == 0 ? 0 : 1UL;
        ulong depth = (uint)tlb.QueueDepth & 0x1F;
        return tlb.Pasid == 0
            ? new(DeviceTlbType | depth << 16 | (ulong)tlb.Device.Value << 32, pages.Address | size | hasSize)
            : new(
                PasidDeviceTlbType | depth << 4 | (ulong)tlb.Device.Value << 16 | (ulong)tlb.Pasid << 32,
                pages.Address | size | hasSize << 11);
    }

    /// <summary>All that a device holds of an address space.</summary>
    public static InvalidationDescriptor DeviceTlbAll(DeviceTlb tlb) => DeviceTlbPages(tlb, new(0, AllPages));

    /// <summary>The answer to a group of page requests: try again, or "Invalid Request".</summary>
    public static InvalidationDescriptor PageGroupResponse(StreamId device, Pasid? pasid, int group, bool retry) => new(
        PageGroupResponseType
            | (pasid is { } named ? 1UL << 4 | (ulong)named.Value << 32 : 0)
            | (retry ? 0UL : 1UL) << 12
            | (ulong)device.Value << 16,
        1UL << 2 | (ulong)group << 3);

    /// <summary>
    /// Writes <paramref name="data"/> to <paramref name="status"/> once everything before it is complete, and, where
    /// <paramref name="drainsPageRequests"/> says so, page requests on their way are in their queue.
    /// </summary>
    public static InvalidationDescriptor Wait(PhysAddr status, uint data, bool drainsPageRequests) =>
        new(WaitType | StatusWrite | (drainsPageRequests ? DrainPageRequests : 0) | (ulong)data << 32, status.Value);

    /// <summary>A wait that also interrupts when it is complete.</summary>
    public InvalidationDescriptor Interrupting => this with { Low = Low | InterruptFlag };

    private static ulong Tag(DomainId domain) => (ulong)domain.Value << 16;

    private static ulong Pages(PageBlock pages, bool leavesOnly) => pages.Address | (leavesOnly ? LeafOnlyHint : 0) | (uint)pages.Mask;

    /// <summary>An access that is under way must be over before the invalidation counts as complete.</summary>
    private static ulong Drains(VtdCapabilities capabilities) =>
        (capabilities.WriteDraining ? DrainWritesFlag : 0) | (capabilities.ReadDraining ? DrainReadsFlag : 0);
}

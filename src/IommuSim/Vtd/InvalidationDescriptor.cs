using System.Numerics;
using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>What an invalidation descriptor asks for.</summary>
internal enum DescriptorKind : byte
{
    /// <summary>An unknown type, or reserved bits or values.</summary>
    Invalid,

    /// <summary>No memory is there.</summary>
    Unreachable,
    Context,
    Iotlb,
    Wait,
    PasidIotlb,
    PasidCache,
    DeviceTlb,
    PasidDeviceTlb,
    PageGroupResponse,
}

/// <summary>How much an invalidation covers: the G, CIRG and IIRG fields.</summary>
internal enum Granularity : byte
{
    Reserved = 0,
    Global = 1,
    Domain = 2,

    /// <summary>A device for the context cache, pages for the IOTLB.</summary>
    Selective = 3,
}

/// <summary>How much a PASID-cache invalidation covers: its G field has an encoding of its own.</summary>
internal enum PasidGranularity : byte
{
    Domain = 0,
    Pasid = 1,
    Reserved = 2,
    Global = 3,
}

/// <summary>Which descriptors a queue may hold.</summary>
internal enum DescriptorSet : byte
{
    /// <summary>No type is valid: 128-bit descriptors in scalable mode, 256-bit ones where the unit has no scalable mode, and a reserved mode.</summary>
    None,
    Legacy,
    Scalable,
}

/// <summary>An invalidation descriptor of 128 or 256 bits; <paramref name="Rest"/> is the upper half of the latter, which is reserved in each type.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Queued Invalidation Interface, the descriptors by name.</remarks>
internal readonly record struct InvalidationDescriptor(ulong Low, ulong High, ulong Rest = 0)
{
    public const int BytesLog2 = 4;
    public const int WideBytesLog2 = 5;

    // Bits 8:6, 15:9 and 63:52 of the descriptors that name a PASID.
    private const ulong PasidReserved = 0xFFF0_0000_0000_FFC0;

    public Granularity Granularity => (Granularity)(Low >> 4 & 3);

    /// <summary>DID, of which the bits that a domain id does not have are ignored.</summary>
    public VtdDomainId DomainOf(VtdOptions options) => new((ushort)(Low >> 16 & 0xFFFF & ~options.BeyondDomainId));

    // Context-cache invalidate.
    public ushort Source => (ushort)(Low >> 32 & 0xFFFF);

    public int FunctionMask => (int)(Low >> 48 & 3);

    // IOTLB invalidate.
    public bool DrainWrites => (Low & 1 << 6) != 0;

    public bool DrainReads => (Low & 1 << 7) != 0;

    public PageSelection Pages => new(High);

    // PASID-cache and PASID-based IOTLB invalidate.
    public PasidGranularity PasidGranularity => (PasidGranularity)(Low >> 4 & 3);

    public Pasid Pasid => new((uint)(Low >> 32 & Pasid.Largest));

    // Invalidation wait.
    public bool InterruptFlag => (Low & 1 << 4) != 0;

    public bool StatusWrite => (Low & 1 << 5) != 0;

    public bool DrainPageRequests => (Low & 1 << 7) != 0;

    public uint StatusData => (uint)(Low >> 32);

    public PhysAddr StatusAddress => new(High);

    // Device-TLB invalidate; with a PASID it says at another place whose.
    public ushort PasidDevice => (ushort)(Low >> 16 & 0xFFFF);

    public bool IsOfAllPasids => (High & 1) != 0;

    /// <summary>S in bit 0, or with a PASID in bit 11.</summary>
    public IovaRange DevicePages => PagesOf(hasSize: (High & 1) != 0);

    public IovaRange PasidDevicePages => PagesOf(hasSize: (High & 1 << 11) != 0);

    /// <summary>Page group response: PP, RID, RC, PRGI.</summary>
    public PageGroupResponse Response => new(
        (ushort)(Low >> 16 & 0xFFFF), (Low & 1 << 4) != 0 ? Pasid : null, (int)(High >> 3 & 0x1FF), (PageResponseCode)(Low >> 12 & 0xF));

    /// <summary>What the descriptor is, once its type and its reserved bits are checked.</summary>
    public DescriptorKind Classify(VtdOptions options, DescriptorSet set)
    {
        if (set == DescriptorSet.None || Rest != 0) return DescriptorKind.Invalid;
        return (Low & 0xF) switch
        {
            // Bits 15:6 and 63:50, and the high half.
            1 when (Low & 0xFFFC_0000_0000_FFC0) == 0 && High == 0 && Granularity != Granularity.Reserved => DescriptorKind.Context,

            // Bits 15:8 and 63:32; in the high half bits 11:7.
            2 when (Low & 0xFFFF_FFFF_0000_FF00) == 0 && (High & 0xF80) == 0 && IsIotlbValid(options) => DescriptorKind.Iotlb,

            // Bits 20:16 say how many may be outstanding. All others are reserved, PFSID too (ECAP.DIT is clear); in the high half 11:1.
            3 when options.DeviceTlbs && (Low & 0xFFFF_0000_FFE0_FFF0) == 0 && (High & 0xFFE) == 0 => DescriptorKind.DeviceTlb,

            // Bits 31:8, and bit 7 where page requests are not offered; in the high half bits 1:0.
            5 when (Low & (options.HasPageRequests ? 0xFFFF_FF00 : 0xFFFF_FF80)) == 0 && (High & 3) == 0 => DescriptorKind.Wait,

            // In the high half bits 11:7. Any address mask will do: CAP.MAMV is about the second stage.
            6 when set == DescriptorSet.Scalable && (Low & PasidReserved) == 0 && (High & 0xF80) == 0
                && Granularity is (Granularity.Domain or Granularity.Selective) => DescriptorKind.PasidIotlb,
            7 when set == DescriptorSet.Scalable && (Low & PasidReserved) == 0 && High == 0
                && PasidGranularity != PasidGranularity.Reserved => DescriptorKind.PasidCache,

            // Bits 8:4 say how many may be outstanding. PFSID in 15:12 and 63:52 is reserved; in the high half bits 10:1.
            8 when set == DescriptorSet.Scalable && options.DeviceTlbs && (Low & 0xFFF0_0000_0000_FE00) == 0 && (High & 0x7FE) == 0
                => DescriptorKind.PasidDeviceTlb,

            // Bits 11:5 and 63:52; in the high half bits 63:12 and 1:0. Whether the group's last page was asked for is not looked at.
            9 when set == DescriptorSet.Scalable && options.HasPageRequests && (Low & 0xFFF0_0000_0000_0FE0) == 0 && (High & ~0xFFCUL) == 0
                => DescriptorKind.PageGroupResponse,
            _ => DescriptorKind.Invalid,
        };
    }

    /// <summary>Whether there is such a type in a queue: bits 11:9 are part of it.</summary>
    public bool HasKnownType(VtdOptions options, DescriptorSet set) => (Low & 7 << 9) == 0 && (Low & 0xF) switch
    {
        1 or 2 or 5 => true,
        3 => options.DeviceTlbs,
        6 or 7 => set == DescriptorSet.Scalable,
        8 => set == DescriptorSet.Scalable && options.DeviceTlbs,
        9 => set == DescriptorSet.Scalable && options.HasPageRequests,
        _ => false,
    };

    /// <summary>The address, and above it as many pages as its lowest bit that is clear says: bit 12 two, bit 13 four, ….</summary>
    private IovaRange PagesOf(bool hasSize)
    {
        ulong address = High & PageLevels.FrameMask;
        if (!hasSize) return new(new(address), new(address | 0xFFF));
        int clear = BitOperations.TrailingZeroCount(~(address | 0xFFF));
        ulong within = clear >= 63 ? ulong.MaxValue : (1UL << (clear + 1)) - 1;
        return new(new(address & ~within), new(address | within));
    }

    private bool IsIotlbValid(VtdOptions options) => Granularity switch
    {
        Granularity.Reserved => false,
        Granularity.Selective => Pages.AddressMask <= options.MaximumAddressMask,
        _ => true,
    };
}

/// <summary>The pages of a page-selective invalidation: the high half of its descriptor, and IVA_REG.</summary>
internal readonly record struct PageSelection(ulong Bits)
{
    /// <summary>AM: log2 of the number of 4 KiB pages.</summary>
    public int AddressMask => (int)(Bits & 0x3F);

    /// <summary>IH: software says that it changed leaf entries only, so that the paging-structure caches may keep what they have.</summary>
    public bool LeafOnly => (Bits & 1 << 6) != 0;

    /// <summary>The naturally aligned block of pages; the masked bits of the address are ignored.</summary>
    public IovaRange Range
    {
        get
        {
            int bits = 12 + AddressMask;
            if (bits >= 64) return new(new(0), new(ulong.MaxValue));
            ulong mask = (1UL << bits) - 1;
            return new(new(Bits & ~mask), new(Bits | mask));
        }
    }
}

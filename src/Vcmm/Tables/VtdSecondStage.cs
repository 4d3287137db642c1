using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Tables;

/// <summary>Second-stage page tables of Intel VT-d: three to five levels, leaves of 4 KiB, 2 MiB and 1 GiB.</summary>
/// <remarks>
/// <b>Source.</b> Intel Virtualization Technology for Directed I/O, "Second-Stage Paging Entries": Read is bit 0, Write bit 1,
/// Page Size bit 7 (levels 2 and 3; reserved above), the address bits 51:12. An entry with neither Read nor Write is not
/// present. Accessed and Dirty (bits 8 and 9) are set by hardware that was told to (SSADE in the PASID-table entry) and are left
/// to it; Snoop (bit 11) and Transient Mapping (bit 62) are reserved where the hardware lacks them and are never set here.
/// </remarks>
public readonly struct VtdSecondStage : IPageTableFormat
{
    private const ulong ReadBit = 1UL << 0;
    private const ulong WriteBit = 1UL << 1;
    private const ulong PageSizeBit = 1UL << 7;
    private const ulong AddressMask = 0x000F_FFFF_FFFF_F000;

    /// <inheritdoc/>
    public static string Encoding => "vtd-second-stage";

    /// <inheritdoc/>
    public static int GranuleLog2 => 12;

    /// <inheritdoc/>
    public static int IndexBits => 9;

    /// <inheritdoc/>
    public static int MinLevelCount => 3;

    /// <inheritdoc/>
    public static int MaxLevelCount => 5;

    /// <inheritdoc/>
    public static PhysAddr LastPhysAddr => new(0x000F_FFFF_FFFF_FFFF);

    /// <inheritdoc/>
    public static uint LeafLevels => 1u << 1 | 1u << 2 | 1u << 3;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong EncodeLeaf(PhysAddr address, int level, MappingAttributes attributes) =>
        address.Value
        | ((attributes.Access & Access.Read) != 0 ? ReadBit : 0)
        | ((attributes.Access & Access.Write) != 0 ? WriteBit : 0)
        | (level > 1 ? PageSizeBit : 0);

    /// <inheritdoc/>
    public static ulong EncodeTable(PhysAddr table) => table.Value | ReadBit | WriteBit;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static EntryKind Classify(ulong entry, int level)
    {
        if ((entry & (ReadBit | WriteBit)) == 0) return EntryKind.Absent;
        return level == 1 || (entry & PageSizeBit) != 0 ? EntryKind.Leaf : EntryKind.Table;
    }

    /// <inheritdoc/>
    public static ulong ReservedBits(EntryKind kind, int level) => kind switch
    {
        // The address bits below the page's size.
        EntryKind.Leaf => AddressMask & ((1UL << (GranuleLog2 + IndexBits * (level - 1))) - 1),
        _ => 0,
    };

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PhysAddr LeafAddress(ulong entry, int level) =>
        new(entry & AddressMask & ~unchecked((1UL << (GranuleLog2 + IndexBits * (level - 1))) - 1));

    /// <inheritdoc/>
    public static PhysAddr TableAddress(ulong entry) => new(entry & AddressMask);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static MappingAttributes AttributesOf(ulong entry, int level) =>
        // The two bits stand where those of Access do.
        (Access)(entry & (ReadBit | WriteBit));

    /// <inheritdoc/>
    public static bool CanExpress(MappingAttributes attributes) =>
        (attributes.Access & Access.Execute) == 0 && !attributes.SupervisorOnly && !attributes.Secure;

    /// <inheritdoc/>
    public static bool RequiresBreakBeforeMake => false;

    /// <inheritdoc/>
    public static ulong AccessedBit => 1UL << 8;

    /// <inheritdoc/>
    public static ulong DirtyBit => 1UL << 9;
}

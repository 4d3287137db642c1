using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Tables;

/// <summary>
/// The page tables of x86-64 processors and of VT-d's first stage: four or five levels, leaves of 4 KiB, 2 MiB and, where the
/// hardware has them, 1 GiB.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, "4-Level Paging and 5-Level
/// Paging", tables of the formats of paging-structure entries; Virtualization Technology for Directed I/O, "First-Stage Paging
/// Entries": P is bit 0, R/W 1, U/S 2, PWT 3, PCD 4, A 5, D 6, PS 7 (levels 2 and 3) or PAT (level 1), G 8, the address bits
/// 51:12, PAT of a large leaf 12, XD 63. Addresses are canonical: the bits above the highest that is translated equal it.</para>
/// <para><b>Access.</b> What is present can be read; the right to write is R/W, to execute is the absence of XD, and a leaf without
/// U/S is for supervisor requests alone. A table grants everything, so that the leaf alone decides. XD is reserved where
/// no-execute is off: an IOMMU needs it on in the PASID-table entry, a processor in IA32_EFER.</para>
/// <para><b>Caches.</b> PAT, PCD and PWT choose one of eight types; these are as after power-on (same manual, "Programming the
/// PAT"): WB, WT, UC-, UC, and the same again. PAT is therefore left 0. Write-back without write-allocate has no encoding
/// and reads back as write-back with it; UC- reads back as not cached.</para>
/// <para>A and D are left to the hardware, G is never set.</para>
/// </remarks>
public readonly struct X86FirstStage : IPageTableFormat
{
    private const ulong PresentBit = 1UL << 0;
    private const ulong WriteBit = 1UL << 1;
    private const ulong UserBit = 1UL << 2;
    private const ulong WriteThroughBit = 1UL << 3;
    private const ulong CacheDisableBit = 1UL << 4;
    private const ulong PageSizeBit = 1UL << 7;
    private const ulong LargePatBit = 1UL << 12;
    private const ulong ExecuteDisableBit = 1UL << 63;
    private const ulong AddressMask = 0x000F_FFFF_FFFF_F000;

    /// <inheritdoc/>
    public static string Encoding => "x86-first-stage";

    /// <inheritdoc/>
    public static int GranuleLog2 => 12;

    /// <inheritdoc/>
    public static int IndexBits => 9;

    /// <inheritdoc/>
    public static int MinLevelCount => 4;

    /// <inheritdoc/>
    public static int MaxLevelCount => 5;

    /// <inheritdoc/>
    public static bool IsSignExtended => true;

    /// <inheritdoc/>
    public static PhysAddr LastPhysAddr => new(0x000F_FFFF_FFFF_FFFF);

    /// <inheritdoc/>
    public static uint LeafLevels => 1u << 1 | 1u << 2 | 1u << 3;

    /// <inheritdoc/>
    public static bool RequiresBreakBeforeMake => false;

    /// <inheritdoc/>
    public static ulong AccessedBit => 1UL << 5;

    /// <inheritdoc/>
    public static ulong DirtyBit => 1UL << 6;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong EncodeLeaf(PhysAddr address, int level, MappingAttributes attributes) =>
        address.Value
        | PresentBit
        | ((attributes.Access & Access.Write) != 0 ? WriteBit : 0)
        | (attributes.SupervisorOnly ? 0 : UserBit)
        | CacheBits(attributes.Cache)
        | (level > 1 ? PageSizeBit : 0)
        | ((attributes.Access & Access.Execute) != 0 ? 0 : ExecuteDisableBit);

    /// <inheritdoc/>
    public static ulong EncodeTable(PhysAddr table) => table.Value | PresentBit | WriteBit | UserBit;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static EntryKind Classify(ulong entry, int level)
    {
        if ((entry & PresentBit) == 0) return EntryKind.Absent;
        return level == 1 || (entry & PageSizeBit) != 0 ? EntryKind.Leaf : EntryKind.Table;
    }

    /// <inheritdoc/>
    public static ulong ReservedBits(EntryKind kind, int level) => kind switch
    {
        // Between the address of a large leaf and its PAT bit.
        EntryKind.Leaf => AddressMask & ~LargePatBit & OffsetMask(level),
        _ => 0,
    };

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PhysAddr LeafAddress(ulong entry, int level) => new(entry & AddressMask & ~OffsetMask(level));

    /// <inheritdoc/>
    public static PhysAddr TableAddress(ulong entry) => new(entry & AddressMask);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static MappingAttributes AttributesOf(ulong entry, int level) => new(
        Access.Read
            | ((entry & WriteBit) != 0 ? Access.Write : Access.None)
            | ((entry & ExecuteDisableBit) != 0 ? Access.None : Access.Execute),
        SupervisorOnly: (entry & UserBit) == 0,
        // The upper four types are the lower four again, so PAT does not count.
        Cache: (entry & CacheDisableBit) != 0
            ? CachePolicy.NotCached
            : (entry & WriteThroughBit) != 0 ? CachePolicy.WriteThrough : CachePolicy.WriteBackWriteAllocate);

    /// <inheritdoc/>
    public static bool CanExpress(MappingAttributes attributes) => (attributes.Access & Access.Read) != 0 && !attributes.Secure;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong CacheBits(CachePolicy policy) => policy switch
    {
        CachePolicy.WriteThrough => WriteThroughBit,
        CachePolicy.NotCached => CacheDisableBit | WriteThroughBit,
        _ => 0,
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong OffsetMask(int level) => unchecked((1UL << (GranuleLog2 + IndexBits * (level - 1))) - 1);
}

using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

/// <summary>
/// A paging entry of any level as a core reads it. Its fields are <see cref="X86Entry"/>'s; what a core refuses is
/// its own.
/// </summary>
/// <remarks>
/// <b>Source.</b> Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging", tables "Format of a … Entry": P is bit 0, R/W 1, U/S 2, A 5,
/// D 6 of a leaf, PS 7, G 8 of a leaf, the address bits 51:12, XD 63. Ignored: 3 and 4 (memory type), 9 to 11, 52 to 62.
/// </remarks>
internal readonly record struct CpuPagingEntry(ulong Bits) : IPagingEntry<CpuPagingEntry>
{
    private const ulong AccessedBit = 1UL << 5, DirtyBit = 1UL << 6, GlobalBit = 1UL << 8, ExecuteDisableBit = 1UL << 63;

    public static CpuPagingEntry From(ulong bits) => new(bits);

    private X86Entry Fields => new(Bits);

    public bool IsPresent => Fields.IsPresent;

    /// <summary>Where XD does not count a set bit of it is reserved, so that it is never seen here.</summary>
    public Rights Rights => Fields.Rights;

    public bool IsGlobal => (Bits & GlobalBit) != 0;

    public bool IsDirty => Fields.IsDirty;

    public bool IsLeaf(int level) => Fields.IsLeaf(level);

    public PhysAddr Target(int level) => Fields.Target(level);

    /// <summary>
    /// Reserved are the address bits from MAXPHYADDR on; PS of a PML5 and PML4 entry, and of a page-directory-pointer entry where there
    /// are no 1 GiB pages; in a large leaf the address bits below the page, the PAT bit apart; XD where NXE is 0.
    /// </summary>
    public bool HasReserved(int level, CpuOptions options)
    {
        bool isLeaf = IsLeaf(level);
        if (isLeaf && (level > 3 || (level == 3 && !options.Pages1G))) return true;
        ulong reserved = (PageLevels.BitsFrom(options.PhysicalAddressWidth) & ~PageLevels.BitsFrom(52))
            | (options.ExecuteDisable ? 0 : ExecuteDisableBit)
            | (isLeaf ? X86Entry.ReservedInLeaf(level) : 0);
        return (Bits & reserved) != 0;
    }

    /// <summary>The flags that an entry has when it is used; <paramref name="dirties"/> says that it is a leaf and used for a write.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Accessed and Dirty Flags".</remarks>
    public static ulong FlagsFor(bool dirties) => AccessedBit | (dirties ? DirtyBit : 0);
}

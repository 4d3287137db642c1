using Platform;

namespace IommuSim.Machinery;

/// <summary>
/// The fields of a paging entry of x86-64 of any level: a core's, and those of the tables that an IOMMU shares with cores. What each of
/// the two refuses is its own.
/// </summary>
/// <remarks>
/// <b>Source.</b> Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging", tables "Format of a … Entry": P is bit 0, R/W 1, U/S 2, D 6
/// of a leaf, PS 7, the address bits 51:12, PAT of a large leaf 12, XD 63.
/// </remarks>
internal readonly record struct X86Entry(ulong Bits)
{
    public const ulong PageSizeBit = 1UL << 7, PatOfLargeLeaf = 1UL << 12;

    public bool IsPresent => (Bits & 1) != 0;

    /// <summary>What is present may be read.</summary>
    public Rights Rights => (Rights)(Bits & 7) | (Bits >> 63 == 0 ? Rights.Execute : Rights.None) | Rights.SupervisorWrite;

    public bool IsDirty => (Bits & 1 << 6) != 0;

    public bool IsLeaf(int level) => level == 1 || (Bits & PageSizeBit) != 0;

    public PhysAddr Target(int level)
    {
        ulong frame = Bits & PageLevels.FrameMask & ~PageLevels.BitsFrom(52);
        return new(IsLeaf(level) ? frame & ~PageLevels.PageMask(level) : frame);
    }

    /// <summary>The address bits that are reserved in a leaf above level 1: those below the page, the PAT bit apart.</summary>
    public static ulong ReservedInLeaf(int level) => PageLevels.PageMask(level) & PageLevels.FrameMask & ~PatOfLargeLeaf;
}

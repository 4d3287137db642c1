using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>A first-stage paging entry of any level: an x86-64 processor's.</summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Translation Structure Formats, First-Stage Paging Entries. Ignored: bits 3 and 4
/// (memory type), 8, 9 and 11, 52 to 62, 6 of a pointer, 7 and, in a large leaf, 12 (PAT). Bit 63 counts for execute
/// requests only, which revision 4.1 took away.
/// </remarks>
internal readonly record struct FirstStageEntry(ulong Bits) : IVtdPagingEntry<FirstStageEntry>
{
    public static bool CanBeNested => true;

    public static FirstStageEntry From(ulong bits) => new(bits);

    private X86Entry Fields => new(Bits);

    public bool IsPresent => Fields.IsPresent;

    /// <summary>What is present may be read; R/W is bit 1, U/S bit 2, XD bit 63.</summary>
    public Rights Rights => Fields.Rights;

    /// <summary>PAT (bit 7, of a large leaf 12), PCD (bit 4), PWT (bit 3). Nothing here is cached by it.</summary>
    public int PatIndex(int level) => (int)(Bits >> 3 & 3) | ((Bits & (level == 1 ? X86Entry.PageSizeBit : X86Entry.PatOfLargeLeaf)) != 0 ? 4 : 0);

    public bool IsLeaf(int level) => Fields.IsLeaf(level);

    public PhysAddr Target(int level) => Fields.Target(level);

    public bool HasReserved(int level, VtdOptions options)
    {
        ulong reserved = PageLevels.BitsFrom(options.HostAddressWidth) & ~PageLevels.BitsFrom(52);
        if (!IsLeaf(level)) return (Bits & reserved) != 0;
        return !options.SupportsFirstStageLeafAt(level) || (Bits & (reserved | X86Entry.ReservedInLeaf(level))) != 0;
    }

    /// <summary>A is bit 5, the D of a leaf bit 6, EA bit 10.</summary>
    public ulong FlagsFor(in AddressSpace space, bool dirties) =>
        1UL << 5 | (dirties ? 1UL << 6 : 0) | (space.KeepsExtendedAccessed ? 1UL << 10 : 0);

    public bool IsDirty => Fields.IsDirty;
}

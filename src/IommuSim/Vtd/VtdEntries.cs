using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>The low half of a root entry; the high half is reserved.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Root Entry.</remarks>
internal readonly record struct RootEntry(ulong Low, ulong High)
{
    public const ulong Bytes = 16;

    public bool IsPresent => (Low & 1) != 0;

    public PhysAddr ContextTable => new(Low & PageLevels.FrameMask);

    /// <summary>Bits 11:1, the bits from the host address width up, and the whole high half.</summary>
    public bool HasReserved(int hostAddressWidth) =>
        (Low & (0xFFEUL | PageLevels.BitsFrom(hostAddressWidth))) != 0 || High != 0;
}

/// <summary>A legacy-mode context entry.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Context Entry.</remarks>
internal readonly record struct ContextEntry(ulong Low, ulong High)
{
    public const ulong Bytes = 16;

    public bool IsPresent => (Low & 1) != 0;

    /// <summary>FPD.</summary>
    public bool FaultProcessingDisabled => (Low & 2) != 0;

    /// <summary>TT: 0 untranslated requests only, 1 with device TLBs, 2 pass-through, 3 reserved.</summary>
    public int TranslationType => (int)(Low >> 2 & 3);

    public bool IsDeviceTlbEnabled => TranslationType == 1;

    public bool IsPassThrough => TranslationType == 2;

    /// <summary>SSPTPTR.</summary>
    public PhysAddr Table => new(Low & PageLevels.FrameMask);

    /// <summary>AW: 1 is 39 bits in 3 levels, 2 is 48 bits in 4, 3 is 57 bits in 5.</summary>
    public int AddressWidth => (int)(High & 7);

    public int Levels => AddressWidth + 2;

    public VtdDomainId Domain => new((ushort)(High >> 8 & 0xFFFF));

    /// <summary>
    /// Bits 11:4 and those from the host address width up; in the high half bit 7, those that a domain id does not have, and bits 63:24
    /// (6:3 are software's).
    /// </summary>
    public bool HasReserved(VtdOptions options) =>
        (Low & (0xFF0UL | PageLevels.BitsFrom(options.HostAddressWidth))) != 0 || (High & (0xFFFF_FFFF_FF00_0080UL | options.BeyondDomainId << 8)) != 0;

    /// <summary>The fault that using the entry gives, whatever the address; None if it can be used.</summary>
    public VtdFaultReason Check(VtdOptions options)
    {
        if (!IsPresent) return VtdFaultReason.ContextEntryNotPresent;                             // LCT.2
        if (HasReserved(options)) return VtdFaultReason.ContextEntryReserved;                     // LCT.3
        if (!options.SupportsLevels(Levels)) return VtdFaultReason.ContextEntryInvalid;           // LCT.4.1
        // LCT.4.2: device TLBs (type 1) only if ECAP.DT is set, pass-through only if ECAP.PT is.
        bool supported = TranslationType == 0 || (IsDeviceTlbEnabled && options.DeviceTlbs) || (IsPassThrough && options.PassThrough);
        return supported ? VtdFaultReason.None : VtdFaultReason.ContextEntryInvalid;
    }

    /// <summary>How the entry translates; it must have passed <see cref="Check"/>.</summary>
    public AddressSpace ToAddressSpace() =>
        new(IsPassThrough ? TranslationStage.PassThrough : TranslationStage.SecondStage, Table, Levels, Domain, Pasid: null);
}

/// <summary>A second-stage paging entry of any level.</summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Translation Structure Formats, Second-Stage Paging Entries. Ignored: bits 2 to 6
/// (execute, memory type), 8 to 10 (8 and 9 are the flags where they are kept), 52 to 61, 63, and bit 7 in a last-level entry.
/// Reserved are bit 62 (once transient mapping), and bit 11 but in a leaf where snoop control is offered.
/// </remarks>
internal readonly record struct SecondStageEntry(ulong Bits) : IVtdPagingEntry<SecondStageEntry>
{
    private const ulong PageSizeBit = 1UL << 7, SnoopBit = 1UL << 11;
    private const ulong AlwaysReserved = 1UL << 62;

    // Survives as `true`: performance only, an address space whose second-stage tables are walked says that it is not nested
    public static bool CanBeNested => false;

    public static SecondStageEntry From(ulong bits) => new(bits);

    public bool IsPresent => (Bits & 3) != 0;

    /// <summary>R is bit 0, W bit 1. The second stage knows no privilege, and here no execute permission.</summary>
    public Rights Rights => (Rights)(Bits & 3 | (Bits & 2) << 3) | Rights.User | Rights.Execute;

    /// <summary>Memory types of the second stage are not offered.</summary>
    public int PatIndex(int level) => 0;

    public bool IsDirty => (Bits & 1 << 9) != 0;

    public bool IsLeaf(int level) => level == 1 || (Bits & PageSizeBit) != 0;

    /// <summary>The frame or table pointed at; for a leaf above level 1 only the bits from the page size up count.</summary>
    public PhysAddr Target(int level) => new(Bits & PageLevels.FrameMask & ~PageLevels.BitsFrom(52));

    public bool HasReserved(int level, VtdOptions options)
    {
        ulong reserved = AlwaysReserved | (PageLevels.BitsFrom(options.HostAddressWidth) & ~PageLevels.BitsFrom(52));
        if (!IsLeaf(level)) return (Bits & (reserved | SnoopBit)) != 0;
        ulong inLeaf = PageLevels.PageMask(level) & PageLevels.FrameMask | (options.SnoopControl ? 0 : SnoopBit);
        return !options.SupportsLeafAt(level) || (Bits & (reserved | inLeaf)) != 0;
    }

    /// <summary>A is bit 8, the D of a leaf bit 9.</summary>
    public ulong FlagsFor(in AddressSpace space, bool dirties) => 1UL << 8 | (dirties ? 1UL << 9 : 0);
}

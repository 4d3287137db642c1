using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>A scalable-mode PASID directory entry.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Scalable-Mode PASID Directory Entry.</remarks>
internal readonly record struct PasidDirectoryEntry(ulong Bits)
{
    public const ulong Bytes = 8;

    /// <summary>Bits 5:0 of a PASID select the entry in the table, the others the one in the directory.</summary>
    public const int TableCountLog2 = 6;

    public bool IsPresent => (Bits & 1) != 0;

    /// <summary>FPD.</summary>
    public bool FaultProcessingDisabled => (Bits & 2) != 0;

    /// <summary>SMPTBLPTR.</summary>
    public PhysAddr Table => new(Bits & PageLevels.FrameMask);

    /// <summary>Bits 11:2, and those from the host address width up.</summary>
    public bool HasReserved(int hostAddressWidth) => (Bits & (0xFFCUL | PageLevels.BitsFrom(hostAddressWidth))) != 0;

    public static PhysAddr EntryAddress(PhysAddr directory, Pasid pasid) =>
        directory + (ulong)(pasid.Value >> TableCountLog2) * Bytes;
}

/// <summary>A scalable-mode PASID table entry, 512 bits, in 64-bit words; <paramref name="Rest"/> is the last five of them together.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Scalable-Mode PASID Table Entry.</remarks>
internal readonly record struct PasidTableEntry(ulong First, ulong Second, ulong Third, ulong Rest)
{
    public const int Words = 8;
    public const ulong Bytes = 64;
    private const ulong SecondStageFlags = 1 << 9, AddressWidthField = 7 << 2;
    private const ulong WalkSnoop = 1 << 23, PageSnoop = 1 << 24;

    /// <summary>CD, EMTE, PAT.</summary>
    private const ulong MemoryTypes = 1UL << 25 | 1UL << 26 | 0xFFFF_FFFF_0000_0000;
    private const ulong SupervisorEnable = 1, ExecuteEnable = 1 << 1, PagingModeField = 3 << 2, WriteProtectEnable = 1 << 4, ExtendedAccessedEnable = 1 << 7;
    private const ulong Frame = PageLevels.FrameMask;

    public bool IsPresent => (First & 1) != 0;

    /// <summary>FPD.</summary>
    public bool FaultProcessingDisabled => (First & 2) != 0;

    /// <summary>AW: 1 is 39 bits in 3 levels, 2 is 48 bits in 4, 3 is 57 bits in 5.</summary>
    public int SecondStageLevels => (int)(First >> 2 & 7) + 2;

    /// <summary>PGTT: 1 first stage, 2 second stage, 3 nested, 4 pass-through.</summary>
    public int TranslationType => (int)(First >> 6 & 7);

    /// <summary>SSADE.</summary>
    public bool HasSecondStageFlags => (First & SecondStageFlags) != 0;

    /// <summary>SSPTPTR.</summary>
    public PhysAddr SecondStageTable => new(First & Frame);

    public VtdDomainId Domain => new((ushort)(Second & 0xFFFF));

    /// <summary>PWSNP.</summary>
    public bool IsWalkSnooped => (Second & WalkSnoop) != 0;

    /// <summary>SRE.</summary>
    public bool IsSupervisorEnabled => (Third & SupervisorEnable) != 0;

    /// <summary>ERE, up to revision 4.0; bit 1 is reserved since.</summary>
    public bool IsExecuteEnabled => (Third & ExecuteEnable) != 0;

    /// <summary>FSPM: 0 is 4 levels, 1 is 5.</summary>
    public int PagingMode => (int)(Third >> 2 & 3);

    /// <summary>WPE.</summary>
    public bool IsWriteProtectEnabled => (Third & WriteProtectEnable) != 0;

    /// <summary>EAFE.</summary>
    public bool IsExtendedAccessedEnabled => (Third & ExtendedAccessedEnable) != 0;

    /// <summary>FSPTPTR.</summary>
    public PhysAddr FirstStageTable => new(Third & Frame);

    public static PhysAddr EntryAddress(PhysAddr table, Pasid pasid) =>
        table + (pasid.Value & (1 << PasidDirectoryEntry.TableCountLog2) - 1) * Bytes;

    /// <summary>The fault that using the entry gives, whatever the request; None if it can be used.</summary>
    public VtdFaultReason Check(VtdOptions options)
    {
        if (!IsPresent) return VtdFaultReason.PasidEntryNotPresent;                               // SPT.2
        if (HasReserved(options)) return VtdFaultReason.PasidEntryReserved;                       // SPT.3
        bool isValid = TranslationType switch                                                     // SPT.4.2
        {
            1 => options.HasFirstStage && HasPagingMode(options),                                 // SPT.4.3
            2 => options.HasSecondStage && options.SupportsLevels(SecondStageLevels),             // SPT.4.1
            3 => options.HasNesting && options.SupportsLevels(SecondStageLevels) && HasPagingMode(options)
                && FirstStageTable.Value >> Math.Min(options.GuestAddressWidth, PageLevels.Width(SecondStageLevels)) == 0,    // SPT.4.4
            4 => options.PassThrough,
            _ => false,
        };
        return isValid ? VtdFaultReason.None : VtdFaultReason.PasidEntryInvalid;
    }

    /// <summary>How the entry translates; the entry must have passed <see cref="Check"/>.</summary>
    public AddressSpace ToAddressSpace(Pasid pasid) => TranslationType switch
    {
        1 => FirstStageSpace(TranslationStage.FirstStage, pasid),
        2 => new(TranslationStage.SecondStage, SecondStageTable, SecondStageLevels, Domain, pasid)
        {
            KeepsFlags = HasSecondStageFlags,
            IsWalkSnooped = IsWalkSnooped,
        },
        3 => FirstStageSpace(TranslationStage.Nested, pasid) with
        {
            SecondTable = SecondStageTable,
            SecondLevels = SecondStageLevels,
            SecondKeepsFlags = HasSecondStageFlags,
        },
        _ => new(TranslationStage.PassThrough, default, 0, Domain, pasid),
    };

    private AddressSpace FirstStageSpace(TranslationStage stage, Pasid pasid) => new(stage, FirstStageTable, 4 + PagingMode, Domain, pasid)
    {
        IsWriteProtected = IsWriteProtectEnabled,
        KeepsFlags = true,
        KeepsExtendedAccessed = IsExtendedAccessedEnabled,
        IsWalkSnooped = IsWalkSnooped,
    };

    private bool HasPagingMode(VtdOptions options) => PagingMode == 0 || (PagingMode == 1 && options.HasFiveLevels);

    /// <summary>
    /// Always: bits 5 and 11:10, 86:80, 95:91, 139:136, and from 192 on (of which host permission tables, that are not offered, have some);
    /// then the fields of what the unit lacks, and the bits that a domain id does not have. Ignored are 134:133.
    /// </summary>
    private bool HasReserved(VtdOptions options)
    {
        ulong beyondHost = PageLevels.BitsFrom(options.HostAddressWidth);
        ulong first = 1UL << 5 | 3UL << 10 | beyondHost
            | Unless(options.HasSecondStage, AddressWidthField | Frame)
            | Unless(options.HasSecondStageFlags, SecondStageFlags);
        ulong second = ~(0xFFFFUL | WalkSnoop | PageSnoop | MemoryTypes) | options.BeyondDomainId
            | Unless(options.HasWalkSnoop, WalkSnoop)
            | Unless(options.SnoopControl, PageSnoop)
            | Unless(options.HasMemoryTypes, MemoryTypes);
        ulong third = 0xFUL << 8 | beyondHost
            | Unless(options.HasSupervisor, SupervisorEnable)
            | Unless(options.HasExecute, ExecuteEnable)
            | Unless(options.HasFirstStage, PagingModeField | WriteProtectEnable | Frame)
            | Unless(options.HasExtendedAccessed, ExtendedAccessedEnable);
        return (First & first) != 0 || (Second & second) != 0 || (Third & third) != 0 || Rest != 0;
    }

    private static ulong Unless(bool isOffered, ulong field) => isOffered ? 0 : field;
}

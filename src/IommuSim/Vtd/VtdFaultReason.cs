using IommuSim.ScalableMode;

namespace IommuSim;

/// <summary>Why a request was blocked, by the numbers of the fault reason field.</summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Non-Recoverable Address Translation Faults and the appendix Fault Reason
/// Encodings; the fault conditions stand in brackets. From 0x30 on they are those of the scalable mode, as revision 5.1 numbers
/// them; host permission tables, which are not simulated, have more.
/// </remarks>
public enum VtdFaultReason : byte
{
    /// <summary>No fault was found by the IOMMU.</summary>
    None = 0x0,

    /// <summary>The root entry is not present (LRT.2).</summary>
    RootEntryNotPresent = 0x1,

    /// <summary>The context entry is not present (LCT.2).</summary>
    ContextEntryNotPresent = 0x2,

    /// <summary>
    /// The context entry is programmed wrongly: an unsupported address width (LCT.4.1) or translation type (LCT.4.2), or a
    /// table pointer where the first paging entry cannot be fetched (LCT.4.3).
    /// </summary>
    ContextEntryInvalid = 0x3,

    /// <summary>
    /// The address is wider than the unit (MGAW) or the device's tables (AGAW) allow (LGN.1.1); of a pass-through request than the host's
    /// (LGN.1.3).
    /// </summary>
    AddressBeyondMgaw = 0x4,

    /// <summary>A write without permission, or through an entry that is not present (LGN.2).</summary>
    Write = 0x5,

    /// <summary>A read without permission, or through an entry that is not present (LGN.3).</summary>
    Read = 0x6,

    /// <summary>A paging entry below the first level of the walk cannot be fetched (LSL.1).</summary>
    NextTablePointerInvalid = 0x7,

    /// <summary>The root entry cannot be fetched (LRT.1).</summary>
    RootTableAddressInvalid = 0x8,

    /// <summary>The context entry cannot be fetched (LCT.1).</summary>
    ContextTableAddressInvalid = 0x9,

    /// <summary>A present root entry has reserved bits set (LRT.3).</summary>
    RootEntryReserved = 0xA,

    /// <summary>A present context entry has reserved bits set (LCT.3).</summary>
    ContextEntryReserved = 0xB,

    /// <summary>A present paging entry has reserved bits set (LSL.2): a misaligned or unsupported large page among others.</summary>
    PagingEntryReserved = 0xC,

    /// <summary>A translation request or a translated request where the context entry's type is not 01b (LCT.5).</summary>
    TranslationTypeBlocks = 0xD,

    /// <summary>The translated address lies in the interrupt address range 0xFEEx_xxxx (LGN.4).</summary>
    InterruptAddressOutput = 0xE,

    /// <summary>RTADDR_REG asks for a translation table mode that there is not, or has reserved bits set (RTA.1).</summary>
    RootTableAddressMisprogrammed = 0x30,

    /// <summary>A request with PASID while the unit is in legacy mode (RTA.2).</summary>
    PasidInLegacyMode = 0x31,

    /// <summary>A page request while the unit is in legacy mode (RTA.3).</summary>
    PageRequestInLegacyMode = 0x32,

    /// <summary>The unit is in abort-dma mode (RTA.4).</summary>
    AbortDma = 0x33,

    /// <summary>The scalable-mode root entry cannot be fetched (SRT.1).</summary>
    ScalableRootEntryUnreachable = 0x38,

    /// <summary>The half of the scalable-mode root entry is not present: LP, UP (SRT.2).</summary>
    ScalableRootEntryNotPresent = 0x39,

    /// <summary>The present half of a scalable-mode root entry has reserved bits set (SRT.3).</summary>
    ScalableRootEntryReserved = 0x3A,

    /// <summary>The scalable-mode context entry cannot be fetched (SCT.1).</summary>
    ScalableContextEntryUnreachable = 0x40,

    /// <summary>The scalable-mode context entry is not present (SCT.2).</summary>
    ScalableContextEntryNotPresent = 0x41,

    /// <summary>A present scalable-mode context entry has reserved bits set (SCT.3).</summary>
    ScalableContextEntryReserved = 0x42,

    /// <summary>
    /// A scalable-mode context entry is programmed wrongly: page requests without device TLBs, PRE without DTE (SCT.4.1), or a RID_PASID
    /// beyond the PASID directory (SCT.4.2).
    /// </summary>
    ScalableContextEntryInvalid = 0x43,

    /// <summary>A translation request or a translated request where the context entry has DTE clear (SCT.5).</summary>
    DeviceTlbNotEnabled = 0x44,

    /// <summary>A request with PASID where the context entry has PASIDE clear (SCT.6).</summary>
    PasidNotEnabled = 0x45,

    /// <summary>The PASID of the request is beyond the PASID directory: PDTS (SCT.7).</summary>
    PasidBeyondDirectory = 0x46,

    /// <summary>A page request where the context entry has PRE clear (SCT.8).</summary>
    PageRequestNotEnabled = 0x47,

    /// <summary>The PASID of the request is the one that the context entry gives to requests without: RID_PASID (SCT.9).</summary>
    PasidIsRidPasid = 0x48,

    /// <summary>The PASID directory entry cannot be fetched (SPD.1).</summary>
    PasidDirectoryEntryUnreachable = 0x50,

    /// <summary>The PASID directory entry is not present (SPD.2).</summary>
    PasidDirectoryEntryNotPresent = 0x51,

    /// <summary>A present PASID directory entry has reserved bits set (SPD.3).</summary>
    PasidDirectoryEntryReserved = 0x52,

    /// <summary>The PASID table entry cannot be fetched (SPT.1).</summary>
    PasidEntryUnreachable = 0x58,

    /// <summary>The PASID table entry is not present (SPT.2).</summary>
    PasidEntryNotPresent = 0x59,

    /// <summary>A present PASID table entry has reserved bits set (SPT.3).</summary>
    PasidEntryReserved = 0x5A,

    /// <summary>
    /// A PASID table entry is programmed wrongly: an unsupported address width (SPT.4.1), translation type (SPT.4.2) or
    /// first-stage paging mode (SPT.4.3), or for nested translation an FSPTPTR that is wider than MGAW or the second-stage table (SPT.4.4).
    /// </summary>
    PasidEntryInvalid = 0x5B,

    /// <summary>A request for execute permission that the unit or the PASID entry does not allow (SPT.5).</summary>
    ExecuteNotEnabled = 0x5C,

    /// <summary>A request with supervisor privilege where the PASID entry has SRE clear (SPT.6).</summary>
    SupervisorNotEnabled = 0x5D,

    /// <summary>A first-stage entry below the first level of the walk cannot be fetched (SFS.1).</summary>
    FirstStageEntryUnreachable = 0x70,

    /// <summary>A first-stage entry is not present (SFS.2).</summary>
    FirstStageEntryNotPresent = 0x71,

    /// <summary>A present first-stage entry has reserved bits set (SFS.3).</summary>
    FirstStageEntryReserved = 0x72,

    /// <summary>The first first-stage entry of the walk, through FSPTPTR, cannot be fetched (SFS.4).</summary>
    FirstStageTableUnreachable = 0x73,

    /// <summary>Under nested translation, a first-stage entry, a leaf too, points to an address wider than MGAW or the second-stage table (SFS.5).</summary>
    FirstStageEntryBeyondWidth = 0x74,

    /// <summary>Under nested translation, the second stage grants no read of the first first-stage entry of the walk, through FSPTPTR (SFS.6).</summary>
    FirstStageTableNotReadable = 0x75,

    /// <summary>Under nested translation, the second stage grants no read of a first-stage entry below the first level of the walk (SFS.7).</summary>
    FirstStageEntryNotReadable = 0x76,

    /// <summary>
    /// Under nested translation, a first-stage entry needs its accessed, extended-accessed or dirty flag set, and the second stage grants
    /// no write of it (SFS.8).
    /// </summary>
    FirstStageFlagsNotWritable = 0x77,

    /// <summary>A second-stage entry below the first level of the walk cannot be fetched (SSS.1).</summary>
    SecondStageEntryUnreachable = 0x78,

    /// <summary>A second-stage entry, or all entries of the walk together, grant neither reads nor writes (SSS.2).</summary>
    SecondStageNotPermitted = 0x79,

    /// <summary>A present second-stage entry has reserved bits set (SSS.3).</summary>
    SecondStageEntryReserved = 0x7A,

    /// <summary>The first second-stage entry of the walk, through SSPTPTR, cannot be fetched (SSS.4).</summary>
    SecondStageTableUnreachable = 0x7B,

    /// <summary>A second-stage entry needs its accessed or dirty flag set, and the walk does not snoop (SSS.5).</summary>
    SecondStageFlagsNotSnooped = 0x7C,

    /// <summary>The accessed or dirty flag of a second-stage entry could not be set (SSS.6).</summary>
    SecondStageFlagsNotUpdated = 0x7D,

    /// <summary>The address of a request under first-stage translation is not canonical (SGN.1).</summary>
    AddressNotCanonical = 0x80,

    /// <summary>A request with user privilege meets a supervisor entry (SGN.2).</summary>
    UserPrivilege = 0x81,

    /// <summary>A request for execute permission meets an execute-disable entry (SGN.3, up to revision 4.0).</summary>
    ExecuteDisabled = 0x82,

    /// <summary>The address of a pass-through request is wider than the host's (SGN.4.2).</summary>
    AddressBeyondHostWidth = 0x83,

    /// <summary>The address of a request under second-stage translation alone is wider than MGAW or the table (SGN.5).</summary>
    ScalableAddressBeyondWidth = 0x84,

    /// <summary>A write without permission (SGN.6).</summary>
    ScalableWrite = 0x85,

    /// <summary>A read without permission (SGN.7).</summary>
    ScalableRead = 0x86,

    /// <summary>The translated address lies in the interrupt address range 0xFEEx_xxxx (SGN.8).</summary>
    ScalableInterruptAddressOutput = 0x87,

    /// <summary>The PASID of the request has more bits than the unit supports: PSS (SGN.10).</summary>
    PasidBeyondSize = 0x89,

    /// <summary>A first-stage entry needs its accessed, extended-accessed or dirty flag set, and the walk does not snoop (SFS.9).</summary>
    FirstStageFlagsNotSnooped = 0x90,

    /// <summary>The accessed, extended-accessed or dirty flag of a first-stage entry could not be set (SFS.10).</summary>
    FirstStageFlagsNotUpdated = 0x91,
}

internal static class VtdFaultReasons
{
    /// <summary>The reason given to <paramref name="access"/> for a cached fault: an absent entry is told by the kind of access.</summary>
    public static VtdFaultReason For(this VtdFaultReason reason, DeviceAccess access) =>
        reason is VtdFaultReason.Read or VtdFaultReason.Write ? Denied(access) : reason;

    public static VtdFaultReason Denied(DeviceAccess access) =>
        access == DeviceAccess.Write ? VtdFaultReason.Write : VtdFaultReason.Read;

    /// <summary>
    /// Whether FPD of an entry that was met before silences the fault: not those of entries that cannot be fetched on the way to the
    /// PASID table entry (Address Translation Faults, the column Qualified). Before those of the root table and its register, and of a
    /// context entry that cannot be fetched, no such entry is met.
    /// </summary>
    public static bool IsQualified(this VtdFaultReason reason) =>
        reason is not (VtdFaultReason.PasidDirectoryEntryUnreachable or VtdFaultReason.PasidEntryUnreachable);

    /// <summary>
    /// Whether a translation request that meets it succeeds, with no permission: whatever concerns this address or this PASID alone, and all
    /// that is wrong in first-stage tables, which are a process's (Fault Conditions and Remapping Hardware Behavior for Various Requests,
    /// Translation Request, "Success with R=W=U=S=0").
    /// </summary>
    public static bool IsRecoverable(this VtdFaultReason reason) => reason switch
    {
        VtdFaultReason.AddressBeyondMgaw or VtdFaultReason.Write or VtdFaultReason.Read => true,
        VtdFaultReason.PasidDirectoryEntryNotPresent or VtdFaultReason.PasidEntryNotPresent => true,
        VtdFaultReason.ExecuteNotEnabled or VtdFaultReason.SupervisorNotEnabled => true,
        >= VtdFaultReason.FirstStageEntryUnreachable and <= VtdFaultReason.FirstStageFlagsNotWritable => true,
        VtdFaultReason.FirstStageFlagsNotSnooped or VtdFaultReason.FirstStageFlagsNotUpdated => true,
        VtdFaultReason.SecondStageNotPermitted => true,
        >= VtdFaultReason.AddressNotCanonical and <= VtdFaultReason.ScalableRead => true,
        _ => false,
    };

    /// <summary>Whether nothing of it is recorded then: a flag that could not be set is (SFS.10).</summary>
    public static bool IsTheDevicesAlone(this VtdFaultReason reason) => reason.IsRecoverable() && reason != VtdFaultReason.FirstStageFlagsNotUpdated;

    /// <summary>Whether caching mode may remember the fault: not where the next access may do without the flag.</summary>
    public static bool IsLasting(this VtdFaultReason reason) =>
        reason is not (VtdFaultReason.SecondStageFlagsNotSnooped or VtdFaultReason.SecondStageFlagsNotUpdated);
}

/// <summary>The reasons of one kind of walk: legacy mode and scalable mode tell the same of a second-stage walk by other numbers.</summary>
internal sealed record WalkFaults(
    VtdFaultReason TopUnreachable,
    VtdFaultReason NextUnreachable,
    VtdFaultReason AbsentRead,
    VtdFaultReason AbsentWrite,
    VtdFaultReason Reserved,
    VtdFaultReason BeyondWidth,
    VtdFaultReason Read,
    VtdFaultReason Write,
    VtdFaultReason InterruptOutput,
    VtdFaultReason FlagsNotSnooped,
    VtdFaultReason FlagsNotUpdated)
{
    /// <summary>Legacy mode: LCT.4.3, LSL.1, LGN.2 and 3, LSL.2, LGN.1, LGN.4. There are no flags.</summary>
    public static WalkFaults Legacy { get; } = new(
        VtdFaultReason.ContextEntryInvalid,
        VtdFaultReason.NextTablePointerInvalid,
        VtdFaultReason.Read,
        VtdFaultReason.Write,
        VtdFaultReason.PagingEntryReserved,
        VtdFaultReason.AddressBeyondMgaw,
        VtdFaultReason.Read,
        VtdFaultReason.Write,
        VtdFaultReason.InterruptAddressOutput,
        VtdFaultReason.None,
        VtdFaultReason.None);

    /// <summary>Scalable mode, second stage: SSS and SGN.5 to 8.</summary>
    public static WalkFaults SecondStage { get; } = new(
        VtdFaultReason.SecondStageTableUnreachable,
        VtdFaultReason.SecondStageEntryUnreachable,
        VtdFaultReason.SecondStageNotPermitted,
        VtdFaultReason.SecondStageNotPermitted,
        VtdFaultReason.SecondStageEntryReserved,
        VtdFaultReason.ScalableAddressBeyondWidth,
        VtdFaultReason.ScalableRead,
        VtdFaultReason.ScalableWrite,
        VtdFaultReason.ScalableInterruptAddressOutput,
        VtdFaultReason.SecondStageFlagsNotSnooped,
        VtdFaultReason.SecondStageFlagsNotUpdated);

    /// <summary>Scalable mode, first stage: SFS and SGN.1, 6 and 8.</summary>
    public static WalkFaults FirstStage { get; } = new(
        VtdFaultReason.FirstStageTableUnreachable,
        VtdFaultReason.FirstStageEntryUnreachable,
        VtdFaultReason.FirstStageEntryNotPresent,
        VtdFaultReason.FirstStageEntryNotPresent,
        VtdFaultReason.FirstStageEntryReserved,
        VtdFaultReason.AddressNotCanonical,
        VtdFaultReason.ScalableRead,
        VtdFaultReason.ScalableWrite,
        VtdFaultReason.ScalableInterruptAddressOutput,
        VtdFaultReason.FirstStageFlagsNotSnooped,
        VtdFaultReason.FirstStageFlagsNotUpdated);

    /// <summary>Nested translation, to where the first stage leads: SFS.5 takes the place of SGN.5.</summary>
    private static readonly WalkFaults Page = SecondStage with { BeyondWidth = VtdFaultReason.FirstStageEntryBeyondWidth };

    /// <summary>Nested translation, to the first entry of a first-stage walk: SFS.6 and 8 besides, for SGN.6 and 7.</summary>
    private static readonly WalkFaults FirstTable = Page with
    {
        Read = VtdFaultReason.FirstStageTableNotReadable,
        Write = VtdFaultReason.FirstStageFlagsNotWritable,
    };

    /// <summary>Nested translation, to any other first-stage entry: SFS.7.</summary>
    private static readonly WalkFaults Table = FirstTable with { Read = VtdFaultReason.FirstStageEntryNotReadable };

    /// <summary>Scalable mode, second stage, for an access of nested translation or the device's.</summary>
    public static WalkFaults SecondStageFor(GuestAccess access) => access switch
    {
        GuestAccess.Page => Page,
        GuestAccess.FirstTable => FirstTable,
        GuestAccess.Table => Table,
        _ => SecondStage,
    };

    public VtdFaultReason Absent(DeviceAccess access) => access == DeviceAccess.Write ? AbsentWrite : AbsentRead;

    public VtdFaultReason Denied(DeviceAccess access) => access == DeviceAccess.Write ? Write : Read;
}

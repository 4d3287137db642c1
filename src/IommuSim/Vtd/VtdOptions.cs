using IommuSim.Machinery;

namespace IommuSim;

/// <summary>When the invalidation queue is consumed.</summary>
public enum CommandMode
{
    /// <summary>
    /// A write to the queue tail consumes the queue before it returns, as far as it can: a wait descriptor that must
    /// drain an access of another thread is left to the end of that access.
    /// </summary>
    OnDoorbell,

    /// <summary>Only <see cref="VtdIommu{TMemory,TSteps}.ProcessNextCommand"/> consumes; a tail write raises the doorbell.</summary>
    Manual,
}

/// <summary>What a simulated VT-d unit can do and how large its caches are. The capability registers are computed from it.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Capability Register and Extended Capability Register.</remarks>
public sealed record VtdOptions
{
    /// <summary>A unit with every feature of the legacy mode, medium caches and one fault record.</summary>
    public static VtdOptions Default { get; } = new();

    /// <summary>The same unit with the scalable mode and all of its features but execute requests and nested translation.</summary>
    public static VtdOptions Scalable { get; } = new() { ScalableMode = true };

    /// <summary>Sets of the IOTLB: a power of two, or 0 for no IOTLB.</summary>
    public int IotlbSets { get; init; } = 64;

    /// <summary>Ways of each IOTLB set: 1 …, or 0 for no IOTLB.</summary>
    public int IotlbWays { get; init; } = 4;

    /// <summary>
    /// Whether the IOTLB has lines of 2 MiB. A page that is larger than any line that it may have is kept by its parts, each in a line of
    /// the largest size that there is, as each is met. An invalidation drops those of them that it names: software names the whole of a
    /// large page by its address mask.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Invalidate Address Register, AM.</remarks>
    public bool IotlbLines2M { get; init; } = true;

    /// <summary>Whether the IOTLB has lines of 1 GiB; without, pages of 1 GiB are kept by parts of 2 MiB or 4 KiB.</summary>
    public bool IotlbLines1G { get; init; } = true;

    /// <summary>Entries of the paging-structure cache of each level (page directory and up), fully associative; 0 for none.</summary>
    public int WalkCacheEntriesPerLevel { get; init; } = 8;

    /// <summary>Which line is replaced in the IOTLB and in the paging-structure caches.</summary>
    public CacheReplacement Replacement { get; init; }

    /// <summary>Entries of the direct-mapped context cache; 0 for none.</summary>
    public int ContextCacheEntries { get; init; } = 16;

    /// <summary>CAP.CM: whether absent and erroneous entries are cached too, so that software must invalidate after every change.</summary>
    public bool CachingMode { get; init; }

    /// <summary>CAP.NFR: primary fault recording registers, 1 … 222 (as many as fit into the 4 KiB register page).</summary>
    public int FaultRecordCount { get; init; } = 1;

    /// <summary>The host address width, 32 … 52 bits: physical address bits at and above it are reserved in every entry.</summary>
    public int HostAddressWidth { get; init; } = 48;

    /// <summary>CAP.SAGAW bit 1: whether 3-level tables (39-bit device addresses) are supported.</summary>
    public bool ThreeLevelTables { get; init; } = true;

    /// <summary>CAP.SAGAW bit 2: whether 4-level tables (48-bit device addresses) are supported.</summary>
    public bool FourLevelTables { get; init; } = true;

    /// <summary>CAP.SAGAW bit 3: whether 5-level tables (57-bit device addresses) of the second stage are supported.</summary>
    public bool FiveLevelTables { get; init; }

    /// <summary>CAP.ND: the bits of a domain id: 4, 6, … 16. Those above are reserved in entries, and ignored in commands.</summary>
    public int DomainIdBits { get; init; } = 16;

    /// <summary>CAP.SLLPS bit 0: whether a page-directory entry may map a 2 MiB page.</summary>
    public bool Pages2M { get; init; } = true;

    /// <summary>CAP.SLLPS bit 1: whether a page-directory-pointer entry may map a 1 GiB page.</summary>
    public bool Pages1G { get; init; } = true;

    /// <summary>ECAP.PT: whether a context entry may let its device through untranslated.</summary>
    public bool PassThrough { get; init; } = true;

    /// <summary>
    /// ECAP.C: what software is told about the coherency of table walks. The simulator reads memory through its port either
    /// way; a port that keeps unclean lines from the walker, as <see cref="NonCoherentMemory{TMemory}"/> has one, decides what is seen.
    /// </summary>
    public bool CoherentWalk { get; init; }

    /// <summary>CAP.MAMV: the largest address mask of a page-selective invalidation, 0 … 63.</summary>
    public int MaximumAddressMask { get; init; } = 18;

    /// <summary>
    /// ECAP.QI: whether there is an invalidation queue. Without it its registers, those of the completion event too, read as 0 and take
    /// nothing, and software invalidates through CCMD_REG and IOTLB_REG; only without <see cref="ScalableMode"/>, <see cref="DeviceTlbs"/> and
    /// <see cref="AbortDma"/>.
    /// </summary>
    public bool QueuedInvalidation { get; init; } = true;

    /// <summary>When the invalidation queue is consumed.</summary>
    public CommandMode Commands { get; init; } = CommandMode.OnDoorbell;

    /// <summary>
    /// ECAP.SMTS: whether root tables of the scalable mode and 256-bit invalidation descriptors are supported. Without it
    /// none of the options below counts, and each field that reports them is clear.
    /// </summary>
    public bool ScalableMode { get; init; }

    /// <summary>ECAP.SSTS: whether a PASID may be translated by second-stage tables.</summary>
    public bool SecondStage { get; init; } = true;

    /// <summary>ECAP.FSTS: whether a PASID may be translated by first-stage tables.</summary>
    public bool FirstStage { get; init; } = true;

    /// <summary>
    /// ECAP.NEST: whether a PASID may be translated by first-stage tables whose pointers and pages are translated by second-stage
    /// tables; only with <see cref="FirstStage"/> and <see cref="SecondStage"/>.
    /// </summary>
    public bool Nesting { get; init; }

    /// <summary>CAP.FS5LP: whether first-stage tables may have five levels.</summary>
    public bool FirstStageFiveLevels { get; init; } = true;

    /// <summary>CAP.FS1GP: whether a first-stage page-directory-pointer entry may map a 1 GiB page. 2 MiB pages always are.</summary>
    public bool FirstStagePages1G { get; init; } = true;

    /// <summary>ECAP.PASID: whether requests may carry a PASID.</summary>
    public bool RequestsWithPasid { get; init; } = true;

    /// <summary>ECAP.PSS: the bits of a PASID, 1 … 20 (the field is one less).</summary>
    public int PasidBits { get; init; } = 20;

    /// <summary>ECAP.RPS: whether a context entry chooses the PASID of requests without one; otherwise that is 0.</summary>
    public bool RidPasid { get; init; } = true;

    /// <summary>ECAP.RPRIVS: whether a context entry can make requests without a PASID privileged; only with <see cref="SupervisorRequests"/>.</summary>
    public bool RidPrivilege { get; init; } = true;

    /// <summary>ECAP.SRS: whether requests may ask for supervisor privilege.</summary>
    public bool SupervisorRequests { get; init; } = true;

    /// <summary>
    /// ECAP.ERS: whether requests may ask for execute permission. Revision 4.1 of the specification took this away; the
    /// meaning is that of the revisions before.
    /// </summary>
    public bool ExecuteRequests { get; init; }

    /// <summary>
    /// ECAP.SMPWCS: whether walks of a PASID's tables can be made to snoop (PWSNP). Where they do not, a flag that would have
    /// to be set in a paging entry is a fault.
    /// </summary>
    public bool ScalableWalkSnoop { get; init; } = true;

    /// <summary>ECAP.SSADS: accessed and dirty flags in second-stage entries; only with <see cref="ScalableWalkSnoop"/>.</summary>
    public bool SecondStageAccessedDirty { get; init; } = true;

    /// <summary>ECAP.EAFS: the extended-accessed flag in first-stage entries; only with <see cref="ScalableWalkSnoop"/>.</summary>
    public bool ExtendedAccessed { get; init; } = true;

    /// <summary>ECAP.SC: the snoop bit of second-stage leaves and PGSNP of PASID entries. They change nothing here: all memory is coherent.</summary>
    public bool SnoopControl { get; init; }

    /// <summary>
    /// ECAP.MTS: CD, EMTE and PAT of PASID entries; only in scalable mode. They change nothing here: no device is in the processors'
    /// coherency domain. There are no MTRRs (MTRRCAP_REG reads 0).
    /// </summary>
    public bool MemoryTypes { get; init; }

    /// <summary>ECAP.ADMS: whether RTADDR_REG may ask for the mode in which every request is blocked; with and without the scalable mode.</summary>
    public bool AbortDma { get; init; }

    /// <summary>Entries of the direct-mapped PASID cache; 0 for none.</summary>
    public int PasidCacheEntries { get; init; } = 16;

    /// <summary>
    /// ECAP.DT: whether devices may ask for translations and keep them (ATS), in both modes. ECAP.NWFS is then set too: a
    /// request that is for reading only dirties nothing.
    /// </summary>
    public bool DeviceTlbs { get; init; }

    /// <summary>
    /// ECAP.PRS and ECAP.PDS: whether devices may ask for pages (PRI), and whether a wait descriptor can drain such requests;
    /// only with <see cref="DeviceTlbs"/> and in scalable mode.
    /// </summary>
    public bool PageRequests { get; init; }

    /// <summary>The widest device address, in bits: 39, 48 or 57 (CAP.MGAW is one less).</summary>
    public int GuestAddressWidth => FiveLevelTables ? 57 : FourLevelTables ? 48 : 39;

    /// <summary>Whether a second-stage table of <paramref name="levels"/> levels is supported.</summary>
    /// <param name="levels">Any number; only 3 to 5 can be.</param>
    /// <returns>True if it is.</returns>
    public bool SupportsLevels(int levels) => levels switch { 3 => ThreeLevelTables, 4 => FourLevelTables, 5 => FiveLevelTables, _ => false };

    /// <summary>The level of the line that a leaf of <paramref name="level"/> is kept in.</summary>
    internal int IotlbLevelOf(int level) => level == 3 && IotlbLines1G ? 3 : level > 1 && IotlbLines2M ? 2 : 1;

    internal bool HasSecondStage => ScalableMode && SecondStage;

    internal bool HasFirstStage => ScalableMode && FirstStage;

    internal bool HasNesting => HasFirstStage && HasSecondStage && Nesting;

    internal bool HasFiveLevels => HasFirstStage && FirstStageFiveLevels;

    internal bool HasMemoryTypes => ScalableMode && MemoryTypes;

    /// <summary>Whether a queue may have descriptors of 256 bits.</summary>
    internal bool HasWideDescriptors => ScalableMode || AbortDma;

    /// <summary>The bits of a word of 16 that a domain id does not have.</summary>
    internal ulong BeyondDomainId => 0xFFFFUL & PageLevels.BitsFrom(DomainIdBits);

    internal bool HasPasid => ScalableMode && RequestsWithPasid;

    internal bool HasRidPasid => ScalableMode && RidPasid;

    internal bool HasSupervisor => ScalableMode && SupervisorRequests;

    internal bool HasRidPrivilege => HasSupervisor && RidPrivilege;

    internal bool HasExecute => ScalableMode && ExecuteRequests;

    internal bool HasWalkSnoop => ScalableMode && ScalableWalkSnoop;

    internal bool HasSecondStageFlags => HasSecondStage && HasWalkSnoop && SecondStageAccessedDirty;

    internal bool HasPageRequests => ScalableMode && DeviceTlbs && PageRequests;

    internal bool HasExtendedAccessed => HasFirstStage && HasWalkSnoop && ExtendedAccessed;

    /// <summary>Whether a first-stage entry of <paramref name="level"/> may be a leaf.</summary>
    internal bool SupportsFirstStageLeafAt(int level) => level is 1 or 2 || (level == 3 && FirstStagePages1G);

    /// <summary>Whether a second-stage entry of <paramref name="level"/> may be a leaf.</summary>
    internal bool SupportsLeafAt(int level) => level switch { 1 => true, 2 => Pages2M, 3 => Pages1G, _ => false };

    internal ulong Capability =>
        (ulong)(DomainIdBits - 4) / 2                               // ND
        | Flag(CachingMode, 7)
        | Flag(ThreeLevelTables, 9) | Flag(FourLevelTables, 10) | Flag(FiveLevelTables, 11)    // SAGAW
        | (ulong)(GuestAddressWidth - 1) << 16                      // MGAW
        | (ulong)(VtdRegisters.FaultRecords / 16) << 24             // FRO, in 16-byte units
        | Flag(Pages2M, 34) | Flag(Pages1G, 35)                     // SLLPS
        | 1UL << 39                                                 // PSI
        | (ulong)(FaultRecordCount - 1) << 40                       // NFR
        | (ulong)MaximumAddressMask << 48                           // MAMV
        | 1UL << 54 | 1UL << 55                                     // DWD, DRD
        | Flag(HasFirstStage && FirstStagePages1G, 56)              // FS1GP
        | Flag(HasFiveLevels, 60);                                  // FS5LP

    internal ulong ExtendedCapability =>
        Flag(CoherentWalk, 0)
        | Flag(QueuedInvalidation, 1)                               // QI
        | Flag(DeviceTlbs, 2)                                       // DT
        | Flag(PassThrough, 6)
        | Flag(SnoopControl, 7)
        | (ulong)(VtdRegisters.InvalidateAddress / 16) << 8         // IRO, in 16-byte units
        | Flag(HasMemoryTypes, 25)                                  // MTS
        | Flag(HasNesting, 26)                                      // NEST
        | Flag(HasPageRequests, 29)                                 // PRS
        | Flag(HasExecute, 30)                                      // ERS
        | Flag(HasSupervisor, 31)                                   // SRS
        | Flag(DeviceTlbs, 33)                                      // NWFS
        | Flag(HasExtendedAccessed, 34)                             // EAFS
        | (ScalableMode ? (ulong)(PasidBits - 1) << 35 : 0)         // PSS
        | Flag(HasPasid, 40)
        | Flag(HasPageRequests, 42)                                 // PDS
        | Flag(ScalableMode, 43)                                    // SMTS
        | Flag(HasSecondStageFlags, 45)                             // SSADS
        | Flag(HasSecondStage, 46)                                  // SSTS
        | Flag(HasFirstStage, 47)                                   // FSTS
        | Flag(HasWalkSnoop, 48)                                    // SMPWCS
        | Flag(HasRidPasid, 49)                                     // RPS
        | Flag(AbortDma, 52)                                        // ADMS
        | Flag(HasRidPrivilege, 53);                                // RPRIVS

    internal void Validate()
    {
        Require(IotlbSets >= 0 && (IotlbSets & (IotlbSets - 1)) == 0, nameof(IotlbSets), "0 or a power of two");
        Require(IotlbWays >= 0, nameof(IotlbWays), "0 or more");
        Require(WalkCacheEntriesPerLevel >= 0, nameof(WalkCacheEntriesPerLevel), "0 or more");
        Require(ContextCacheEntries >= 0, nameof(ContextCacheEntries), "0 or more");
        Require(FaultRecordCount is >= 1 and <= 222, nameof(FaultRecordCount), "1 to 222");
        Require(HostAddressWidth is >= 32 and <= 52, nameof(HostAddressWidth), "32 to 52");
        Require(
            ThreeLevelTables || FourLevelTables || FiveLevelTables, nameof(FourLevelTables), "true where ThreeLevelTables and FiveLevelTables are false");
        Require(DomainIdBits is >= 4 and <= 16 && DomainIdBits % 2 == 0, nameof(DomainIdBits), "4, 6, 8, 10, 12, 14 or 16");
        Require(QueuedInvalidation || !(ScalableMode || DeviceTlbs || AbortDma), nameof(QueuedInvalidation), "true with ScalableMode, DeviceTlbs or AbortDma");
        Require(MaximumAddressMask is >= 0 and <= 63, nameof(MaximumAddressMask), "0 to 63");
        Require(PasidBits is >= 1 and <= 20, nameof(PasidBits), "1 to 20");
        Require(PasidCacheEntries >= 0, nameof(PasidCacheEntries), "0 or more");
        Require(Enum.IsDefined(Replacement), nameof(Replacement), "a CacheReplacement");
        Require(Enum.IsDefined(Commands), nameof(Commands), "a CommandMode");
    }

    private static ulong Flag(bool value, int bit) => value ? 1UL << bit : 0;

    private static void Require(bool holds, string name, string expected)
    {
        if (!holds) throw new ArgumentException($"{name} must be {expected}", name);
    }
}

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

    /// <summary>Sets of the IOTLB: a power of two, or 0 for no IOTLB.</summary>
    public int IotlbSets { get; init; } = 64;

    /// <summary>Ways of each IOTLB set: 1 …, or 0 for no IOTLB.</summary>
    public int IotlbWays { get; init; } = 4;

    /// <summary>Entries of the paging-structure cache of each level (page directory and up), fully associative; 0 for none.</summary>
    public int WalkCacheEntriesPerLevel { get; init; } = 8;

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

    /// <summary>CAP.SLLPS bit 0: whether a page-directory entry may map a 2 MiB page.</summary>
    public bool Pages2M { get; init; } = true;

    /// <summary>CAP.SLLPS bit 1: whether a page-directory-pointer entry may map a 1 GiB page.</summary>
    public bool Pages1G { get; init; } = true;

    /// <summary>ECAP.PT: whether a context entry may let its device through untranslated.</summary>
    public bool PassThrough { get; init; } = true;

    /// <summary>
    /// ECAP.C: what software is told about the coherency of table walks. The simulator reads memory through its port either
    /// way; a port that keeps unclean lines from the walker decides what is seen.
    /// </summary>
    public bool CoherentWalk { get; init; }

    /// <summary>CAP.MAMV: the largest address mask of a page-selective invalidation, 0 … 63.</summary>
    public int MaximumAddressMask { get; init; } = 18;

    /// <summary>When the invalidation queue is consumed.</summary>
    public CommandMode Commands { get; init; } = CommandMode.OnDoorbell;

    /// <summary>The widest device address, in bits: 39 or 48 (CAP.MGAW is one less).</summary>
    public int GuestAddressWidth => FourLevelTables ? 48 : 39;

    /// <summary>Whether a table of <paramref name="levels"/> levels is supported.</summary>
    public bool SupportsLevels(int levels) => levels switch { 3 => ThreeLevelTables, 4 => FourLevelTables, _ => false };

    /// <summary>Whether an entry of <paramref name="level"/> may be a leaf.</summary>
    internal bool SupportsLeafAt(int level) => level switch { 1 => true, 2 => Pages2M, 3 => Pages1G, _ => false };

    internal ulong Capability =>
        6UL                                                         // ND: 16-bit domain ids
        | Flag(CachingMode, 7)
        | Flag(ThreeLevelTables, 9) | Flag(FourLevelTables, 10)     // SAGAW
        | (ulong)(GuestAddressWidth - 1) << 16                      // MGAW
        | (ulong)(VtdRegisters.FaultRecords / 16) << 24             // FRO, in 16-byte units
        | Flag(Pages2M, 34) | Flag(Pages1G, 35)                     // SLLPS
        | 1UL << 39                                                 // PSI
        | (ulong)(FaultRecordCount - 1) << 40                       // NFR
        | (ulong)MaximumAddressMask << 48                           // MAMV
        | 1UL << 54 | 1UL << 55;                                    // DWD, DRD

    internal ulong ExtendedCapability =>
        Flag(CoherentWalk, 0)
        | 1UL << 1                                                  // QI
        | Flag(PassThrough, 6)
        | (ulong)(VtdRegisters.InvalidateAddress / 16) << 8;        // IRO, in 16-byte units

    internal void Validate()
    {
        Require(IotlbSets >= 0 && (IotlbSets & (IotlbSets - 1)) == 0, nameof(IotlbSets), "0 or a power of two");
        Require(IotlbWays >= 0, nameof(IotlbWays), "0 or more");
        Require(WalkCacheEntriesPerLevel >= 0, nameof(WalkCacheEntriesPerLevel), "0 or more");
        Require(ContextCacheEntries >= 0, nameof(ContextCacheEntries), "0 or more");
        Require(FaultRecordCount is >= 1 and <= 222, nameof(FaultRecordCount), "1 to 222");
        Require(HostAddressWidth is >= 32 and <= 52, nameof(HostAddressWidth), "32 to 52");
        Require(ThreeLevelTables || FourLevelTables, nameof(FourLevelTables), "true where ThreeLevelTables is false");
        Require(MaximumAddressMask is >= 0 and <= 63, nameof(MaximumAddressMask), "0 to 63");
        Require(Enum.IsDefined(Commands), nameof(Commands), "a CommandMode");
    }

    private static ulong Flag(bool value, int bit) => value ? 1UL << bit : 0;

    private static void Require(bool holds, string name, string expected)
    {
        if (!holds) throw new ArgumentException($"{name} must be {expected}", name);
    }
}

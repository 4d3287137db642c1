using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>How the addresses of a request are translated, once its context entry and in scalable mode its PASID entry are known.</summary>
/// <param name="Stage">By which tables.</param>
/// <param name="Table">The root of the tables; of those of the first stage where there are two; meaningless for pass-through.</param>
/// <param name="Levels">Of the tables: 3 … 5.</param>
/// <param name="Domain">What the caches tag the translation with.</param>
/// <param name="Pasid">And the PASID; null in legacy mode.</param>
internal readonly record struct AddressSpace(TranslationStage Stage, PhysAddr Table, int Levels, VtdDomainId Domain, Pasid? Pasid)
{
    /// <summary>WPE: whether supervisor writes need permission too.</summary>
    public bool IsWriteProtected { get; init; }

    /// <summary>Whether the hardware sets accessed and dirty flags in the entries.</summary>
    public bool KeepsFlags { get; init; }

    /// <summary>EAFE.</summary>
    public bool KeepsExtendedAccessed { get; init; }

    /// <summary>PWSNP: without it flags cannot be set.</summary>
    public bool IsWalkSnooped { get; init; }

    /// <summary>SSPTPTR, under nested translation: the root of the tables that translate what the first stage points at.</summary>
    public PhysAddr SecondTable { get; init; }

    /// <summary>Of those tables.</summary>
    public int SecondLevels { get; init; }

    /// <summary>SSADE, under nested translation.</summary>
    public bool SecondKeepsFlags { get; init; }

    /// <summary>Of the second stage of nested translation: what for.</summary>
    public GuestAccess Guest { get; init; }

    /// <summary>Whether it begins with first-stage tables.</summary>
    public bool IsFirstStage => Stage is TranslationStage.FirstStage or TranslationStage.Nested;

    public bool IsNested => Stage == TranslationStage.Nested;

    /// <summary>The tag of IOTLB lines.</summary>
    public CacheTag Tag => VtdTags.Of(Domain, Pasid?.Value ?? VtdTags.NoPasid);

    /// <summary>The tag of lines of the paging-structure caches: second-stage entries belong to the domain as a whole.</summary>
    public CacheTag WalkTag => IsFirstStage ? Tag : VtdTags.Of(Domain, VtdTags.NoPasid);

    public WalkFaults Faults => IsFirstStage ? WalkFaults.FirstStage : Pasid is null ? WalkFaults.Legacy : WalkFaults.SecondStageFor(Guest);

    /// <summary>The second stage of nested translation, for one access to a guest-physical address.</summary>
    public AddressSpace SecondStageFor(GuestAccess access) => new(TranslationStage.SecondStage, SecondTable, SecondLevels, Domain, Pasid)
    {
        KeepsFlags = SecondKeepsFlags,
        IsWalkSnooped = IsWalkSnooped,
        Guest = access,
    };

    /// <summary>The bits of an address that second-stage tables translate: the smaller of what the unit (MGAW) and the tables (AGAW) can do.</summary>
    public int Width(VtdOptions options) => Math.Min(options.GuestAddressWidth, PageLevels.Width(Levels));

    /// <summary>
    /// Whether the tables can translate the address: in the second stage one within the smaller of what the unit (MGAW) and the
    /// tables (AGAW) can do, in the first stage a canonical one.
    /// </summary>
    public bool Reaches(ulong address, VtdOptions options)
    {
        if (!IsFirstStage) return address >> Width(options) == 0;
        // The bits from the highest translated one up are all alike.
        long sign = unchecked((long)address) >> (PageLevels.Width(Levels) - 1);
        return sign is 0 or -1;
    }
}

/// <summary>Which access of nested translation goes through the second stage.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Nested Translation.</remarks>
internal enum GuestAccess : byte
{
    /// <summary>None: there is no first stage.</summary>
    None,

    /// <summary>That of the device, to where the first stage leads.</summary>
    Page,

    /// <summary>The hardware's, to the first entry of a first-stage walk, through FSPTPTR.</summary>
    FirstTable,

    /// <summary>The hardware's, to any other first-stage entry.</summary>
    Table,
}

/// <summary>What VT-d asks of the format of a stage's paging entries besides.</summary>
internal interface IVtdPagingEntry<TSelf> : IPagingEntry<TSelf>
    where TSelf : struct, IVtdPagingEntry<TSelf>
{
    /// <summary>Whether what the entries point at can be subject to a second stage.</summary>
    static abstract bool CanBeNested { get; }

    /// <summary>Which memory type a leaf chooses from the page-attribute table; 0 where there is no such choice.</summary>
    int PatIndex(int level);

    bool HasReserved(int level, VtdOptions options);

    /// <summary>The flags that must be set in an entry that is used; <paramref name="dirties"/> says that it is a leaf and used for a write.</summary>
    ulong FlagsFor(in AddressSpace space, bool dirties);
}

using Platform;

namespace IommuSim.ScalableMode;

/// <summary>How the addresses of a request are translated, once its context entry and in scalable mode its PASID entry are known.</summary>
/// <param name="Stage">By which tables.</param>
/// <param name="Table">The root of the tables; meaningless for pass-through.</param>
/// <param name="Levels">Of the tables: 3 … 5.</param>
/// <param name="Domain">What the caches tag the translation with.</param>
/// <param name="Pasid">And the PASID; null in legacy mode.</param>
internal readonly record struct AddressSpace(TranslationStage Stage, PhysAddr Table, int Levels, VtdDomainId Domain, VtdPasid? Pasid)
{
    /// <summary>WPE: whether supervisor writes need permission too.</summary>
    public bool IsWriteProtected { get; init; }

    /// <summary>Whether the hardware sets accessed and dirty flags in the entries.</summary>
    public bool KeepsFlags { get; init; }

    /// <summary>EAFE.</summary>
    public bool KeepsExtendedAccessed { get; init; }

    /// <summary>PWSNP: without it flags cannot be set.</summary>
    public bool IsWalkSnooped { get; init; }

    public bool IsFirstStage => Stage == TranslationStage.FirstStage;

    /// <summary>The tag of IOTLB lines.</summary>
    public CacheTag Tag => new(Domain.Value, Pasid?.Value ?? CacheTag.NoPasid);

    /// <summary>The tag of lines of the paging-structure caches: second-stage entries belong to the domain as a whole.</summary>
    public CacheTag WalkTag => IsFirstStage ? Tag : new(Domain.Value, CacheTag.NoPasid);

    public WalkFaults Faults => IsFirstStage ? WalkFaults.FirstStage : Pasid is null ? WalkFaults.Legacy : WalkFaults.SecondStage;

    /// <summary>The bits of an address that second-stage tables translate: the smaller of what the unit (MGAW) and the tables (AGAW) can do.</summary>
    public int Width(VtdOptions options) => Math.Min(options.GuestAddressWidth, VtdEntries.Width(Levels));

    /// <summary>
    /// Whether the tables can translate the address: in the second stage one within the smaller of what the unit (MGAW) and the
    /// tables (AGAW) can do, in the first stage a canonical one.
    /// </summary>
    public bool Reaches(ulong address, VtdOptions options)
    {
        if (!IsFirstStage) return address >> Width(options) == 0;
        // The bits from the highest translated one up are all alike.
        long sign = unchecked((long)address) >> (VtdEntries.Width(Levels) - 1);
        return sign is 0 or -1;
    }
}

/// <summary>What paging entries grant.</summary>
[Flags]
internal enum Rights : byte
{
    None = 0,
    Read = 1,
    Write = 2,

    /// <summary>Requests without supervisor privilege.</summary>
    User = 4,
    Execute = 8,
    All = Read | Write | User | Execute,
}

/// <summary>What the format of a stage's paging entries says of one entry, so that the walk is written once.</summary>
internal interface IPagingEntry<TSelf>
    where TSelf : struct, IPagingEntry<TSelf>
{
    static abstract TSelf From(ulong bits);

    bool IsPresent { get; }

    /// <summary>What the entry grants; on the way to a page every entry must grant it.</summary>
    Rights Rights { get; }

    /// <summary>Whether the dirty flag of a leaf is set.</summary>
    bool IsDirty { get; }

    bool IsLeaf(int level);

    /// <summary>Which memory type a leaf chooses from the page-attribute table; 0 where there is no such choice.</summary>
    int PatIndex(int level);

    /// <summary>The frame or table pointed at.</summary>
    PhysAddr Target(int level);

    bool HasReserved(int level, VtdOptions options);

    /// <summary>The flags that must be set in an entry that is used; <paramref name="dirties"/> says that it is a leaf and used for a write.</summary>
    ulong FlagsFor(in AddressSpace space, bool dirties);
}

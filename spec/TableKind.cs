using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>Which tables the hardware walks for an association.</summary>
public enum TableKind
{
    /// <summary>Those of the second stage: what callers get who do not choose.</summary>
    SecondStage = 0,

    /// <summary>Those of the first stage, of four levels.</summary>
    FirstStage,

    /// <summary>Those of the first stage, of five levels.</summary>
    FirstStageFiveLevels,

    /// <summary>None: device addresses are the physical ones. What callers get who do not choose, for a device without an IOMMU.</summary>
    Identity,
}

/// <summary>What the model must know of tables of a kind.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="LastAddress">The last device address that they translate.</param>
public sealed record TableModel(TableKind Kind, ulong LastAddress)
{
    /// <summary>Where no IOMMU translates: nothing is out of reach, nothing can be withheld, and nothing is in memory.</summary>
    public static TableModel Identity { get; } = new(TableKind.Identity, ulong.MaxValue)
    {
        Levels = 0,
        Grantable = [Permissions.ReadWrite, Permissions.ReadWriteExecute],
        LastTarget = ulong.MaxValue,
    };

    /// <summary>How many levels they have; 0: there are no tables in memory.</summary>
    public int Levels { get; init; } = 4;

    /// <summary>What they can grant, no more and no less.</summary>
    public ImmutableArray<Permissions> Grantable { get; init; } = [Permissions.Read, Permissions.Write, Permissions.ReadWrite];

    /// <summary>Whether they can keep requests without supervisor privilege out.</summary>
    public bool HasPrivilege { get; init; }

    /// <summary>Whether the hardware notes in them what devices use and write to.</summary>
    public bool NotesUse { get; init; }

    /// <summary>Whether they tell what is absent from what grants nothing.</summary>
    public bool TellsAbsent { get; init; }

    /// <summary>What they can say of caches. Of anything else they say the first.</summary>
    public ImmutableArray<CachePolicy> CachePolicies { get; init; } = [CachePolicy.WriteBackWriteAllocate];

    /// <summary>The last physical address that they can lead to.</summary>
    public ulong LastTarget { get; init; } = (1UL << 52) - 1;

    /// <summary>Whether they can protect just so. The secure address space none of them knows.</summary>
    public bool Protects(Attributes attributes) =>
        Grantable.Contains(attributes.Permissions) && (HasPrivilege || !attributes.SupervisorOnly) && !attributes.Secure;

    /// <summary>What they say of a translation.</summary>
    public Translation Says(Translation translation) =>
        CachePolicies.Contains(translation.Cache) ? translation : translation with { Cache = CachePolicies[0] };
}

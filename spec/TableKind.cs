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

    /// <summary>The last physical address that they can lead to.</summary>
    public ulong LastTarget { get; init; } = (1UL << 52) - 1;
}

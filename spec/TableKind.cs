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
}

/// <summary>What the model must know of tables of a kind.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="LastAddress">The last device address that they translate.</param>
public sealed record TableModel(TableKind Kind, ulong LastAddress)
{
    /// <summary>How many levels they have.</summary>
    public int Levels { get; init; } = 4;

    /// <summary>What they can grant, no more and no less.</summary>
    public ImmutableArray<Permissions> Grantable { get; init; } = [Permissions.Read, Permissions.Write, Permissions.ReadWrite];

    /// <summary>The last physical address that they can lead to.</summary>
    public ulong LastTarget { get; init; } = (1UL << 52) - 1;
}

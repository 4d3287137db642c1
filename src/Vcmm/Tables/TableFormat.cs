using Platform;

namespace Vcmm.Tables;

/// <summary>
/// What two IOMMUs must have in common to walk one table: the encoding, the number of levels, and the leaves they accept.
/// </summary>
/// <param name="Encoding">The encoding's name, such as <c>vtd-second-stage</c>.</param>
/// <param name="LevelCount">Levels from the root to the smallest page; the lowest level is 1.</param>
/// <param name="LeafLevels">Bit <c>n</c> set: an entry at level <c>n</c> may be a leaf. Bit 1 is always set.</param>
public readonly record struct TableFormat(string Encoding, int LevelCount, uint LeafLevels)
{
    /// <summary>Whether an entry at <paramref name="level"/> may be a leaf.</summary>
    public bool AllowsLeafAt(int level) => (LeafLevels >> level & 1) != 0;

    /// <summary><c>vtd-second-stage/4</c>.</summary>
    public override string ToString() => $"{Encoding}/{LevelCount}";
}

/// <summary>What a table says of one device address.</summary>
/// <param name="Address">The physical address.</param>
/// <param name="Attributes">What the entry grants.</param>
/// <param name="LeafBytes">The size of the leaf that holds the address: 4 KiB and up.</param>
public readonly record struct Translation(PhysAddr Address, MappingAttributes Attributes, ulong LeafBytes)
{
    /// <summary>What a device may do.</summary>
    public Access Access => Attributes.Access;
}

/// <summary>One leaf of a table.</summary>
/// <param name="Range">The device addresses that it maps.</param>
/// <param name="First">The physical address that the first of them maps to.</param>
/// <param name="Attributes">What it grants.</param>
public readonly record struct Leaf(IovaRange Range, PhysAddr First, MappingAttributes Attributes)
{
    /// <summary>What a device may do.</summary>
    public Access Access => Attributes.Access;
}

/// <summary>What an entry is.</summary>
public enum EntryKind
{
    /// <summary>Not present: the walk ends in a fault.</summary>
    Absent,

    /// <summary>Points at a table of the next lower level.</summary>
    Table,

    /// <summary>Maps memory.</summary>
    Leaf,
}

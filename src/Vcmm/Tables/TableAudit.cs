using Platform;

namespace Vcmm.Tables;

/// <summary>What a table holds, decoded from every one of its pages.</summary>
/// <param name="Mapping">What is mapped, in the order of device addresses; leaves that continue each other are one.</param>
/// <param name="TablePages">Every page of the table, the root first.</param>
/// <param name="Malformed">The entries that hardware would refuse or that lead nowhere; nothing of theirs is in the mapping.</param>
public sealed record TableAudit(IReadOnlyList<Leaf> Mapping, IReadOnlyList<PhysAddr> TablePages, IReadOnlyList<MalformedEntry> Malformed);

/// <summary>An entry that should not be in a table.</summary>
/// <param name="Slot">Where it stands.</param>
/// <param name="Entry">The entry.</param>
/// <param name="Level">The level of the table that it stands in.</param>
/// <param name="Defect">What is wrong with it.</param>
public readonly record struct MalformedEntry(PhysAddr Slot, ulong Entry, int Level, EntryDefect Defect)
{
    /// <summary><c>ReservedBits: 0x81 at pa:0x1000, level 4</c>.</summary>
    public override string ToString() => $"{Defect}: 0x{Entry:x} at {Slot}, level {Level}";
}

/// <summary>What is wrong with an entry.</summary>
public enum EntryDefect
{
    /// <summary>A bit is set that the encoding reserves there: an address that is too large or not a multiple of the leaf's size, too.</summary>
    ReservedBits,

    /// <summary>A leaf at a level at which the format has none, or a pointer to a table at the lowest level.</summary>
    WrongLevel,

    /// <summary>It points at a table where there is no memory.</summary>
    NoMemory,

    /// <summary>It points at a table that another entry, or it itself, is reached through already.</summary>
    TableReachedTwice,
}

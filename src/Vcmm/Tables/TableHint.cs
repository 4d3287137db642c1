using Platform;

namespace Vcmm.Tables;

/// <summary>
/// The lowest table that a caller came to last: its next page is most often in the same. Kept with what the caller brings along,
/// so that threads do not share it.
/// </summary>
/// <remarks>
/// It holds as long as its owner has unlinked no table since; a table that is unlinked may not be freed yet, but is not the one
/// that addresses lead to.
/// </remarks>
internal struct TableHint
{
    public IPageTable? Owner;
    public PhysAddr Table;

    /// <summary>What the addresses in the table have in common: all but the bits that index it and those below.</summary>
    public ulong Index;

    /// <summary>How often the owner had unlinked tables.</summary>
    public uint Unlinks;
}

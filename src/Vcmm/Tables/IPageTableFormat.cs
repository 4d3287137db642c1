using Platform;

namespace Vcmm.Tables;

/// <summary>
/// The bits of one page-table encoding. Everything that is not bits is written once, over this interface, in
/// <see cref="PageTable{TFormat,TMemory}"/>.
/// </summary>
/// <remarks>
/// Implement it as a stateless struct. Levels count from 1, the level whose entries map the smallest page. An entry that is
/// all zero is absent in every format that this interface describes. <b>Threads.</b> All members are pure.
/// </remarks>
public interface IPageTableFormat
{
    /// <summary>The name of the encoding, for <see cref="TableFormat.Encoding"/>.</summary>
    static abstract string Encoding { get; }

    /// <summary>Log2 of the smallest page, and of a table page, in bytes.</summary>
    static abstract int GranuleLog2 { get; }

    /// <summary>Log2 of the number of 64-bit entries in a table page.</summary>
    static abstract int IndexBits { get; }

    /// <summary>The smallest number of levels that the encoding knows.</summary>
    static virtual int MinLevelCount => 1;

    /// <summary>The largest number of levels that the encoding knows.</summary>
    static abstract int MaxLevelCount { get; }

    /// <summary>
    /// Whether the address bits above those that the levels span must all equal the highest of these: there is a lower half of
    /// addresses and an upper one. Else they must be 0.
    /// </summary>
    static virtual bool IsSignExtended => false;

    /// <summary>The last physical address that an entry can hold.</summary>
    static abstract PhysAddr LastPhysAddr { get; }

    /// <summary>Bit <c>n</c> set: the encoding knows leaves at level <c>n</c>.</summary>
    static abstract uint LeafLevels { get; }

    /// <summary>The entry that maps <paramref name="address"/>.</summary>
    /// <param name="address">A multiple of the leaf's size, at most <see cref="LastPhysAddr"/>.</param>
    /// <param name="level">One of <see cref="LeafLevels"/>.</param>
    /// <param name="attributes">Some that <see cref="CanExpress"/> accepts.</param>
    /// <remarks>
    /// The accessed and dirty bits are 0. The entries of addresses that are a leaf's size apart are the same number apart,
    /// whatever the addresses.
    /// </remarks>
    static abstract ulong EncodeLeaf(PhysAddr address, int level, MappingAttributes attributes);

    /// <summary>The entry that points at the table page <paramref name="table"/>.</summary>
    /// <param name="table">A multiple of the granule, at most <see cref="LastPhysAddr"/>.</param>
    static abstract ulong EncodeTable(PhysAddr table);

    /// <summary>What <paramref name="entry"/> is at <paramref name="level"/>.</summary>
    static abstract EntryKind Classify(ulong entry, int level);

    /// <summary>The bits that must be 0 in an entry of this kind at this level; hardware refuses the entry else.</summary>
    /// <remarks>Bits that a capability of the hardware gives a meaning to are not among them, nor are ignored ones.</remarks>
    static abstract ulong ReservedBits(EntryKind kind, int level);

    /// <summary>The address in a leaf at <paramref name="level"/>.</summary>
    static abstract PhysAddr LeafAddress(ulong entry, int level);

    /// <summary>The address in an entry that points at a table.</summary>
    static abstract PhysAddr TableAddress(ulong entry);

    /// <summary>What <paramref name="entry"/>, a leaf, grants by itself; a cache policy that the encoding cannot say is the default.</summary>
    static abstract MappingAttributes AttributesOf(ulong entry, int level);

    /// <summary>
    /// Whether a leaf can protect as <paramref name="attributes"/> say: no more and no less access, privilege and security. The
    /// cache policy does not count.
    /// </summary>
    static abstract bool CanExpress(MappingAttributes attributes);

    /// <summary>
    /// Whether a live entry may change its size or target only through absent and an invalidation: break-before-make.
    /// </summary>
    static abstract bool RequiresBreakBeforeMake { get; }

    /// <summary>The bit in a leaf that hardware sets when it uses the entry; 0 where there is none.</summary>
    static abstract ulong AccessedBit { get; }

    /// <summary>The bit in a leaf that hardware sets when it writes through the entry; 0 where there is none.</summary>
    static abstract ulong DirtyBit { get; }
}

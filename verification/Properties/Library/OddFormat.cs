using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// A format that no hardware has, to bring out what the table engine takes for granted: tables of four entries, five levels,
/// leaves at levels 1 and 3 but not 2, a bit that says table where others say leaf, permissions at the top of the entry.
/// </summary>
public readonly struct OddFormat : IPageTableFormat
{
    private const ulong PresentBit = 1;
    private const ulong TableBit = 2;
    private const ulong AddressMask = 0x0000_FFFF_FFFF_F000;

    public static string Encoding => "odd";

    public static int GranuleLog2 => 12;

    public static int IndexBits => 2;

    public static int MaxLevelCount => 5;

    public static PhysAddr LastPhysAddr => new(0x0000_FFFF_FFFF_FFFF);

    public static uint LeafLevels => 1u << 1 | 1u << 3;

    public static ulong EncodeLeaf(PhysAddr address, int level, MappingAttributes attributes) => address.Value | PresentBit | (ulong)attributes.Access << 61;

    public static ulong EncodeTable(PhysAddr table) => table.Value | PresentBit | TableBit;

    public static EntryKind Classify(ulong entry, int level) => (entry & PresentBit) == 0
        ? EntryKind.Absent
        : (entry & TableBit) != 0 ? EntryKind.Table : EntryKind.Leaf;

    public static ulong ReservedBits(EntryKind kind, int level) => kind switch
    {
        EntryKind.Table => ~(AddressMask | PresentBit | TableBit),
        EntryKind.Leaf => 0x1FFF_0000_0000_0FFC | (AddressMask & ((1UL << (GranuleLog2 + IndexBits * (level - 1))) - 1)),
        _ => 0,
    };

    public static PhysAddr LeafAddress(ulong entry, int level) => new(entry & AddressMask & ~((1UL << (GranuleLog2 + IndexBits * (level - 1))) - 1));

    public static PhysAddr TableAddress(ulong entry) => new(entry & AddressMask);

    public static MappingAttributes AttributesOf(ulong entry, int level) => (Access)(entry >> 61);

    public static bool CanExpress(MappingAttributes attributes) => attributes is { SupervisorOnly: false, Secure: false };

    public static bool RequiresBreakBeforeMake => true;

    public static ulong AccessedBit => 0;

    public static ulong DirtyBit => 0;
}

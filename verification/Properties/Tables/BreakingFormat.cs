using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>
/// The second stage of VT-d as it would be with break-before-make, and with hardware that notes only that it used an entry: what is a
/// leaf depends on the level, and broken entries have bits of the hardware's.
/// </summary>
internal readonly struct BreakingFormat : IPageTableFormat
{
    public static string Encoding => "breaking";

    public static int GranuleLog2 => VtdSecondStage.GranuleLog2;

    public static int IndexBits => VtdSecondStage.IndexBits;

    public static int MaxLevelCount => VtdSecondStage.MaxLevelCount;

    public static PhysAddr LastPhysAddr => VtdSecondStage.LastPhysAddr;

    public static uint LeafLevels => VtdSecondStage.LeafLevels;

    public static bool RequiresBreakBeforeMake => true;

    public static ulong AccessedBit => VtdSecondStage.AccessedBit;

    public static ulong DirtyBit => 0;

    public static ulong EncodeLeaf(PhysAddr address, int level, MappingAttributes attributes) => VtdSecondStage.EncodeLeaf(address, level, attributes);

    public static ulong EncodeTable(PhysAddr table) => VtdSecondStage.EncodeTable(table);

    public static EntryKind Classify(ulong entry, int level) => VtdSecondStage.Classify(entry, level);

    public static ulong ReservedBits(EntryKind kind, int level) => VtdSecondStage.ReservedBits(kind, level);

    public static PhysAddr LeafAddress(ulong entry, int level) => VtdSecondStage.LeafAddress(entry, level);

    public static PhysAddr TableAddress(ulong entry) => VtdSecondStage.TableAddress(entry);

    public static MappingAttributes AttributesOf(ulong entry, int level) => VtdSecondStage.AttributesOf(entry, level);

    public static bool CanExpress(MappingAttributes attributes) => VtdSecondStage.CanExpress(attributes);
}

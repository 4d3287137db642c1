using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>The tables that a VT-d walks.</summary>
/// <remarks>
/// <b>Source.</b> VT-d specification, "Capability Register" (SAGAW, SSLPS, FS1GP, FS5LP, MGAW) and "Extended Capability
/// Register" (FSTS, SSTS). First-stage tables always know leaves of 2 MiB.
/// </remarks>
internal static class VtdFormats
{
    private const int PageLog2 = 12;
    private const int IndexBits = 9;

    /// <summary>The formats, the one for callers who do not choose first.</summary>
    public static TableFormat[] Of(VtdCapabilities capabilities, bool isScalable)
    {
        var formats = new List<TableFormat>();
        if (!isScalable || capabilities.SecondStage)
        {
            uint leaves = 1u << 1 | (capabilities.TwoMegabyteLeaves ? 1u << 2 : 0) | (capabilities.OneGigabyteLeaves ? 1u << 3 : 0);
            foreach (int levelCount in (ReadOnlySpan<int>)[4, 3, 5])
            {
                if (levelCount <= VtdSecondStage.MaxLevelCount && capabilities.SecondStageLevels(levelCount))
                    formats.Add(new(VtdSecondStage.Encoding, levelCount, leaves));
            }
        }

        return [.. formats];
    }

    public static bool IsFirstStage(TableFormat format) => format.Encoding != VtdSecondStage.Encoding;

    /// <summary>The last address that tables of the format translate.</summary>
    public static Iova LastAddress(VtdCapabilities capabilities, TableFormat format)
    {
        // Where addresses must be canonical their uppermost bit says which half they are in.
        int tableBits = PageLog2 + IndexBits * format.LevelCount - (IsFirstStage(format) ? 1 : 0);
        return new((1UL << Math.Min(capabilities.AddressBits, tableBits)) - 1);
    }

    public static IPageTable Adopt<TMemory>(TMemory memory, TableFormat format, PhysAddr root)
        where TMemory : struct, IPhysicalMemory => PageTable<VtdSecondStage, TMemory>.Adopt(memory, format, root);

    public static VcmmError TryCreate<TMemory>(TMemory memory, TableFormat format, IFrameSource frames, out IPageTable? table)
        where TMemory : struct, IPhysicalMemory
    {
        VcmmError error = PageTable<VtdSecondStage, TMemory>.TryCreate(memory, frames, format, out PageTable<VtdSecondStage, TMemory>? created);
        table = created;
        return error;
    }
}

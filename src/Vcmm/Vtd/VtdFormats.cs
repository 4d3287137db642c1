using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>The tables that a VT-d walks.</summary>
/// <remarks>
/// <b>Source.</b> VT-d specification, "Capability Register" (SAGAW, SSLPS, FS1GP, FS5LP, MGAW) and "Extended Capability
/// Register" (FSTS, SSTS, SMPWCS). First-stage tables always know leaves of 2 MiB. They are offered only where walks can
/// snoop: elsewhere the hardware cannot set Accessed and Dirty, and faults where it would have to.
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
                if (capabilities.SecondStageLevels(levelCount))
                    formats.Add(new(VtdSecondStage.Encoding, levelCount, leaves));
            }
        }

        if (isScalable && capabilities.FirstStage && capabilities.PageWalkSnoop)
        {
            uint leaves = 1u << 1 | 1u << 2 | (capabilities.FirstStageOneGigabyteLeaves ? 1u << 3 : 0);
            formats.Add(new(X86FirstStage.Encoding, 4, leaves));
            if (capabilities.FirstStageFiveLevels) formats.Add(new(X86FirstStage.Encoding, 5, leaves));
        }

        return [.. formats];
    }

    public static bool IsFirstStage(TableFormat format) => format.Encoding == X86FirstStage.Encoding;

    /// <summary>The last address of those that software may choose which tables of the format translate.</summary>
    /// <remarks>
    /// <b>Source.</b> VT-d specification, 3.6 "First-Stage Translation": who translates I/O virtual addresses keeps them below the
    /// smaller of MGAW and the lower canonical half (47 bits with four levels, 56 with five).
    /// </remarks>
    public static Iova LastAddress(VtdCapabilities capabilities, TableFormat format)
    {
        // Where addresses must be canonical their uppermost bit says which half they are in.
        int tableBits = PageLog2 + IndexBits * format.LevelCount - (IsFirstStage(format) ? 1 : 0);
        return new((1UL << Math.Min(capabilities.AddressBits, tableBits)) - 1);
    }

    /// <summary>Whether the range is in one half of the addresses that first-stage tables of the format translate.</summary>
    /// <remarks><b>Source.</b> The same: what the hardware checks is that an address is canonical, and not its width.</remarks>
    public static bool IsCanonical(TableFormat format, IovaRange range)
    {
        int signBit = PageLog2 + IndexBits * format.LevelCount - 1;
        return IsFirstStage(format) && (range.Last.Value >> signBit == 0 || range.First.Value >= ulong.MaxValue << signBit);
    }

    public static IPageTable Adopt<TMemory>(TMemory memory, TableFormat format, PhysAddr root)
        where TMemory : struct, IPhysicalMemory => IsFirstStage(format)
            ? PageTable<X86FirstStage, TMemory>.Adopt(memory, format, root)
            : PageTable<VtdSecondStage, TMemory>.Adopt(memory, format, root);

    public static VcmmError TryCreate<TMemory>(TMemory memory, TableFormat format, IFrameSource frames, out IPageTable? table)
        where TMemory : struct, IPhysicalMemory => IsFirstStage(format)
            ? TryCreateAs<X86FirstStage, TMemory>(memory, format, frames, out table)
            : TryCreateAs<VtdSecondStage, TMemory>(memory, format, frames, out table);

    private static VcmmError TryCreateAs<TFormat, TMemory>(TMemory memory, TableFormat format, IFrameSource frames, out IPageTable? table)
        where TFormat : struct, IPageTableFormat
        where TMemory : struct, IPhysicalMemory
    {
        VcmmError error = PageTable<TFormat, TMemory>.TryCreate(memory, frames, format, out PageTable<TFormat, TMemory>? created);
        table = created;
        return error;
    }
}

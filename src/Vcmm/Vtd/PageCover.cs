using System.Numerics;
using Platform;

namespace Vcmm.Vtd;

/// <summary>2^<paramref name="Mask"/> pages of 4 KiB, aligned to their size: what one page-selective command names.</summary>
internal readonly record struct PageBlock(ulong Address, int Mask);

/// <summary>Which commands forget a range: the cost model of invalidation.</summary>
/// <remarks>
/// <para>A command costs time in the queue, and a page that is forgotten needlessly costs a walk. So a range is covered
/// exactly if <see cref="MostBlocks"/> blocks do it; else it is rounded outwards to the smallest power of two of pages with
/// which they do. Where that takes a block larger than the hardware knows, or it knows no pages, all of the domain is
/// forgotten.</para>
/// <para><b>Bound</b> (invariant Frugal). One range takes at most <see cref="MostBlocks"/> commands for each tag under which
/// it can be cached (a domain for second-stage tables, a domain and a PASID for first-stage ones) and for each address space
/// of a device that has a TLB of its own. If they are page-selective
/// they cover less than 11/7 of the range: where blocks of four units are allowed, eight units or fewer never take more than
/// four blocks, so at the size before the one chosen the range touched nine units, filled more than seven, and fewer than
/// four are added. Where they are not, rounding saves no block.</para>
/// <para><b>Source.</b> VT-d specification, "IOTLB Invalidate" and "PASID-based-IOTLB Invalidate": the address mask; CAP.PSI and CAP.MAMV.</para>
/// </remarks>
internal static class PageCover
{
    public const int MostBlocks = 4;
    private const int PageLog2 = 12;

    /// <summary>Covers the range.</summary>
    /// <param name="capabilities">What the hardware can do.</param>
    /// <param name="range">Whole pages.</param>
    /// <param name="blocks">At least <see cref="MostBlocks"/>.</param>
    /// <returns>How many blocks; 0: the domain as a whole.</returns>
    public static int Cover(VtdCapabilities capabilities, IovaRange range, Span<PageBlock> blocks)
    {
        if (!capabilities.PageSelectiveInvalidation) return 0;
        ulong first = range.First.Value >> PageLog2;
        ulong last = range.Last.Value >> PageLog2;
        int maximumMask = capabilities.MaximumAddressMask;
        // Where the field allows for more than all pages there are, the loop ends before: at the latest one block is all of them.
        for (int unitLog2 = 0; unitLog2 <= maximumMask; unitLog2++)
        {
            ulong unitMask = (1UL << unitLog2) - 1;
            int count = CoverExactly(first & ~unitMask, last | unitMask, maximumMask, blocks);
            if (count != 0) return count;
        }

        return 0;
    }

    private static int CoverExactly(ulong first, ulong last, int maximumMask, Span<PageBlock> blocks)
    {
        int count = 0;
        for (ulong at = first; at <= last; at += 1UL << blocks[count - 1].Mask)
        {
            if (count == MostBlocks) return 0;
            int mask = Math.Min(Math.Min(BitOperations.TrailingZeroCount(at), BitOperations.Log2(last - at + 1)), maximumMask);
            blocks[count++] = new(at << PageLog2, mask);
        }

        return count;
    }
}

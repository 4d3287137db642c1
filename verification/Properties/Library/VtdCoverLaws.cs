using System.Numerics;
using CsCheck;
using Harness.Generating;
using IommuSim;
using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>I11: what an invalidation of one range costs.</summary>
public sealed class VtdCoverLaws
{
    private const int MostBlocks = 4;

    /// <summary>Ranges of all lengths, many of them near powers of two.</summary>
    private static readonly Gen<(ulong First, ulong Count)> Ranges =
        from firstLog2 in Gen.Int[0, 35]
        from first in Gen.ULong[0, (1UL << 36) - 1]
        from countLog2 in Gen.Int[0, 24]
        from count in Gen.ULong[1, 1UL << 24]
        from isRound in Gen.Bool
        let alignedFirst = first >> firstLog2 << firstLog2
        let shortCount = Math.Max(1, count >> countLog2)
        select (alignedFirst, isRound ? 1UL << countLog2 : shortCount);

    [Theory]
    [InlineData(18)]
    [InlineData(9)]
    [InlineData(0)]
    [InlineData(63)]
    public void A_range_takes_at_most_four_commands_that_cover_less_than_eleven_sevenths_of_it(int maximumMask)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { MaximumAddressMask = maximumMask });
        int exact = 0, rounded = 0, whole = 0;
        Ranges.ForAll(
            3_000,
            range =>
            {
                system.Told.Clear();
                ulong last = range.First + range.Count - 1;
                Assert.Equal(VcmmError.None, system.Driver.Invalidate(new(7), new(new(range.First << 12), new(last << 12 | 0xFFF)), leavesOnly: false));
                Assert.InRange(system.Told.Count, 1, MostBlocks);
                ulong best = FewestBlocks(range.First, last, maximumMask);
                if (system.Told[0].Low == 0x0007_00E2)
                {
                    Assert.Single(system.Told);
                    Assert.True(best > MostBlocks && range.Count > 3UL << Math.Min(maximumMask, 50), "the domain where pages would have done");
                    whole++;
                    return;
                }

                ulong next = system.Told[0].High >> 12, covered = 0;
                Assert.True(next <= range.First);
                foreach ((ulong low, ulong high) in system.Told)
                {
                    Assert.Equal(0x0007_00F2UL, low);
                    int mask = (int)(high & 0x3F);
                    Assert.InRange(mask, 0, maximumMask);
                    Assert.Equal(0UL, high & 0xFC0);
                    ulong page = high >> 12;
                    Assert.Equal(next, page);
                    Assert.Equal(0UL, page & ((1UL << mask) - 1));
                    next = page + (1UL << mask);
                    covered += 1UL << mask;
                }

                Assert.True(next > last);
                Assert.True(covered * 7 < range.Count * 11, $"{covered} pages for {range.Count}");
                if (best <= MostBlocks) Assert.Equal((best, range.Count), ((ulong)system.Told.Count, covered));
                if (covered == range.Count) exact++;
                else rounded++;
            });
        // Every way of telling is met where there is one.
        Assert.True(exact > 200, $"{exact} exact");
        Assert.True(maximumMask == 0 || rounded > 200, $"{rounded} rounded");
        Assert.True(maximumMask == 63 || whole > 30, $"{whole} domains");
    }

    /// <summary>A mask of 2^52 pages is all of them; the field goes on to 2^63.</summary>
    [Theory]
    [InlineData(0UL, ulong.MaxValue, 0x0034UL)]
    [InlineData(1UL << 63, ulong.MaxValue, 1UL << 63 | 0x33)]
    public void Where_masks_are_larger_than_all_addresses_one_command_is_for_all_of_them(ulong first, ulong last, ulong high)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { MaximumAddressMask = 63 });
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(new(7), new(new(first), new(last)), leavesOnly: false));
        Assert.Equal([(0x0007_00F2UL, high)], system.Told);
    }

    /// <summary>Page by page, without the cleverness: how many aligned blocks cover exactly this.</summary>
    private static ulong FewestBlocks(ulong first, ulong last, int maximumMask)
    {
        ulong blocks = 0;
        while (first <= last)
        {
            ulong size = 1;
            while (BitOperations.Log2(size) < maximumMask && first % (2 * size) == 0 && first + 2 * size - 1 <= last) size *= 2;
            first += size;
            if (++blocks > 64) return blocks;
        }

        return blocks;
    }
}

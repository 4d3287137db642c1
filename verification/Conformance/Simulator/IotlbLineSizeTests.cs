using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>An IOTLB whose lines are not of every page size: what it keeps of a page that is larger, and what an invalidation drops of that.</summary>
public sealed class IotlbLineSizeTests
{
    private const ulong PageSize = 1 << 7, Size2M = 1UL << 21;

    /// <summary>The level of the leaf, which lines there are, and the bytes of the line.</summary>
    [Theory]
    [InlineData(1, true, true, 1UL << 12)]
    [InlineData(2, true, true, 1UL << 21)]
    [InlineData(2, false, true, 1UL << 12)]
    [InlineData(2, true, false, 1UL << 21)]
    [InlineData(3, true, true, 1UL << 30)]
    [InlineData(3, false, true, 1UL << 30)]
    [InlineData(3, true, false, 1UL << 21)]
    [InlineData(3, false, false, 1UL << 12)]
    public void A_page_is_kept_in_the_largest_line_that_is_not_larger(int level, bool has2M, bool has1G, ulong bytes)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbLines2M = has2M, IotlbLines1G = has1G });
        const ulong page = 1UL << 30, iova = 0x40_5123;
        vtd.Write(Table3, level == 3 ? page | PageSize | ReadWrite : Table2 | ReadWrite);
        vtd.Write(Table2 + 2 * 8, level == 2 ? page | 0x40_0000 | PageSize | ReadWrite : Table1 | ReadWrite);
        vtd.SetPage(5, page | 0x40_5000 | ReadWrite);
        for (int round = 0; round < 2; round++) vtd.AssertReads(iova, page | iova);
        IotlbEntry entry = Assert.Single(vtd.Iommu.Iotlb);
        Assert.Equal(
            (iova & ~(bytes - 1), iova | (bytes - 1), (page | iova) & ~(bytes - 1)),
            (entry.Range.First.Value, entry.Range.Last.Value, entry.Address.Value));
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbHits);
    }

    /// <summary>Of a page that is kept by its parts an invalidation drops the parts that it names; one of the whole page drops all.</summary>
    [Theory]
    [InlineData(true, 0, 0)]
    [InlineData(true, 9, 0)]
    [InlineData(false, 0, 2)]
    [InlineData(false, 9, 0)]
    public void An_invalidation_drops_the_parts_that_it_names(bool has2M, ulong mask, int kept)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbLines2M = has2M });
        vtd.Write(Table2, Size2M | PageSize | ReadWrite);
        for (ulong page = 1; page < 4; page++) vtd.AssertReads(page << 12, Size2M | page << 12);
        Assert.Equal(has2M ? 1 : 3, vtd.Iommu.Iotlb.Count);
        vtd.Write(Table2, 2 * Size2M | PageSize | ReadWrite);
        vtd.InvalidatePages(DomainId, mask == 0 ? 0x2000UL : 0, mask);
        Assert.Equal(kept, vtd.Iommu.Iotlb.Count);
        ulong[] seen = [.. new ulong[] { 1, 2, 3 }.Select(page => vtd.Read(page << 12).Address.Value - (page << 12))];
        Assert.Equal(kept == 0 ? [2 * Size2M, 2 * Size2M, 2 * Size2M] : [Size2M, 2 * Size2M, Size2M], seen);
    }

    [Fact]
    public void A_device_TLB_is_told_the_part_that_the_unit_keeps()
    {
        using var ats = new RawAts(RawAts.All with { IotlbLines2M = false });
        ats.Vtd.Write(RawScalable.First2, 0 | PageSize | RawScalable.Pwu);
        ats.Reads(RawScalable.FrameB, 0xBB, pasid: 2);
        Assert.Equal(4096UL, Assert.Single(ats.Device.Tlb).Range.Last.Value - RawScalable.FrameB + 1);
    }
}

using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// Where small mappings were and are gone, a large one gets its large leaf, whatever sizes of leaves the format has: 2 MiB and 1 GiB, or
/// 64 KiB in a format of the tests.
/// </summary>
public sealed class LargeLeafLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 6UL << 20));
    private readonly FrameAllocator _frames;

    public LargeLeafLaws() => _frames = new(_ram.Range);

    public static TheoryData<string, ulong> Sizes => new() { { "odd", 64UL << 10 }, { VtdSecondStage.Encoding, 2UL << 20 }, { X86FirstStage.Encoding, 2UL << 20 } };

    public void Dispose() => _ram.Dispose();

    [Theory]
    [MemberData(nameof(Sizes))]
    public void A_region_maps_a_large_leaf_over_the_tables_of_what_is_gone(string encoding, ulong largeBytes)
    {
        LedgerIommu iommu = Create(encoding);
        var manager = new VcmManager(_frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 16UL << 16));
        if (encoding != "odd") vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Associate(manager.AddDevice(iommu, new(1))).Activate();
        Reservation reservation = vcm.ReserveAt(new(largeBytes), largeBytes);
        PhysicalAllocation memory = manager.Allocate(largeBytes, largeBytes == 64UL << 10 ? ChunkSizes.Size64K : ChunkSizes.Size2M);
        reservation.Back(0, memory, 0, 3 * Page);
        reservation.Back(5 * Page, memory, 0, Page);
        reservation.Unback();
        reservation.Back(memory);
        Assert.True(vcm.TryGetTable(iommu.Formats[0], out IPageTable? table));
        Assert.Equal(largeBytes, table!.LargeLeafBytes);
        Assert.Equal(largeBytes, Assert.Single(table.Leaves()).Range.ByteCount);
        reservation.Unback();
        Assert.Empty(table.Leaves());
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void A_domain_maps_a_large_leaf_over_the_tables_of_what_is_gone(string encoding, ulong largeBytes)
    {
        LedgerIommu iommu = Create(encoding);
        IommuDomain domain = IommuDomain.Create(iommu, _frames);
        domain.Attach(new(1));
        domain.Map(new(largeBytes + Page), PhysRange.FromLength(new(0), Page), Access.Read);
        domain.Unmap(IovaRange.FromLength(new(largeBytes + Page), Page));
        domain.Map(new(largeBytes), PhysRange.FromLength(new(4 * largeBytes), largeBytes), Access.Read);
        Assert.Equal(largeBytes, domain.Translate(new(largeBytes + Page)).LeafBytes);
        domain.Unmap(IovaRange.FromLength(new(largeBytes), largeBytes));
        domain.Detach(new(1));
        domain.Free();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    /// <summary>A table that has only small leaves has none to make room for.</summary>
    [Fact]
    public void A_format_without_large_leaves_has_no_size_of_them()
    {
        TableFormat small = LedgerIommu.SecondStage with { LeafLevels = 1u << 1 }, huge = LedgerIommu.SecondStage with { LeafLevels = 1u << 1 | 1u << 3 };
        Assert.Equal(ulong.MaxValue, PageTable<VtdSecondStage, Ram>.Adopt(_ram.Port, small, new(0)).LargeLeafBytes);
        Assert.Equal(1UL << 30, PageTable<VtdSecondStage, Ram>.Adopt(_ram.Port, huge, new(0)).LargeLeafBytes);
        Assert.Equal(ulong.MaxValue, new IdentityTable().LargeLeafBytes);
    }

    private LedgerIommu Create(string encoding) => new(
        _ram.Port, new Fuse(), encoding == "odd" ? LedgerIommu.Odd : encoding == VtdSecondStage.Encoding ? LedgerIommu.SecondStage : LedgerIommu.FirstStage);
}

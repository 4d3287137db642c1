using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;

namespace Properties.Library;

/// <summary>A device that reaches only low addresses gets one whenever there is one, whatever stands above its mask.</summary>
public sealed class DmaMaskLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
    private readonly FrameAllocator _frames;
    private readonly IommuDomain _domain;

    public DmaMaskLaws()
    {
        _frames = new(_ram.Range);
        _domain = IommuDomain.Create(new RecordingIommu(_ram.Port), _frames);
    }

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_address_under_the_mask_is_found_whenever_there_is_one(bool isCached)
    {
        const int pages = 48;
        IRangeAllocator addresses = new RangeAllocator(IovaRange.FromLength(new(0), pages * Page));
        if (isCached) addresses = new CachedRangeAllocator(addresses, slotCount: 1);
        DmaMapping<Ram> all = Create(addresses, ulong.MaxValue), low = Create(addresses, 16 * Page - 1);
        Iova[] live = [.. Enumerable.Range(0, pages).Select(_ => all.MapSingle(new(0), Page, DmaDirection.ToDevice)).OrderBy(address => address.Value)];
        Assert.Equal(VcmmError.NoSpace, low.TryMapSingle(new(0), Page, DmaDirection.ToDevice, out _));

        // One below the mask and, given back after it, one above: which of them is at hand must not count.
        foreach (int page in (int[])[0, 3, 15])
        {
            foreach (int other in (int[])[16, 30, 47])
            {
                all.Unmap(live[page], Page);
                all.Unmap(live[other], Page);
                Assert.Equal(VcmmError.None, low.TryMapSingle(new(0), Page, DmaDirection.ToDevice, out Iova found));
                Assert.Equal(live[page], found);
                Assert.Equal(VcmmError.NoSpace, low.TryMapSingle(new(0), Page, DmaDirection.ToDevice, out _));
                Assert.Equal(live[other], all.MapSingle(new(0), Page, DmaDirection.ToDevice));
                low.Unmap(found, Page);
                Assert.Equal(live[page], all.MapSingle(new(0), Page, DmaDirection.ToDevice));
            }
        }
    }

    [Fact]
    public void A_buffer_that_would_like_to_be_aligned_lies_under_the_mask_rather_than_aligned()
    {
        // Aligned to 2 MiB it would fit above the mask only.
        var addresses = new RangeAllocator(IovaRange.FromLength(new(Page), 4 * Large));
        DmaMapping<Ram> low = Create(addresses, Page + Large - 1);
        Iova found = low.MapSingle(new(0), Large, DmaDirection.ToDevice);
        Assert.Equal(new Iova(Page), found);
        low.Unmap(found, Large);
        Assert.Equal(new Iova(Large), Create(addresses, ulong.MaxValue).MapSingle(new(0), Large, DmaDirection.ToDevice));
    }

    private DmaMapping<Ram> Create(IRangeAllocator addresses, ulong mask) => new(_domain, addresses, _ram.Port, _frames, new() { LastAddress = new(mask) });
}

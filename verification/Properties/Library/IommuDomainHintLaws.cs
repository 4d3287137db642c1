using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Invalidations;

namespace Properties.Library;

/// <summary>What an address space without a VCM tells hardware of tables, beside leaves: I4, I11.</summary>
public sealed class IommuDomainHintLaws : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 128 * Page));
    private readonly FrameAllocator _frames;
    private readonly TlbIommu _iommu;
    private readonly IommuDomain _domain;

    public IommuDomainHintLaws()
    {
        _frames = new(_ram.Range);
        _iommu = new(new RecordingIommu(_ram.Port));
        _domain = IommuDomain.Create(_iommu, _frames);
        _domain.Attach(new(1));
    }

    public void Dispose() => _ram.Dispose();

    /// <summary>Hardware that keeps more than leaves forgets that only where it is told that more than leaves has gone.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Hardware_is_told_whether_a_table_went(bool wholeTable)
    {
        IovaRange gone = IovaRange.FromLength(new(0), (wholeTable ? 512UL : 1) * Page);
        IovaRange apart = IovaRange.FromLength(new(514 * Page), Page);
        Invalidation Told(IovaRange range) => new(_domain.Id, range, LeavesOnly: !wholeTable);

        Fill();
        _domain.Unmap(gone);
        Assert.Equal([Told(gone)], _iommu.Batches[^1]);

        Fill();
        UnmapGather gather = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(gone, gather));
        Assert.Equal(VcmmError.None, _domain.TryUnmap(apart, gather));
        _domain.Sync(gather);
        Assert.Equal([Told(gone), Told(apart)], _iommu.Batches[^1]);

        Fill();
        var queue = new FlushQueue(new() { FlushAtAge = TimeSpan.MaxValue });
        Assert.Equal(VcmmError.None, _domain.TryUnmap(gone, gather));
        Assert.Equal(VcmmError.None, _domain.TryUnmap(apart, gather));
        Assert.Equal(VcmmError.None, _domain.TryDefer(gather, queue));
        queue.Flush();
        Assert.Equal([Told(gone), Told(apart)], _iommu.Batches[^1]);
        Assert.Equal(3, _iommu.Batches.Count);

        // Pages that make no large leaf, each where none is.
        void Fill()
        {
            for (ulong page = 0; page < 516; page++) _domain.TryMap(new(page * Page), new PhysAddr((page ^ 1) * Page), Page, Access.Read);
        }
    }

    [Fact]
    public void What_becomes_present_is_told_to_hardware_that_keeps_absent_entries_of_any_level()
    {
        var keeping = new TlbIommu(new RecordingIommu(_ram.Port) { CachesAbsent = true });
        IommuDomain domain = IommuDomain.Create(keeping, _frames);
        domain.Attach(new(1));
        domain.Map(new(Page), PhysRange.FromLength(new(0), Page), Access.Read);
        Assert.Equal([new Invalidation(domain.Id, IovaRange.FromLength(new(Page), Page), LeavesOnly: false)], Assert.Single(keeping.Batches));
        // Without a device nobody can have looked.
        domain.Detach(new(1));
        domain.Map(new(2 * Page), PhysRange.FromLength(new(0), Page), Access.Read);
        Assert.Single(keeping.Batches);
    }
}

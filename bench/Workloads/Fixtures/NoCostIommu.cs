using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Workloads.Fixtures;

/// <summary>
/// An IOMMU port without hardware behind it: it walks VT-d second-stage tables of 4 KiB leaves, and to forget takes it no
/// time. What is measured over it is the library alone.
/// </summary>
internal sealed class NoCostIommu(Ram memory) : IIommu
{
    private int _domains;

    public TableFormat Format { get; } = new(VtdSecondStage.Encoding, LevelCount: 4, LeafLevels: 1u << 1);

    public Iova LastAddress => new((1UL << 48) - 1);

    public IReadOnlyList<IovaRange> ReservedRegions => [];

    public bool CachesAbsent => false;

    public bool CanIdentify(StreamId device) => true;

    public VcmmError TryCreateTable(IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = PageTable<VtdSecondStage, Ram>.TryCreate(memory, frames, Format, out PageTable<VtdSecondStage, Ram>? created);
        table = created;
        return error;
    }

    public VcmmError TryCreateDomain(out DomainId domain)
    {
        domain = new((uint)Interlocked.Increment(ref _domains));
        return VcmmError.None;
    }

    public void ReleaseDomain(DomainId domain)
    {
    }

    public VcmmError Attach(StreamId device, DomainId domain, IPageTable table) => VcmmError.None;

    public VcmmError Detach(StreamId device, DomainId domain) => VcmmError.None;

    public VcmmError Invalidate(DomainId domain, IovaRange range, bool leavesOnly) => VcmmError.None;
}

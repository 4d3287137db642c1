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

    public IReadOnlyList<TableFormat> Formats { get; } = [new(VtdSecondStage.Encoding, LevelCount: 4, LeafLevels: 1u << 1)];

    public uint PasidCount => 0;

    public uint HardwareVersion => 0x10;

    public IReadOnlyList<IovaRange> ReservedRegions => [];

    public bool CachesAbsent => false;

    public bool CanIdentify(StreamId device) => true;

    public bool CanTranslate(TableFormat format, IovaRange range) => range.Last.Value < 1UL << 48;

    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => PageTable<VtdSecondStage, Ram>.Adopt(memory, format, root);

    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = PageTable<VtdSecondStage, Ram>.TryCreate(memory, frames, format, out PageTable<VtdSecondStage, Ram>? created);
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

    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table) => VcmmError.None;

    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => VcmmError.None;

    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => VcmmError.None;

    public bool TryTakeFault(out DeviceFault fault)
    {
        fault = default;
        return false;
    }

    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException("nothing waits");
}

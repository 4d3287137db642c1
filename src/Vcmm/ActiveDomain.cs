using Vcmm.Tables;

namespace Vcmm;

/// <summary>A domain under which devices of one IOMMU translate through one table of a VCM at this moment.</summary>
internal sealed class ActiveDomain(IIommu iommu, IPageTable table, DomainId id)
{
    public IIommu Iommu { get; } = iommu;

    public IPageTable Table { get; } = table;

    public DomainId Id { get; } = id;

    /// <summary>Address spaces of devices that are attached. Under the VCM's association lock.</summary>
    public int AttachedCount { get; set; }
}

namespace Vcmm;

/// <summary>A domain under which devices of one IOMMU translate through a VCM at this moment.</summary>
internal sealed class ActiveDomain(IIommu iommu, DomainId id)
{
    public IIommu Iommu { get; } = iommu;

    public DomainId Id { get; } = id;

    /// <summary>Under the VCM's association lock.</summary>
    public int DeviceCount { get; set; }
}

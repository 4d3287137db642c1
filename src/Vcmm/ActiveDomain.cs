using Vcmm.Tables;

namespace Vcmm;

/// <summary>
/// A domain under which devices of one IOMMU translate through one table of a VCM at this moment, and through one that is nested in it or none.
/// What is cached is tagged by it: where a nested table has a part in that, another may not have the same tag.
/// </summary>
internal sealed class ActiveDomain(IIommu iommu, IPageTable table, NestedTable? nested, DomainId id)
{
    public IIommu Iommu { get; } = iommu;

    public IPageTable Table { get; } = table;

    public NestedTable? Nested { get; } = nested;

    public DomainId Id { get; } = id;

    /// <summary>Address spaces of devices that are attached. Under the VCM's association lock.</summary>
    public int AttachedCount { get; set; }

    /// <summary>Whether devices of the IOMMU that are given these terms translate under it.</summary>
    public bool Serves(IIommu iommu, AssociationTerms terms) => Iommu == iommu && Table.Format == terms.Format && Nested == terms.Nested;
}

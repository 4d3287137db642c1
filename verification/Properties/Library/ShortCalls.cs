using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Calls of an IOMMU as most laws make them: one command, requests without a PASID, the first format.</summary>
internal static class ShortCalls
{
    public static VcmmError Invalidate(this IIommu iommu, DomainId domain, IovaRange range, bool leavesOnly) =>
        iommu.Invalidate([new(domain, range, leavesOnly)]);

    public static VcmmError Attach(this IIommu iommu, StreamId device, DomainId domain, IPageTable table) =>
        iommu.Attach(device, null, domain, table);

    public static VcmmError Detach(this IIommu iommu, StreamId device, DomainId domain) => iommu.Detach(device, null, domain);

    public static VcmmError TryCreateTable(this IIommu iommu, IFrameSource frames, out IPageTable? table) =>
        iommu.TryCreateTable(iommu.Formats[0], frames, out table);
}

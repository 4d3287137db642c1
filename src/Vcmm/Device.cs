using Platform;

namespace Vcmm;

/// <summary>A device behind an IOMMU.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed class Device
{
    private Association? _activeThrough;

    internal Device(VcmManager manager, IIommu iommu, StreamId id)
    {
        Manager = manager;
        Iommu = iommu;
        Id = id;
    }

    /// <summary>The IOMMU that translates its accesses.</summary>
    public IIommu Iommu { get; }

    /// <summary>The identity under which its accesses reach the IOMMU.</summary>
    public StreamId Id { get; }

    internal VcmManager Manager { get; }

    /// <summary>A device translates through one VCM at a time.</summary>
    internal bool TryClaim(Association association) => Interlocked.CompareExchange(ref _activeThrough, association, null) is null;

    internal void Disclaim() => Volatile.Write(ref _activeThrough, null);

    /// <summary>The device's id.</summary>
    public override string ToString() => Id.ToString();
}

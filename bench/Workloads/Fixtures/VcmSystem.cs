using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Workloads.Fixtures;

/// <summary>A manager with two IOMMUs of one format and of no cost.</summary>
internal sealed class VcmSystem : IDisposable
{
    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 16UL << 20));
    private readonly NoCostIommu[] _iommus;
    private uint _nextDevice = 1;

    public VcmSystem()
    {
        _iommus = [new(_ram.Port), new(_ram.Port)];
        Manager = new(new SplitFrames(_ram.Range, PhysRange.FromLength(new(1UL << 32), 4UL << 30)));
    }

    public VcmManager Manager { get; }

    /// <summary>A region of 4 GiB with two active associations, one through each IOMMU: one table, two domains to invalidate.</summary>
    public Vcm CreateRegion()
    {
        Vcm vcm = Manager.CreateVcm(IovaRange.FromLength(new(1UL << 32), 4UL << 30));
        foreach (NoCostIommu iommu in _iommus) vcm.Associate(Manager.AddDevice(iommu, new(_nextDevice++))).Activate();
        return vcm;
    }

    public void Dispose() => _ram.Dispose();
}

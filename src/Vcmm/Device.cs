using Platform;

namespace Vcmm;

/// <summary>A device behind an IOMMU.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed partial class Device
{
    [LockRank(LockRank.Device)]
    private readonly object _gate = new();

    /// <summary>The IOMMU has one call at a time that makes an address space of the device lead somewhere, or nowhere, whichever address space and for whom.</summary>
    [LockRank(LockRank.Spaces)]
    private readonly object _spaceGate = new();
    private readonly List<Association> _active = [];
    private Func<DeviceFault, FaultAnswer>? _faultHook;

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

    /// <summary>The version of the hardware that translates its accesses, as it gives it.</summary>
    public uint HardwareVersion => Iommu.HardwareVersion;

    /// <summary>
    /// Called by <see cref="VcmManager.DispatchFaults"/> for each access of the device that was not let through; null: nothing is.
    /// It may back, unback and change what it likes. What it throws comes out of the dispatch.
    /// </summary>
    public Func<DeviceFault, FaultAnswer>? FaultHook
    {
        get => Volatile.Read(ref _faultHook);
        set => Volatile.Write(ref _faultHook, value);
    }

    /// <summary>An address space of a device is one region at a time, or is let through.</summary>
    internal bool TryClaim(Association association)
    {
        lock (_gate)
        {
            if (IsTaken(association.Pasid)) return false;
            _active.Add(association);
            return true;
        }
    }

    /// <summary>Lets the address space that an association has claimed translate through its domain.</summary>
    internal VcmmError Attach(Association association, ActiveDomain domain)
    {
        lock (_spaceGate)
        {
            return domain.Nested is { } nested
                ? Iommu.AttachNested(Id, association.Pasid, domain.Id, domain.Table, nested)
                : Iommu.Attach(Id, association.Pasid, domain.Id, domain.Table);
        }
    }

    /// <summary>Ends that.</summary>
    internal VcmmError Detach(Association association, ActiveDomain domain)
    {
        lock (_spaceGate) return Iommu.Detach(Id, association.Pasid, domain.Id);
    }

    internal void Disclaim(Association association)
    {
        lock (_gate) _active.Remove(association);
    }

    /// <summary>Whether an address space is a region's, or is let through. Under the gate.</summary>
    private bool IsTaken(Pasid? pasid) => _active.Exists(active => active.Pasid == pasid) || _passages.Exists(passage => passage.Pasid == pasid);

    /// <summary>The device's id.</summary>
    public override string ToString() => Id.ToString();
}

/// <summary>What becomes of an access that was not let through.</summary>
public enum FaultAnswer
{
    /// <summary>It fails.</summary>
    Refuse = 0,

    /// <summary>It is tried again, if it waits; one that has failed already cannot be.</summary>
    Retry,
}

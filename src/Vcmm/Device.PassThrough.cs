using Platform;

namespace Vcmm;

// Address spaces that are no region: what the device does there reaches memory as it is.
public sealed partial class Device
{
    /// <summary>Written under both gates.</summary>
    private readonly List<Passage> _passages = [];

    /// <summary>
    /// Lets an address space of the device through to memory as it is, untranslated: it reaches every address, of whoever's memory, and no region and no
    /// reservation confines it. Freed memory is not kept from it either. For a device that is trusted with all of it, and that pays for no translation.
    /// </summary>
    /// <param name="pasid">Of which requests; null: of those without a PASID.</param>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> if the address space is active in a region, or is let through already; <see cref="VcmmError.NoDevice"/> if the IOMMU lets nothing
    /// through (<see cref="IIommu.CanPassThrough"/>); <see cref="VcmmError.Invalid"/> if the device has a TLB of its own, or the IOMMU does not have the PASID;
    /// <see cref="VcmmError.NoSpace"/> if it has no domain id left; <see cref="VcmmError.NoMemory"/> or <see cref="VcmmError.HardwareFailure"/> of the IOMMU. Then
    /// nothing has changed.
    /// </returns>
    /// <remarks>While it lasts no region can be activated in the address space: <see cref="VcmmError.Busy"/>.</remarks>
    public VcmmError TryPassThrough(Pasid? pasid = null)
    {
        if (!Iommu.CanPassThrough) return VcmmError.NoDevice;
        if (pasid is { } given && (given.Value == 0 || given.Value >= Iommu.PasidCount)) return VcmmError.Invalid;
        lock (_spaceGate)
        {
            var passage = new Passage(pasid);
            lock (_gate)
            {
                if (IsTaken(pasid)) return VcmmError.Busy;
                _passages.Add(passage);
            }

            bool isDone = false, hasDomain = false;
            try
            {
                VcmmError error = Iommu.TryCreateDomain(out DomainId domain);
                if (error != VcmmError.None) return error;
                (passage.Domain, hasDomain) = (domain, true);
                error = Iommu.AttachPassThrough(Id, pasid, domain);
                isDone = error == VcmmError.None;
                return error;
            }
            finally
            {
                // Also where a port throws.
                if (!isDone) Forget(passage, hasDomain);
            }
        }
    }

    /// <summary>Lets an address space of the device through to memory as it is.</summary>
    /// <inheritdoc cref="TryPassThrough"/>
    /// <exception cref="VcmmException">As <see cref="TryPassThrough"/>.</exception>
    public void PassThrough(Pasid? pasid = null) => VcmmException.ThrowIf(TryPassThrough(pasid), nameof(PassThrough));

    /// <summary>Ends that. When this returns the device reaches nothing through the address space.</summary>
    /// <param name="pasid">Of which requests; null: of those without a PASID.</param>
    /// <returns><see cref="VcmmError.NotFound"/> if it is not let through; <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.</returns>
    public VcmmError TryEndPassThrough(Pasid? pasid = null)
    {
        lock (_spaceGate)
        {
            if (_passages.Find(passage => passage.Pasid == pasid) is not { } ended) return VcmmError.NotFound;
            VcmmError error = Iommu.Detach(Id, pasid, ended.Domain);
            if (error == VcmmError.None) Forget(ended, hasDomain: true);
            return error;
        }
    }

    /// <summary>Ends that an address space is let through.</summary>
    /// <inheritdoc cref="TryEndPassThrough"/>
    /// <exception cref="VcmmException">As <see cref="TryEndPassThrough"/>.</exception>
    public void EndPassThrough(Pasid? pasid = null) => VcmmException.ThrowIf(TryEndPassThrough(pasid), nameof(EndPassThrough));

    private void Forget(Passage passage, bool hasDomain)
    {
        lock (_gate) _passages.Remove(passage);
        if (hasDomain) Iommu.ReleaseDomain(passage.Domain);
    }

    /// <param name="pasid">Of which requests.</param>
    private sealed class Passage(Pasid? pasid)
    {
        public Pasid? Pasid => pasid;

        /// <summary>Under which it is attached; nothing else is.</summary>
        public DomainId Domain { get; set; }
    }
}

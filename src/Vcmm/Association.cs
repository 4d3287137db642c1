using Platform;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>A VCM joined with a device. While it is active the device's accesses go through the VCM.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed class Association
{
    private bool _isActive;
    private bool _isDropped;
    private AssociationTerms _terms;

    internal Association(Vcm vcm, Device device, AssociationTerms terms)
    {
        Vcm = vcm;
        Device = device;
        _terms = terms;
    }

    /// <summary>The VCM.</summary>
    public Vcm Vcm { get; }

    /// <summary>The device.</summary>
    public Device Device { get; }

    /// <summary>The format of the region's table that the device's IOMMU walks for it.</summary>
    public TableFormat Format => Terms.Format;

    /// <summary>Which of the device's address spaces the region is; null: its requests without a PASID.</summary>
    public Pasid? Pasid => Terms.Pasid;

    /// <summary>The table through which the device's accesses go before they go through the region's; null: none.</summary>
    public NestedTable? NestedTable => Terms.Nested;

    /// <summary>What it was given when the two were joined, or since.</summary>
    public AssociationOptions Options
    {
        get
        {
            AssociationTerms terms = Terms;
            return new() { Format = terms.Format, Pasid = terms.Pasid, NestedTable = terms.Nested };
        }
    }

    /// <summary>Whether the device translates through the VCM.</summary>
    public bool IsActive => Volatile.Read(ref _isActive);

    /// <summary>Replaced, never changed; written under the VCM's association lock.</summary>
    internal AssociationTerms Terms
    {
        get => Volatile.Read(ref _terms);
        set => Volatile.Write(ref _terms, value);
    }

    /// <summary>What the IOMMU said when the two were joined.</summary>
    internal IovaRange[] ReservedRegions { get; init; } = null!;

    /// <summary>Set once the association is dropped, under the VCM's association lock.</summary>
    internal bool IsDropped
    {
        get => Volatile.Read(ref _isDropped);
        set => Volatile.Write(ref _isDropped, value);
    }

    /// <summary>The domain under which the device translates, while active. Under the VCM's association lock.</summary>
    internal ActiveDomain? Domain { get; private set; }

    /// <summary>Lets the device translate through the VCM.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> if it is active, or the device's address space is active elsewhere; <see cref="VcmmError.Invalid"/> once
    /// dropped; <see cref="VcmmError.NoSpace"/> if the IOMMU has no domain id left; <see cref="VcmmError.NoMemory"/> or
    /// <see cref="VcmmError.HardwareFailure"/> of the IOMMU. Then nothing has changed.
    /// </returns>
    public VcmmError TryActivate() => Vcm.Activate(this);

    /// <summary>Lets the device translate through the VCM.</summary>
    /// <exception cref="VcmmException">As <see cref="TryActivate"/>.</exception>
    public void Activate() => VcmmException.ThrowIf(TryActivate(), nameof(Activate));

    /// <summary>Ends that. When this returns the device reaches nothing through the VCM.</summary>
    /// <returns>
    /// <see cref="VcmmError.NotFound"/> if it is not active, <see cref="VcmmError.Invalid"/> once dropped,
    /// <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TryDeactivate() => Vcm.Deactivate(this);

    /// <summary>Ends that. When this returns the device reaches nothing through the VCM.</summary>
    /// <exception cref="VcmmException">As <see cref="TryDeactivate"/>.</exception>
    public void Deactivate() => VcmmException.ThrowIf(TryDeactivate(), nameof(Deactivate));

    /// <summary>Gives the association, which is not active, another format, another of the device's address spaces or another nested table.</summary>
    /// <param name="options">All of them, those that stay as they are too.</param>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while it is active, or if the two are associated already under that PASID; <see cref="VcmmError.Invalid"/> once
    /// dropped. Otherwise as <see cref="Vcm.TryAssociate(Device, AssociationOptions, out Association?)"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TrySetOptions(AssociationOptions options) => Vcm.SetOptions(this, options);

    /// <summary>Gives the association, which is not active, another format, another of the device's address spaces or another nested table.</summary>
    /// <exception cref="VcmmException">As <see cref="TrySetOptions"/>.</exception>
    public void SetOptions(AssociationOptions options) => VcmmException.ThrowIf(TrySetOptions(options), nameof(SetOptions));

    /// <summary>
    /// Makes the device forget what its nested table said of a range, after the table's owner has changed it and before the owner relies on that.
    /// When this returns no access through what it said before is under way. After a change that only adds something it is needed only where the
    /// IOMMU caches what is absent (<see cref="IIommu.CachesAbsent"/>). Of what changes in the region the region tells devices.
    /// </summary>
    /// <param name="range">Whole 4 KiB pages of the device's addresses: all that the change has a part in.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if there is no nested table, the range is not made of whole pages, or the association was dropped;
    /// <see cref="VcmmError.HardwareFailure"/> if the device is not known to have forgotten.
    /// </returns>
    /// <remarks>Other devices of the region behind the same IOMMU forget, too, if they have the same nested table; those behind others have associations of their own.</remarks>
    public VcmmError TryInvalidate(IovaRange range) => Vcm.InvalidateNested(this, range);

    /// <summary>Makes the device forget what its nested table said of a range.</summary>
    /// <exception cref="VcmmException">As <see cref="TryInvalidate"/>.</exception>
    public void Invalidate(IovaRange range) => VcmmException.ThrowIf(TryInvalidate(range), nameof(Invalidate));

    /// <summary>Drops the association.</summary>
    /// <returns><see cref="VcmmError.Busy"/> while it is active, <see cref="VcmmError.Invalid"/> once dropped.</returns>
    public VcmmError TryDeassociate() => Vcm.Deassociate(this);

    /// <summary>Drops the association.</summary>
    /// <exception cref="VcmmException">As <see cref="TryDeassociate"/>.</exception>
    public void Deassociate() => VcmmException.ThrowIf(TryDeassociate(), nameof(Deassociate));

    internal void SetActive(ActiveDomain? domain)
    {
        Domain = domain;
        Volatile.Write(ref _isActive, domain is not null);
    }
}

/// <param name="Format">Of the table that the device's IOMMU walks for it.</param>
/// <param name="Pasid">Which of the device's address spaces the region is.</param>
/// <param name="Nested">The table that is nested in that; null: none.</param>
/// <param name="TracksUse">What the IOMMU said of the format.</param>
internal sealed record AssociationTerms(TableFormat Format, Pasid? Pasid, NestedTable? Nested, bool TracksUse);

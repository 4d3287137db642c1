using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Associations: which devices a region has, and under which domains they translate.
public sealed partial class Vcm
{
    private readonly List<Association> _associations = [];

    /// <summary>What IOMMUs of the associations do not translate. Under the association gate.</summary>
    private readonly List<IovaRange> _excluded = [];

    /// <summary>Replaced, never changed; written under the association gate. The domains of one IOMMU stand side by side.</summary>
    private ActiveDomain[] _activeDomains = [];

    /// <summary>Joins the region with a device. The device reaches nothing before <see cref="Association.Activate"/>.</summary>
    /// <param name="device">A device of the same manager.</param>
    /// <param name="options">The format, the address space and what is nested in the region.</param>
    /// <param name="association">The association, not active.</param>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> if the two are associated already under that PASID; <see cref="VcmmError.Invalid"/> if the
    /// device is another manager's, its IOMMU does not have the format, the table base, the PASID or all addresses of the region, the format
    /// is not the region's (one-to-one devices need a one-to-one region, a prebuilt region needs its own format), a prebuilt region's table has become a deferred region's, the region has
    /// been freed, or a reservation or a bound lies in one of the IOMMU's reserved regions, or a reservation has attributes, or memory beyond those, that the format cannot express,
    /// or there is a nested table and the IOMMU cannot nest its format in the region's, or its root is not a page of the region (it need not be backed yet);
    /// <see cref="VcmmError.NoMemory"/> if there is no frame for a table page; <see cref="VcmmError.HardwareFailure"/> if addresses in the
    /// IOMMU's reserved regions wait for a flush and that fails.
    /// </returns>
    public VcmmError TryAssociate(Device device, AssociationOptions options, out Association? association)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        association = null;
        if (device.Manager != Manager) return VcmmError.Invalid;
        TableFormat format = options.Format ?? device.Iommu.Formats[0];
        if (!CanJoin(device.Iommu, format, options)) return VcmmError.Invalid;
        lock (_associationGate)
        {
            if (_freed) return VcmmError.Invalid;
            if (_associations.Exists(existing => existing.Device == device && existing.Pasid == options.Pasid)) return VcmmError.Busy;
            var joined = new Association(this, device, new(format, options.Pasid, options.NestedTable, device.Iommu.TracksUse(format)))
            {
                ReservedRegions = [.. device.Iommu.ReservedRegions],
            };
            _associations.Add(joined);
            try
            {
                VcmmError error = TryExclude(joined);
                if (error == VcmmError.None) error = TryProvideTable(device.Iommu, format);
                if (error == VcmmError.None) association = joined;
                return error;
            }
            finally
            {
                // Also where a port throws.
                if (association is null)
                {
                    _associations.Remove(joined);
                    EndExclusions();
                }
                else if (!joined.Terms.TracksUse)
                {
                    Interlocked.Increment(ref _untrackedCount);
                }
            }
        }
    }

    /// <summary>Joins the region with a device, in the IOMMU's first format and without a PASID.</summary>
    /// <returns>As with options.</returns>
    public VcmmError TryAssociate(Device device, out Association? association) => TryAssociate(device, AssociationOptions.Default, out association);

    /// <summary>Joins the region with a device. The device reaches nothing before <see cref="Association.Activate"/>.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAssociate(Device, AssociationOptions, out Association?)"/>.</exception>
    public Association Associate(Device device, AssociationOptions? options = null)
    {
        VcmmException.ThrowIf(TryAssociate(device, options ?? AssociationOptions.Default, out Association? association), nameof(Associate));
        return association!;
    }

    internal VcmmError Deassociate(Association association)
    {
        lock (_associationGate)
        {
            if (association.IsDropped) return VcmmError.Invalid;
            if (association.IsActive) return VcmmError.Busy;
            association.IsDropped = true;
            _associations.Remove(association);
            if (!association.Terms.TracksUse) Interlocked.Decrement(ref _untrackedCount);
            EndExclusions();
            RemoveTableIfUnused(association.Terms);
            return VcmmError.None;
        }
    }

    internal VcmmError SetOptions(Association association, AssociationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        IIommu iommu = association.Device.Iommu;
        TableFormat format = options.Format ?? iommu.Formats[0];
        if (!CanJoin(iommu, format, options)) return VcmmError.Invalid;
        lock (_associationGate)
        {
            if (association.IsDropped) return VcmmError.Invalid;
            if (association.IsActive) return VcmmError.Busy;
            if (_associations.Exists(other => other != association && other.Device == association.Device && other.Pasid == options.Pasid)) return VcmmError.Busy;
            AssociationTerms former = association.Terms, terms = new(format, options.Pasid, options.NestedTable, iommu.TracksUse(format));
            VcmmError error = TryProvideTable(iommu, format);
            if (error != VcmmError.None) return error;
            association.Terms = terms;
            if (former.TracksUse != terms.TracksUse) Interlocked.Add(ref _untrackedCount, former.TracksUse ? 1 : -1);
            RemoveTableIfUnused(former);
            return VcmmError.None;
        }
    }

    internal VcmmError Activate(Association association)
    {
        lock (_associationGate)
        {
            if (association.IsDropped) return VcmmError.Invalid;
            Device device = association.Device;
            if (!device.TryClaim(association)) return VcmmError.Busy;
            ActiveDomain? domain = null;
            try
            {
                VcmmError error = TryFindOrPublishDomain(association, out domain);
                if (error != VcmmError.None) return error;
                // The domain is published and the driver fences before the device can walk the table: an unmap that does
                // not see the domain has cleared its entries before the first walk.
                error = device.Attach(association, domain!);
                if (error != VcmmError.None) return error;
                domain!.AttachedCount++;
                association.SetActive(domain);
                return VcmmError.None;
            }
            finally
            {
                // Also where a port throws.
                if (!association.IsActive)
                {
                    device.Disclaim(association);
                    if (domain is not null) WithdrawIfUnused(domain);
                }
            }
        }
    }

    internal VcmmError Deactivate(Association association)
    {
        lock (_associationGate)
        {
            if (association.IsDropped) return VcmmError.Invalid;
            ActiveDomain? domain = association.Domain;
            if (domain is null) return VcmmError.NotFound;
            Device device = association.Device;
            VcmmError error = device.Detach(association, domain);
            if (error != VcmmError.None) return error;
            domain.AttachedCount--;
            association.SetActive(null);
            device.Disclaim(association);
            WithdrawIfUnused(domain);
            return VcmmError.None;
        }
    }

    private bool CanJoin(IIommu iommu, TableFormat format, AssociationOptions options) =>
        // No format has two bases.
        options is { Base: TableBase.Only, Split: null, Pasid: var pasid }
        && iommu.Formats.Contains(format)
        && (pasid is not { } space || (space.Value != 0 && space.Value < iommu.PasidCount))
        && (_prebuilt is not null && pasid is not null ? iommu.CanShare(format, Range) : iommu.CanTranslate(format, Range))
        && (Kind == VcmKind.OneToOne || format != IdentityTable.Format)
        && (_prebuilt is not { } prebuilt || prebuilt.Format == format)
        && (options.NestedTable is not { } nested || (iommu.CanNest(format, nested.Format) && HasPage(nested.Root)));

    /// <summary>A table goes with the last association that has its format.</summary>
    private void RemoveTableIfUnused(AssociationTerms terms)
    {
        if (!_associations.Exists(other => other.Format == terms.Format) && TryGetTable(terms.Format, out IPageTable? table))
            RemoveTable(table!, keepsUse: terms.TracksUse);
    }

    /// <summary>Takes the IOMMU's reserved regions out of what can be reserved.</summary>
    private VcmmError TryExclude(Association association)
    {
        // What a prebuilt table maps is its owner's.
        if (Kind == VcmKind.Prebuilt) return VcmmError.None;
        foreach (IovaRange region in association.ReservedRegions)
        {
            if (!TryClip(region, out IovaRange part) || _excluded.Contains(part)) continue;
            VcmmError error = TryTakeAway(part);
            if (error != VcmmError.None) return error;
            _excluded.Add(part);
        }

        return VcmmError.None;
    }

    private VcmmError TryTakeAway(IovaRange part)
    {
        // Reservations that are half way through their end would be in the way.
        if (Exclusively(() => _ranges.TryAllocateAt(part)) == VcmmError.None) return VcmmError.None;
        // So would addresses that wait for a flush, or that one is about to give back: they are as good as free.
        VcmmError error = TryFlush();
        if (error != VcmmError.None) return error;
        return Exclusively(() => _ranges.TryAllocateAt(part)) == VcmmError.None ? VcmmError.None : VcmmError.Invalid;
    }

    /// <summary>Gives back what no association excludes any more.</summary>
    private void EndExclusions()
    {
        for (int i = _excluded.Count - 1; i >= 0; i--)
        {
            IovaRange part = _excluded[i];
            if (_associations.Exists(association => Excludes(association, part))) continue;
            _excluded.RemoveAt(i);
            _ranges.TryFree(part);
        }
    }

    private bool Excludes(Association association, IovaRange part) => Array.Exists(association.ReservedRegions, region => TryClip(region, out IovaRange own) && own == part);

    private bool TryClip(IovaRange region, out IovaRange part)
    {
        bool overlaps = region.Overlaps(Range);
        part = overlaps
            ? new(new(Math.Max(region.First.Value, Range.First.Value)), new(Math.Min(region.Last.Value, Range.Last.Value)))
            : default;
        return overlaps;
    }

    private VcmmError TryFindOrPublishDomain(Association association, out ActiveDomain? domain)
    {
        IIommu iommu = association.Device.Iommu;
        AssociationTerms terms = association.Terms;
        domain = FindDomain(_activeDomains, iommu, terms);
        if (domain is not null) return VcmmError.None;
        TryGetTable(terms.Format, out IPageTable? table);
        VcmmError error = iommu.TryCreateDomain(out DomainId id);
        if (error != VcmmError.None) return error;
        domain = new(iommu, table!, terms.Nested, id);
        // Behind its last; where it has none, before all others.
        int place = Array.FindLastIndex(_activeDomains, active => active.Iommu == iommu) + 1;
        Volatile.Write(ref _activeDomains, [.. _activeDomains.AsSpan(0, place), domain, .. _activeDomains.AsSpan(place)]);
        return VcmmError.None;
    }

    /// <summary>The last device has been detached and the domain flushed: nothing can be cached under it any more.</summary>
    private void WithdrawIfUnused(ActiveDomain domain)
    {
        if (domain.AttachedCount != 0) return;
        Volatile.Write(ref _activeDomains, Array.FindAll(_activeDomains, active => active != domain));
        domain.Iommu.ReleaseDomain(domain.Id);
    }
}

using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Associations: which devices a region has, which tables that takes, and under which domains they translate.
public sealed partial class Vcm
{
    /// <summary>Joins the region with a device. The device reaches nothing before <see cref="Association.Activate"/>.</summary>
    /// <param name="device">A device of the same manager.</param>
    /// <param name="association">The association, not active.</param>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> if the two are associated already; <see cref="VcmmError.Invalid"/> if the device is
    /// another manager's, the region has been freed or reaches beyond what the device's IOMMU translates, or a reservation
    /// lies in one of the IOMMU's reserved regions; <see cref="VcmmError.NoMemory"/> if there is no frame for a table page.
    /// </returns>
    public VcmmError TryAssociate(Device device, out Association? association)
    {
        ArgumentNullException.ThrowIfNull(device);
        association = null;
        if (device.Manager != Manager || !device.Iommu.CanTranslate(device.Iommu.Formats[0], Range)) return VcmmError.Invalid;
        lock (_associationGate)
        {
            if (_freed) return VcmmError.Invalid;
            if (_associations.Exists(existing => existing.Device == device)) return VcmmError.Busy;
            var joined = new Association(this, device);
            _associations.Add(joined);
            VcmmError error = TryExclude(device.Iommu);
            if (error == VcmmError.None) error = TryProvideTable(device.Iommu);
            if (error == VcmmError.None)
            {
                association = joined;
                return VcmmError.None;
            }

            _associations.Remove(joined);
            EndExclusions();
            return error;
        }
    }

    /// <summary>Joins the region with a device. The device reaches nothing before <see cref="Association.Activate"/>.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAssociate"/>.</exception>
    public Association Associate(Device device)
    {
        VcmmException.ThrowIf(TryAssociate(device, out Association? association), nameof(Associate));
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
            EndExclusions();
            TableFormat format = association.Device.Iommu.Formats[0];
            if (!_associations.Exists(other => other.Device.Iommu.Formats[0] == format) && TryGetTable(format, out IPageTable? table))
            {
                lock (_reservationGate) RemoveTable(table!);
            }

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
            VcmmError error = TryFindOrPublishDomain(device.Iommu, out ActiveDomain? domain);
            if (error == VcmmError.None)
            {
                TryGetTable(device.Iommu.Formats[0], out IPageTable? table);
                // The domain is published and the driver fences before the device can walk the table: an unmap that does
                // not see the domain has cleared its entries before the first walk.
                error = device.Iommu.Attach(device.Id, null, domain!.Id, table!);
                if (error == VcmmError.None) domain.DeviceCount++;
                else WithdrawIfUnused(domain);
            }

            if (error == VcmmError.None) association.SetActive(domain);
            else device.Disclaim();
            return error;
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
            VcmmError error = device.Iommu.Detach(device.Id, null, domain.Id);
            if (error != VcmmError.None) return error;
            domain.DeviceCount--;
            WithdrawIfUnused(domain);
            association.SetActive(null);
            device.Disclaim();
            return VcmmError.None;
        }
    }

    /// <summary>Takes the IOMMU's reserved regions out of what can be reserved.</summary>
    private VcmmError TryExclude(IIommu iommu)
    {
        foreach (IovaRange region in iommu.ReservedRegions)
        {
            if (!TryClip(region, out IovaRange part) || _excluded.Contains(part)) continue;
            if (_ranges.TryAllocateAt(part) != VcmmError.None) return VcmmError.Invalid;
            _excluded.Add(part);
        }

        return VcmmError.None;
    }

    /// <summary>Gives back what no association excludes any more.</summary>
    private void EndExclusions()
    {
        foreach (IovaRange part in _excluded.FindAll(part => !_associations.Exists(association => Excludes(association.Device.Iommu, part))))
        {
            _excluded.Remove(part);
            _ranges.TryFree(part);
        }
    }

    private bool Excludes(IIommu iommu, IovaRange part) => iommu.ReservedRegions.Any(region => TryClip(region, out IovaRange own) && own == part);

    private bool TryClip(IovaRange region, out IovaRange part)
    {
        bool overlaps = region.Overlaps(Range);
        part = overlaps
            ? new(new(Math.Max(region.First.Value, Range.First.Value)), new(Math.Min(region.Last.Value, Range.Last.Value)))
            : default;
        return overlaps;
    }

    private VcmmError TryProvideTable(IIommu iommu)
    {
        if (TryGetTable(iommu.Formats[0], out _)) return VcmmError.None;
        VcmmError error = iommu.TryCreateTable(iommu.Formats[0], Manager.Frames, out IPageTable? table);
        return error == VcmmError.None ? TryAddTable(table!) : error;
    }

    private VcmmError TryFindOrPublishDomain(IIommu iommu, out ActiveDomain? domain)
    {
        domain = Array.Find(_activeDomains, active => active.Iommu == iommu);
        if (domain is not null) return VcmmError.None;
        VcmmError error = iommu.TryCreateDomain(out DomainId id);
        if (error != VcmmError.None) return error;
        domain = new(iommu, id);
        Volatile.Write(ref _activeDomains, [.. _activeDomains, domain]);
        return VcmmError.None;
    }

    /// <summary>The last device has been detached and the domain flushed: nothing can be cached under it any more.</summary>
    private void WithdrawIfUnused(ActiveDomain domain)
    {
        if (domain.DeviceCount != 0) return;
        Volatile.Write(ref _activeDomains, Array.FindAll(_activeDomains, active => active != domain));
        domain.Iommu.ReleaseDomain(domain.Id);
    }

    /// <summary>
    /// Publishes a table and writes into it what is backed. Whoever backs or unbacks meanwhile works on the new list by
    /// itself; a reservation is passed under its gate, so each is written once.
    /// </summary>
    private VcmmError TryAddTable(IPageTable table)
    {
        lock (_reservationGate)
        {
            IPageTable[] tables = [.. _tables, table];
            Volatile.Write(ref _tables, tables);
            foreach (ReservationState state in _reservations)
            {
                lock (state.Gate)
                {
                    if (state.Memory is null || Array.IndexOf(state.MappedIn, table) >= 0) continue;
                    VcmmError error = state.Pages.TryFill(
                        Manager.Frames,
                        VcmManager.PageBytes,
                        table.CountMissingTables(state.Range.First, state.Memory.SegmentSpan));
                    if (error == VcmmError.None)
                    {
                        table.Map(state.Range.First, state.Memory.SegmentSpan, state.Attributes, state.Pages);
                        state.Pages.ReturnAll(Manager.Frames);
                        state.MappedIn = tables;
                        continue;
                    }
                }

                RemoveTable(table);
                return VcmmError.NoMemory;
            }

            return VcmmError.None;
        }
    }

    /// <summary>Withdraws a table that no IOMMU walks, waits for whoever still works on the old list, and frees it.</summary>
    private void RemoveTable(IPageTable table)
    {
        IPageTable[] tables = Array.FindAll(_tables, other => other != table);
        Volatile.Write(ref _tables, tables);
        foreach (ReservationState state in _reservations)
        {
            lock (state.Gate) state.MappedIn = Array.FindAll(state.MappedIn, other => other != table);
        }

        table.Free();
    }
}

using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Dma;

/// <summary>
/// One address space of one IOMMU, without a VCM: the caller chooses every device address. What kernels call
/// <c>iommu_map</c> and <c>iommu_unmap</c>.
/// </summary>
/// <remarks>
/// <para><b>Truth.</b> What is mapped is read from the table; there is no second copy of it.</para>
/// <para><b>Errors.</b> A refused call changes nothing. Calls after <see cref="TryFree"/> are <see cref="VcmmError.Invalid"/>.</para>
/// <para><b>Threads.</b> Any number at once; but where one device is attached to several domains, one call at a time of theirs attaches or detaches it, as
/// <see cref="IIommu"/> asks. Calls on ranges that share a byte come one after the other; each range is locked by
/// stripes of addresses, in their order, and a strict unmap holds its stripes while it waits for the hardware. Locks, outermost
/// first: attachments, stripes, the ranges that wait for a sync, the driver's, the frame source's.</para>
/// </remarks>
public sealed partial class IommuDomain
{
    [LockRank(LockRank.DmaAttachments)]
    private readonly object _attachmentGate = new();
    private readonly List<(StreamId Device, Pasid? Pasid)> _attachments = [];
    private readonly IIommu _iommu;
    private readonly IFrameSource _frames;
    private readonly IPageTable _table;
    private readonly IovaRange[] _reserved;
    private readonly bool _hasTablesOf512;
    private readonly ulong _largeLeafBytes;
    private int _attachmentCount;
    private bool _freed;

    private IommuDomain(IIommu iommu, DomainId id, IFrameSource frames, IPageTable table)
    {
        _iommu = iommu;
        _frames = frames;
        _table = table;
        _reserved = [.. iommu.ReservedRegions];
        _hasTablesOf512 = table.Format.Encoding == VtdSecondStage.Encoding || table.Format.Encoding == X86FirstStage.Encoding;
        _largeLeafBytes = table.LargeLeafBytes;
        Id = id;
        for (int i = 0; i < _workers.Length; i++) _workers[i] = new();
    }

    /// <summary>The tag under which the IOMMU caches what is mapped here.</summary>
    public DomainId Id { get; }

    /// <summary>The table's format.</summary>
    public TableFormat Format => _table.Format;

    /// <summary>The table's root page.</summary>
    public PhysAddr Root => _table.Root;

    internal ReadOnlySpan<IovaRange> ReservedRegions => _reserved;

    /// <summary>Makes an empty address space.</summary>
    /// <param name="iommu">Who translates.</param>
    /// <param name="format">One of its formats.</param>
    /// <param name="frames">Where table pages come from.</param>
    /// <param name="domain">The address space; no device is attached.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the IOMMU does not walk the format, <see cref="VcmmError.NoSpace"/> if it has no domain
    /// id left, <see cref="VcmmError.NoMemory"/>.
    /// </returns>
    public static VcmmError TryCreate(IIommu iommu, TableFormat format, IFrameSource frames, out IommuDomain? domain)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        ArgumentNullException.ThrowIfNull(frames);
        domain = null;
        if (!iommu.Formats.Contains(format)) return VcmmError.Invalid;
        VcmmError error = iommu.TryCreateDomain(out DomainId id);
        if (error != VcmmError.None) return error;
        error = iommu.TryCreateTable(format, frames, out IPageTable? table);
        if (error != VcmmError.None)
        {
            iommu.ReleaseDomain(id);
            return error;
        }

        domain = new(iommu, id, frames, table!);
        return VcmmError.None;
    }

    /// <summary>Makes an empty address space.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCreate"/>.</exception>
    public static IommuDomain Create(IIommu iommu, TableFormat format, IFrameSource frames)
    {
        VcmmException.ThrowIf(TryCreate(iommu, format, frames, out IommuDomain? domain), nameof(Create));
        return domain!;
    }

    /// <summary>Makes an empty address space with the IOMMU's first format.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCreate"/>.</exception>
    public static IommuDomain Create(IIommu iommu, IFrameSource frames)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        return Create(iommu, iommu.Formats[0], frames);
    }

    /// <summary>Lets a device translate through what is mapped here.</summary>
    /// <param name="device">Whose address space is attached to nothing else: between domains that is the caller's to know.</param>
    /// <param name="pasid">Which of its address spaces, not 0; null: its requests without a PASID.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if the IOMMU cannot tell it apart, <see cref="VcmmError.Invalid"/> if it has no such
    /// PASID, <see cref="VcmmError.Busy"/> if it is attached here, <see cref="VcmmError.NoMemory"/>,
    /// <see cref="VcmmError.HardwareFailure"/>.
    /// </returns>
    public VcmmError TryAttach(StreamId device, Pasid? pasid = null)
    {
        if (!_iommu.CanIdentify(device)) return VcmmError.NoDevice;
        if (pasid is { } space && (space.Value == 0 || space.Value >= _iommu.PasidCount)) return VcmmError.Invalid;
        lock (_attachmentGate)
        {
            if (_freed) return VcmmError.Invalid;
            if (_attachments.Contains((device, pasid))) return VcmmError.Busy;
            // Counted before the hardware can walk the table: an unmap that does not see the count has cleared its entries
            // before the first walk.
            Interlocked.Increment(ref _attachmentCount);
            VcmmError error = VcmmError.HardwareFailure;
            try
            {
                error = _iommu.Attach(device, pasid, Id, _table);
            }
            finally
            {
                // Also where a port throws.
                if (error == VcmmError.None) _attachments.Add((device, pasid));
                else Interlocked.Decrement(ref _attachmentCount);
            }

            return error;
        }
    }

    /// <summary>Lets a device translate through what is mapped here.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAttach"/>.</exception>
    public void Attach(StreamId device, Pasid? pasid = null) => VcmmException.ThrowIf(TryAttach(device, pasid), nameof(Attach));

    /// <summary>Ends that. When this returns the device reaches nothing that is mapped here.</summary>
    /// <returns><see cref="VcmmError.NotFound"/> if it is not attached here, <see cref="VcmmError.HardwareFailure"/>.</returns>
    public VcmmError TryDetach(StreamId device, Pasid? pasid = null)
    {
        lock (_attachmentGate)
        {
            if (_freed) return VcmmError.Invalid;
            if (!_attachments.Contains((device, pasid))) return VcmmError.NotFound;
            VcmmError error = _iommu.Detach(device, pasid, Id);
            if (error != VcmmError.None) return error;
            _attachments.Remove((device, pasid));
            Interlocked.Decrement(ref _attachmentCount);
            return VcmmError.None;
        }
    }

    /// <summary>Ends that. When this returns the device reaches nothing that is mapped here.</summary>
    /// <exception cref="VcmmException">As <see cref="TryDetach"/>.</exception>
    public void Detach(StreamId device, Pasid? pasid = null) => VcmmException.ThrowIf(TryDetach(device, pasid), nameof(Detach));

    /// <summary>What a device address means, read from the table. Takes no lock.</summary>
    /// <returns><see cref="VcmmError.Fault"/> if it is not mapped.</returns>
    public VcmmError TryTranslate(Iova address, out Translation translation) =>
        _table.TryWalk(address, out translation) ? VcmmError.None : VcmmError.Fault;

    /// <summary>What a device address means, read from the table. Takes no lock.</summary>
    /// <exception cref="VcmmException">As <see cref="TryTranslate"/>.</exception>
    public Translation Translate(Iova address)
    {
        VcmmException.ThrowIf(TryTranslate(address, out Translation translation), nameof(Translate));
        return translation;
    }

    /// <summary>The physical address that a device address means, read from the table. Takes no lock.</summary>
    /// <returns><see cref="VcmmError.Fault"/> if it is not mapped.</returns>
    public VcmmError TryIovaToPhys(Iova address, out PhysAddr physical)
    {
        VcmmError error = TryTranslate(address, out Translation translation);
        physical = translation.Address;
        return error;
    }

    /// <summary>The physical address that a device address means, read from the table. Takes no lock.</summary>
    /// <exception cref="VcmmException">As <see cref="TryIovaToPhys"/>.</exception>
    public PhysAddr IovaToPhys(Iova address)
    {
        VcmmException.ThrowIf(TryIovaToPhys(address, out PhysAddr physical), nameof(IovaToPhys));
        return physical;
    }

    /// <summary>Ends the address space, whatever is mapped in it.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while a device is attached or an unmap waits for its sync, <see cref="VcmmError.Invalid"/> once
    /// freed.
    /// </returns>
    public VcmmError TryFree()
    {
        lock (_attachmentGate)
        {
            if (_attachments.Count != 0) return VcmmError.Busy;
            _stripes.Enter(RangeStripes.All);
            try
            {
                if (_freed) return VcmmError.Invalid;
                if (!_pending.IsEmpty) return VcmmError.Busy;
                _freed = true;
            }
            finally
            {
                _stripes.Exit(RangeStripes.All);
            }

            _table.Free();
            _iommu.ReleaseDomain(Id);
            return VcmmError.None;
        }
    }

    /// <summary>Ends the address space, whatever is mapped in it.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary><c>did:5 vtd-second-stage/4</c>.</summary>
    public override string ToString() => $"{Id} {Format}";

    /// <summary>Whether an entry can protect as the attributes say.</summary>
    internal bool CanExpress(MappingAttributes attributes) => attributes.AreValid && _table.CanExpress(attributes);
}

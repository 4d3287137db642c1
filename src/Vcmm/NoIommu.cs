using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>
/// Where an IOMMU would be and none is: devices whose addresses are physical addresses. They take part in one-to-one regions, beside
/// devices that are translated.
/// </summary>
/// <remarks>
/// <para><b>It protects nothing.</b> Such a device reaches all memory, always; a region says what it should reach. Nothing can be
/// cached, so that there is nothing to invalidate; and nothing can be stopped: before an unback or a deactivation the caller sees
/// to it that the device is at rest.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public sealed class NoIommu : IIommu
{
    /// <summary><see cref="IdentityTable.Format"/> alone.</summary>
    public IReadOnlyList<TableFormat> Formats { get; } = [IdentityTable.Format];

    /// <inheritdoc/>
    public uint PasidCount => 0;

    /// <inheritdoc/>
    public IReadOnlyList<IovaRange> ReservedRegions => [];

    /// <inheritdoc/>
    public bool CachesAbsent => false;

    /// <summary>0: there is no hardware.</summary>
    public uint HardwareVersion => 0;

    /// <summary>True: nobody has to tell devices apart.</summary>
    public bool CanIdentify(StreamId device) => true;

    /// <summary>Whether the format is <see cref="IdentityTable.Format"/>.</summary>
    public bool CanTranslate(TableFormat format, IovaRange range) => format == IdentityTable.Format;

    /// <inheritdoc/>
    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        ArgumentNullException.ThrowIfNull(frames);
        table = new IdentityTable();
        return VcmmError.None;
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: nobody can have built a table that is not in memory.</exception>
    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => throw new InvalidOperationException($"{format} is no table in memory");

    /// <summary>The same for all: nothing is cached under it.</summary>
    public VcmmError TryCreateDomain(out DomainId domain)
    {
        domain = default;
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public void ReleaseDomain(DomainId domain)
    {
    }

    /// <summary>Does nothing: the device reaches memory already.</summary>
    /// <returns><see cref="VcmmError.None"/>; <see cref="VcmmError.Invalid"/> with a PASID.</returns>
    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return pasid is null ? VcmmError.None : VcmmError.Invalid;
    }

    /// <summary>Does nothing: the device goes on to reach memory.</summary>
    /// <returns><see cref="VcmmError.None"/>; <see cref="VcmmError.Invalid"/> with a PASID.</returns>
    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => pasid is null ? VcmmError.None : VcmmError.Invalid;

    /// <summary>Does nothing: nothing is cached.</summary>
    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => VcmmError.None;

    /// <summary>False: nobody stops an access.</summary>
    public bool TryTakeFault(out DeviceFault fault)
    {
        fault = default;
        return false;
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: no access waits.</exception>
    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException($"{fault} does not wait");
}

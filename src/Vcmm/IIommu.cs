using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>What the library needs of an IOMMU: that it can be pointed at a table and told to forget.</summary>
/// <remarks>
/// <para><b>Completion.</b> A method returns after the hardware has done what it was told; nothing is queued behind the
/// caller's back.</para>
/// <para><b>Threads.</b> Any number at once, but for one device or one domain one call of
/// <see cref="Attach"/>, <see cref="Detach"/> and <see cref="ReleaseDomain"/> at a time.</para>
/// </remarks>
public interface IIommu
{
    /// <summary>The format of the tables that it walks.</summary>
    TableFormat Format { get; }

    /// <summary>The last device address that it translates; addresses start at 0.</summary>
    Iova LastAddress { get; }

    /// <summary>
    /// Device addresses that it does not translate whatever the tables say, such as those of message-signalled interrupts. A
    /// region that is associated with one of its devices hands none of them out.
    /// </summary>
    IReadOnlyList<IovaRange> ReservedRegions { get; }

    /// <summary>
    /// Whether it may cache that an address is not mapped, so that mapping needs an invalidation too (VT-d's caching mode).
    /// </summary>
    bool CachesAbsent { get; }

    /// <summary>Whether a device with this id can reach it.</summary>
    bool CanIdentify(StreamId device);

    /// <summary>Makes an empty table of <see cref="Format"/>.</summary>
    /// <returns><see cref="VcmmError.NoMemory"/> if there is no frame for its root.</returns>
    VcmmError TryCreateTable(IFrameSource frames, out IPageTable? table);

    /// <summary>Takes a domain id under which nothing is cached.</summary>
    /// <returns><see cref="VcmmError.NoSpace"/> if all are in use.</returns>
    VcmmError TryCreateDomain(out DomainId domain);

    /// <summary>Gives a domain id back. Every device of the domain has been detached.</summary>
    void ReleaseDomain(DomainId domain);

    /// <summary>
    /// Lets <paramref name="device"/> translate through <paramref name="table"/>. Everything that the calling thread
    /// published before the call is visible to other threads before the hardware can walk the table.
    /// </summary>
    /// <returns><see cref="VcmmError.NoMemory"/> or <see cref="VcmmError.HardwareFailure"/>; the device is then detached, as before.</returns>
    VcmmError Attach(StreamId device, DomainId domain, IPageTable table);

    /// <summary>
    /// Ends the device's translations. When this returns no access of the device through the domain is under way, and
    /// nothing of the domain's is cached that other devices of the domain would not fetch again.
    /// </summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; the device is then attached, as before.</returns>
    VcmmError Detach(StreamId device, DomainId domain);

    /// <summary>
    /// Makes the hardware forget a range of one domain. When this returns every access through what was forgotten is over.
    /// </summary>
    /// <param name="domain">The domain.</param>
    /// <param name="range">Whole smallest pages.</param>
    /// <param name="leavesOnly">True if only leaves have changed, so that cached pointers to tables may stay.</param>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if it is not known to have forgotten.</returns>
    VcmmError Invalidate(DomainId domain, IovaRange range, bool leavesOnly);
}

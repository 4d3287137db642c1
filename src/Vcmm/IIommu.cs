using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>What the library needs of an IOMMU: that it can be pointed at a table and told to forget.</summary>
/// <remarks>
/// <para><b>Completion.</b> A method returns after the hardware has done what it was told; nothing is queued behind the
/// caller's back.</para>
/// <para><b>Exceptions.</b> A method that throws has failed like one that returns <see cref="VcmmError.HardwareFailure"/>, and everything is as
/// before. The library undoes what it had done, frees nothing that may be reached, holds no lock and lets the exception out of its
/// own call: that has then changed nothing, and can be made again. A change that would stand after two failures stands after two exceptions too, and is not refused.
/// What <see cref="ReleaseDomain"/> throws, which cannot be refused, comes out of a call that is done: the id is lost.</para>
/// <para><b>Threads.</b> Any number at once, but for one device or one domain one call of
/// <see cref="Attach"/>, <see cref="AttachNested"/>, <see cref="AttachPassThrough"/>, <see cref="Detach"/> and <see cref="ReleaseDomain"/> at a time.</para>
/// </remarks>
public interface IIommu
{
    /// <summary>The formats of the tables that it walks; the first is the one for callers who do not choose.</summary>
    IReadOnlyList<TableFormat> Formats { get; }

    /// <summary>How many process address space ids it tells apart: 0 (none) … 2^20. Id 0 is never attached: hardware keeps it for requests without one.</summary>
    uint PasidCount { get; }

    /// <summary>
    /// Device addresses that it does not translate whatever the tables say, such as those of message-signalled interrupts. A
    /// region that is associated with one of its devices hands none of them out.
    /// </summary>
    IReadOnlyList<IovaRange> ReservedRegions { get; }

    /// <summary>
    /// Whether it may cache that an address is not mapped, so that mapping needs an invalidation too (VT-d's caching mode).
    /// </summary>
    bool CachesAbsent { get; }

    /// <summary>The version of the hardware, as it gives it.</summary>
    uint HardwareVersion { get; }

    /// <summary>Whether a device with this id can reach it.</summary>
    bool CanIdentify(StreamId device);

    /// <summary>Whether it translates every address of <paramref name="range"/> through tables of <paramref name="format"/>.</summary>
    bool CanTranslate(TableFormat format, IovaRange range);

    /// <summary>
    /// Whether it translates every address of <paramref name="range"/> through a table of <paramref name="format"/> that a processor
    /// walks too, for requests with a PASID: addresses are then the processor's, which may go further than those that software chooses.
    /// </summary>
    /// <remarks>Unless an IOMMU says otherwise it is the same as <see cref="CanTranslate"/>.</remarks>
    bool CanShare(TableFormat format, IovaRange range) => CanTranslate(format, range);

    /// <summary>
    /// Whether it notes in every leaf of a table of <paramref name="format"/> that it used it and that it wrote through it. Unless an
    /// IOMMU says otherwise it does not.
    /// </summary>
    bool TracksUse(TableFormat format) => false;

    /// <summary>Whether it can let a device's accesses through untranslated. Unless an IOMMU says otherwise it cannot.</summary>
    bool CanPassThrough => false;

    /// <summary>
    /// Whether it translates through two tables, one after the other: what a table of <paramref name="nested"/> points at, its own pages too, through
    /// one of <paramref name="outer"/>. Unless an IOMMU says otherwise it does not.
    /// </summary>
    bool CanNest(TableFormat outer, TableFormat nested) => false;

    /// <summary>Makes an empty table.</summary>
    /// <param name="format">One of <see cref="Formats"/>.</param>
    /// <param name="frames">Where its pages come from.</param>
    /// <param name="table">The table.</param>
    /// <returns><see cref="VcmmError.NoMemory"/> if there is no frame for its root.</returns>
    VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table);

    /// <summary>Looks at a table that somebody else built, changes and frees.</summary>
    /// <param name="format">One of <see cref="Formats"/>.</param>
    /// <param name="root">Its root page.</param>
    IPageTable AdoptTable(TableFormat format, PhysAddr root);

    /// <summary>Takes a domain id under which nothing is cached.</summary>
    /// <returns><see cref="VcmmError.NoSpace"/> if all are in use.</returns>
    VcmmError TryCreateDomain(out DomainId domain);

    /// <summary>Gives a domain id back. Every device of the domain has been detached.</summary>
    void ReleaseDomain(DomainId domain);

    /// <summary>
    /// Lets <paramref name="device"/> translate through <paramref name="table"/>. Everything that the calling thread
    /// published before the call is visible to other threads before the hardware can walk the table.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="pasid">Which of its address spaces; null: its requests without a PASID.</param>
    /// <param name="domain">The tag of what is cached.</param>
    /// <param name="table">Of one of <see cref="Formats"/>; all tables of a domain are the same.</param>
    /// <returns><see cref="VcmmError.NoMemory"/> or <see cref="VcmmError.HardwareFailure"/>; the device is then detached, as before.</returns>
    VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table);

    /// <summary>Lets <paramref name="device"/> through to memory as it is, until it is detached: it reaches every address, of whoever's memory.</summary>
    /// <param name="device">The device.</param>
    /// <param name="pasid">Which of its address spaces; null: its requests without a PASID.</param>
    /// <param name="domain">A domain of its own: nothing else is attached under it.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if it lets nothing through (<see cref="CanPassThrough"/>); <see cref="VcmmError.Invalid"/> if the device has a TLB of its own;
    /// <see cref="VcmmError.NoMemory"/> or <see cref="VcmmError.HardwareFailure"/>. The device is then detached, as before.
    /// </returns>
    /// <remarks><b>Threads.</b> As <see cref="Attach"/>.</remarks>
    VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain) => VcmmError.NoDevice;

    /// <summary>
    /// Lets <paramref name="device"/> translate through <paramref name="nested"/>, and what that points at through <paramref name="table"/>.
    /// Otherwise as <see cref="Attach"/>; an <see cref="Invalidate"/> of the domain is of addresses of <paramref name="table"/>.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="pasid">Which of its address spaces; null: its requests without a PASID.</param>
    /// <param name="domain">The tag of what is cached.</param>
    /// <param name="table">Of one of <see cref="Formats"/>.</param>
    /// <param name="nested">What leads there; all tables of a domain, these too, are the same, and none of them is attached under it alone.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if it cannot (<see cref="CanNest"/>) or the root is not a page of what <paramref name="table"/> translates;
    /// otherwise as <see cref="Attach"/>.
    /// </returns>
    VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested) => VcmmError.Invalid;

    /// <summary>
    /// Ends the device's translations, or that it is let through. When this returns no access of the device through the domain is under way, those that
    /// waited have failed, and nothing of the domain's is cached that other devices of the domain would not fetch again.
    /// </summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; the device is then attached, as before.</returns>
    VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain);

    /// <summary>
    /// Makes the hardware forget. When this returns every access through what was forgotten is over; however many commands
    /// there are, the hardware is waited for once.
    /// </summary>
    /// <param name="commands">What to forget.</param>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if it is not known to have forgotten.</returns>
    VcmmError Invalidate(ReadOnlySpan<Invalidation> commands);

    /// <summary>
    /// Makes the hardware forget what the nested table of a domain said (<see cref="AttachNested"/>). When this returns every access through that
    /// is over. Nothing happens if nothing is attached under the domain.
    /// </summary>
    /// <param name="domain">The domain.</param>
    /// <param name="range">Whole smallest pages of the nested table's addresses.</param>
    /// <returns>
    /// <see cref="VcmmError.HardwareFailure"/> if it is not known to have forgotten; <see cref="VcmmError.Invalid"/> of an IOMMU that nests nothing.
    /// </returns>
    VcmmError InvalidateNested(DomainId domain, IovaRange range) => VcmmError.Invalid;

    /// <summary>
    /// Takes the oldest fault that has not been taken. Any thread may call, also several at once and beside any other call:
    /// each fault goes to one caller. It does not wait for a fault.
    /// </summary>
    /// <returns>False if there is none.</returns>
    bool TryTakeFault(out DeviceFault fault);

    /// <summary>
    /// Ends a fault whose access waits: the access is tried again, or fails. Nothing happens if <see cref="Detach"/> has
    /// ended it in the meantime.
    /// </summary>
    /// <param name="fault">One with <see cref="DeviceFault.IsStalled"/>, taken from this IOMMU and not ended yet.</param>
    /// <param name="retry">Whether it is tried again.</param>
    /// <returns>
    /// <see cref="VcmmError.HardwareFailure"/> if the device is not known to have been told. It is ended all the same: the device is
    /// told when the next fault is taken or ended.
    /// </returns>
    VcmmError EndFault(in DeviceFault fault, bool retry);
}

/// <summary>What an IOMMU is to forget.</summary>
/// <param name="Domain">The domain.</param>
/// <param name="Range">Whole smallest pages.</param>
/// <param name="LeavesOnly">True if only leaves have changed, so that cached pointers to tables may stay.</param>
public readonly record struct Invalidation(DomainId Domain, IovaRange Range, bool LeavesOnly);

/// <summary>An access that an IOMMU did not let through.</summary>
/// <param name="Device">Who made it.</param>
/// <param name="Pasid">In which address space; null: it had no PASID.</param>
/// <param name="Address">Where; as exactly as the hardware tells, at least the 4 KiB page.</param>
/// <param name="Access">What it wanted.</param>
/// <param name="Reason">Why, by the architecture's number; 0 for an access that waits.</param>
public readonly record struct DeviceFault(StreamId Device, Pasid? Pasid, Iova Address, Access Access, uint Reason)
{
    /// <summary>What <see cref="Reason"/> means.</summary>
    public FaultCause Cause { get; init; }

    /// <summary>Whether the access waits for <see cref="IIommu.EndFault"/>.</summary>
    public bool IsStalled { get; init; }

    /// <summary>By which the hardware knows a waiting access.</summary>
    public ulong Token { get; init; }

    /// <summary>Whether it had supervisor privilege.</summary>
    public bool IsPrivileged { get; init; }

    /// <summary><c>sid:0x20 Write iova:0x1000 NotPermitted (reason 0x05)</c>.</summary>
    public override string ToString() => $"{Device}{(Pasid is { } pasid ? $" {pasid}" : "")} {Access} {Address} {(IsStalled ? "waits" : $"{Cause} (reason 0x{Reason:x2})")}";
}

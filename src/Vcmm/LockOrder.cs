using Platform;
using Vcmm.Allocation;
using Vcmm.Invalidations;

namespace Vcmm;

/// <summary>The locks of the library, outermost first: a thread that holds one takes only later ones.</summary>
/// <remarks>
/// <para>Every lock has its rank by <see cref="LockRankAttribute"/>. What is allowed beyond the order stands here, with its
/// reason: two locks of one rank (<see cref="HeldTwiceAttribute"/>), a wait for the hardware while the lock is held
/// (<see cref="HeldAcrossWaitAttribute"/>), and what of the caller's own runs under locks (<see cref="RunsUnderLocksAttribute"/>).
/// A test reads this and the compiled library (<c>LockOrderLaws</c>).</para>
/// <para>The ports (<see cref="IPhysicalMemory"/>, <see cref="IMmio"/>, <see cref="IIommu"/>, <see cref="IFrameSource"/> and their like)
/// are called under locks. An implementation takes locks of its own, and calls nothing of a <see cref="VcmManager"/>.</para>
/// </remarks>
[RunsUnderLocks(typeof(Func<IovaRange, IRangeAllocator>), "a bound's allocator is part of the bound, and a bound is there as a whole or not at all")]
[RunsUnderLocks(typeof(Func<int>), "a number for the thread that calls; it is asked for on the way to a range")]
[RunsUnderLocks(typeof(TimeProvider), "the clock, read while the hardware is waited for, and when something is put in a queue")]
[RunsUnderLocks(typeof(ICollection<IovaRange>), "what a table finds goes into a list of the region's own")]
[RunsUnderLocks(typeof(IQuarantined), "a region that has to flush its queue does so under its locks; a release knows that it may call no region")]
[TalksToAnother(typeof(CachedRangeAllocator), "a cache may stand before a cache: the locks of the one behind come after all of this one's")]
internal enum LockRank
{
    /// <summary>A region's associations, tables and active domains.</summary>
    [HeldAcrossWait("an association is active, or not, only once the hardware has done it")]
    Associations,

    /// <summary>Which reservations and bounds a region has: a stripe. Of several, in ascending order of their places.</summary>
    [HeldTwice("in ascending order", In = "Vcm.Exclusively")]
    [HeldAcrossWait("a reservation is made with its mapping or not at all", In = "Vcm.TryMap")]
    [HeldAcrossWait("the same, where addresses were missing at first", In = "Vcm.Exclusively")]
    [HeldAcrossWait("the reservation ends with its mapping or not at all", In = "Vcm.Unmap")]
    [HeldAcrossWait("the reservation ends with its mapping and its memory or not at all", In = "Vcm.TryUnbind")]
    Reservations,

    /// <summary>One reservation. Of several, in ascending order of <see cref="ReservationState.Order"/>.</summary>
    [HeldAcrossWait("one operation on one reservation at a time, and it ends when the hardware has forgotten")]
    [HeldTwice("in ascending order", In = "VcmManager.TryCopy")]
    [HeldTwice("in ascending order; and nobody knows the reservations of a clone yet", In = "Vcm.HoldingAll")]
    Reservation,

    /// <summary>What a physical allocation backs.</summary>
    [Signalled("who depends on whether the memory ends, or is kept, waits until that is known", In = "PhysicalAllocation.Await")]
    [Signalled("it is known whether it is kept", In = "PhysicalAllocation.Decide")]
    [Signalled("it is known", In = "PhysicalAllocation.TryFreeWith")]
    Memory,

    /// <summary>Which physical allocations there are, by address.</summary>
    Memories,

    /// <summary>One flush of a queue at a time.</summary>
    [HeldAcrossWait("one flush is done when the hardware has forgotten; who comes meanwhile waits for that")]
    Flush,

    /// <summary>What waits in a queue for its flush.</summary>
    [Signalled("a flush ends when what it covers is released, which calls no region", In = "FlushQueue.AwaitReleases")]
    [Signalled("it is released", In = "FlushQueue.FlushNow")]
    Quarantine,

    /// <summary>Which devices are attached to an address space without a VCM.</summary>
    [HeldAcrossWait("a device is attached, or not, only once the hardware has done it")]
    DmaAttachments,

    /// <summary>The ranges of an address space without a VCM: a stripe. Of several, in ascending order of their places.</summary>
    [HeldTwice("in ascending order", In = "RangeStripes.Enter")]
    [HeldAcrossWait("one operation on one range at a time, and it ends when the hardware has forgotten")]
    DmaRanges,

    /// <summary>Which ranges of such an address space wait for a sync.</summary>
    DmaPending,

    /// <summary>Which buffers are mapped.</summary>
    DmaMappings,

    /// <summary>Where a device's address spaces lead.</summary>
    [HeldAcrossWait("the tables that lead to one are there for all, so the hardware forgets one before the next comes or goes")]
    Spaces,

    /// <summary>What is mapped in a table that has no bytes.</summary>
    Table,

    /// <summary>Which devices there are.</summary>
    Devices,

    /// <summary>Which of a device's address spaces are active.</summary>
    Device,

    /// <summary>The domain ids of an IOMMU.</summary>
    Domains,

    /// <summary>Under which PASIDs a domain is attached.</summary>
    DomainTags,

    /// <summary>Which devices have a TLB of their own, and of which domains.</summary>
    DeviceTlbs,

    /// <summary>Which table each device of an IOMMU translates through.</summary>
    DeviceTables,

    /// <summary>An IOMMU's fault records.</summary>
    [HeldAcrossWait("a record is read and cleared in registers")]
    Faults,

    /// <summary>Accesses that wait for a page, and what their devices are to be told.</summary>
    [HeldAcrossWait("a request is read from registers; and a device has been told, or is to be told yet, before anything else is said to it")]
    PageRequests,

    /// <summary>An IOMMU's command queue.</summary>
    [HeldAcrossWait("head and tail are registers; a queue that failed is started anew before anybody uses it")]
    Queue,

    /// <summary>An IOMMU's command register.</summary>
    [HeldAcrossWait("one command at a time, until the hardware shows that it is done")]
    Command,

    /// <summary>Which ranges are handed out through a cache.</summary>
    RangeCache,

    /// <summary>What one slot of a cache has at hand. Of several, in ascending order of their places.</summary>
    [HeldTwice("in ascending order", In = "CachedRangeAllocator.GiveBackAll")]
    RangeSlot,

    /// <summary>Which ranges are free.</summary>
    Ranges,

    /// <summary>Which frames are free.</summary>
    Frames,

    /// <summary>Objects that are used again.</summary>
    Idle,

    /// <summary>Who waits for a <see cref="ThinLock"/>, which has a rank of its own where it is used.</summary>
    [Signalled("the lock is held by another thread, which signals when it lets go", In = "ThinLock.Wait")]
    [Signalled("it has let go", In = "ThinLock.Wake")]
    Waiters,
}

/// <summary>The rank of the lock that is the object in this field, each object of the array in it, or each object of this class.</summary>
[AttributeUsage(AttributeTargets.Field | AttributeTargets.Class)]
internal sealed class LockRankAttribute(LockRank rank) : Attribute
{
    public LockRank Rank { get; } = rank;
}

/// <summary>The hardware may be waited for, and its registers used, while a lock of this rank is held. Without it the lock is short.</summary>
[AttributeUsage(AttributeTargets.Field, AllowMultiple = true)]
internal sealed class HeldAcrossWaitAttribute(string reason) : Attribute
{
    public string Reason { get; } = reason;

    /// <summary>By which method alone, the one that takes the lock; null: by any.</summary>
    public string? In { get; init; }
}

/// <summary>Locks of this rank may be taken while one is held.</summary>
[AttributeUsage(AttributeTargets.Field, AllowMultiple = true)]
internal sealed class HeldTwiceAttribute(string reason) : Attribute
{
    public string Reason { get; } = reason;

    /// <summary>By which method alone, the one that takes the first lock.</summary>
    public required string In { get; init; }
}

/// <summary>An object of the class calls through an interface another object of it, never itself, and never back: such calls are not followed.</summary>
[AttributeUsage(AttributeTargets.Enum, AllowMultiple = true)]
internal sealed class TalksToAnotherAttribute(Type type, string reason) : Attribute
{
    public Type Type { get; } = type;

    public string Reason { get; } = reason;
}

/// <summary>
/// A thread that holds a lock of this rank may let it go until another signals. Whoever signals needs no lock that a waiting
/// thread may hold.
/// </summary>
[AttributeUsage(AttributeTargets.Field, AllowMultiple = true)]
internal sealed class SignalledAttribute(string reason) : Attribute
{
    public string Reason { get; } = reason;

    /// <summary>By which method.</summary>
    public required string In { get; init; }
}

/// <summary>What callers hand in and the library calls while it holds locks. It calls nothing of the library.</summary>
[AttributeUsage(AttributeTargets.Enum, AllowMultiple = true)]
internal sealed class RunsUnderLocksAttribute(Type callback, string reason) : Attribute
{
    public Type Callback { get; } = callback;

    public string Reason { get; } = reason;
}

namespace Harness.Coverage;

/// <summary>What can matter of an object to an operation that works on it, or of all to one that works on none.</summary>
[Flags]
internal enum Traits : ushort
{
    /// <summary>Nothing of the following.</summary>
    None = 0,

    /// <summary>It was freed, dropped, or let go.</summary>
    Ended = 1,

    /// <summary>A region whose unbacks wait for a flush, or what lies in one.</summary>
    Deferred = 1 << 1,

    /// <summary>A region whose addresses are the memory's, or what lies in one.</summary>
    OneToOne = 1 << 2,

    /// <summary>A region with a table that somebody else builds.</summary>
    Prebuilt = 1 << 3,

    /// <summary>A region with a table; what lies in one; a device that is associated; an association of an address space of its own; a guest whose table one has.</summary>
    Joined = 1 << 4,

    /// <summary>A region with tables of several formats, or what lies in one.</summary>
    ManyFormats = 1 << 5,

    /// <summary>A device, or an association, through which is translated now; a region with such a one, and what lies in it.</summary>
    Active = 1 << 6,

    /// <summary>Something has it: reservations a region or a bound, backings memory, another association the device; a device is let through untranslated.</summary>
    Used = 1 << 7,

    /// <summary>Several have it: owners a reservation, reservations memory.</summary>
    Shared = 1 << 8,

    /// <summary>Some of a reservation, or of a guest's tables, is backed, not all.</summary>
    PartlyBacked = 1 << 9,

    /// <summary>All of a reservation, or of a guest's tables, is backed.</summary>
    Backed = 1 << 10,

    /// <summary>Something of it waits: for a flush, or to be told to a hook; or a guest has changed its table and not told.</summary>
    Waiting = 1 << 11,

    /// <summary>As much waits as may.</summary>
    Full = 1 << 12,

    /// <summary>A device with a fault hook.</summary>
    Hooked = 1 << 13,

    /// <summary>Memory that was given and not allocated; a reservation out of a bound; an association with a guest's table.</summary>
    Given = 1 << 14,

    /// <summary>A device with a TLB of its own, or that no IOMMU stands before; an association of a process.</summary>
    Special = 1 << 15,
}

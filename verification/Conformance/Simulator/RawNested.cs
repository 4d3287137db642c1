using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>
/// A <see cref="RawScalable"/> with nested translation: the first-stage tables of PASID 3 and 4 lie at guest-physical addresses, which
/// second-stage tables translate, both in domain 9. No guest-physical address is the physical one: the guest's page 0x3000 … 0xF000 is at
/// <see cref="Host"/> above, its page 0x10000 is <see cref="FrameA"/> and its page 0x11000 <see cref="FrameB"/>.
/// </summary>
internal sealed class RawNested : IDisposable
{
    public const ulong Nest4 = 0x60000, Nest3 = 0x61000, Nest2 = 0x62000, Nest1 = 0x63000, SpareNest1 = 0x64000;

    /// <summary>The guest's tables by its addresses, and its pages of data.</summary>
    public const ulong Guest5 = 0x3000, Guest4 = 0x4000, Guest3 = 0x5000, Guest2 = 0x6000, Guest1 = 0x7000, SpareGuest1 = 0x8000;
    public const ulong GuestA = 0x10000, GuestB = 0x11000;
    public const ulong Host = 0x70000;
    public const ulong Domain = 9;
    public const uint GuestPasid = 3, OtherPasid = 4;

    /// <summary>The first word of the PASID entry: P, PGTT 3, with AW 2; SSADE.</summary>
    public const ulong Nested = 1 | 3 << 6 | 2 << 2, KeepsFlags = 1 << 9;

    /// <summary>First-stage entries: A, and in a leaf D.</summary>
    public const ulong A = 1 << 5, D = 1 << 6;

    public const ulong PageSize = 1 << 7;

    public static readonly VtdOptions All = VtdOptions.Scalable with { Nesting = true };

    public static readonly VtdOptions Uncached = RawScalable.NoCaches with { Nesting = true };

    private readonly bool _ownsVtd;

    public RawNested(VtdOptions? options = null, Action<SimStep, ulong>? hook = null)
        : this(new RawScalable(options ?? All, hook)) => _ownsVtd = true;

    public RawNested(RawScalable vtd)
    {
        Vtd = vtd;
        SetPasid(Nested | Nest4);
        Write(Nest4, Nest3 | Rw);
        Write(Nest3, Nest2 | Rw);
        Write(Nest2, Nest1 | Rw);
        for (ulong page = 0x3000; page < GuestA; page += 0x1000) SetNest(page, (Host + page) | Rw);
        SetNest(GuestA, FrameA | Rw);
        SetNest(GuestB, FrameB | Rw);
        WriteGuest(Guest5, Guest4 | Pwu);
        WriteGuest(Guest4, Guest3 | Pwu);
        WriteGuest(Guest3, Guest2 | Pwu);
        WriteGuest(Guest2, Guest1 | Pwu);
        SetGuest(1, GuestA | Pwu);
    }

    public RawScalable Vtd { get; }

    public VtdIommu<Ram, Hook> Iommu => Vtd.Iommu;

    public void Dispose()
    {
        if (_ownsVtd) Vtd.Dispose();
    }

    /// <summary>The entries of both PASIDs.</summary>
    public void SetPasid(ulong first, ulong third = Guest4 | Sre, ulong snoop = Snoop)
    {
        Vtd.SetPasid(GuestPasid, first, Domain | snoop, third);
        Vtd.SetPasid(OtherPasid, first, Domain | snoop, third);
    }

    public void Write(ulong address, ulong value) => Vtd.Write(address, value);

    /// <summary>A word of the guest's tables, by its address there.</summary>
    public void WriteGuest(ulong address, ulong value) => Write(Host + address, value);

    public ulong ReadGuest(ulong address) => Vtd.Read(Host + address);

    /// <summary>A last-level entry of the first 2 MiB of device addresses.</summary>
    public void SetGuest(ulong page, ulong entry) => WriteGuest(Guest1 + page * 8, entry);

    /// <summary>The last-level entry of a guest-physical page of the first 2 MiB.</summary>
    public void SetNest(ulong guest, ulong entry) => Write(NestOf(guest), entry);

    public static ulong NestOf(ulong guest) => Nest1 + (guest >> 12) * 8;

    /// <summary>The guest has set all flags that a walk could want.</summary>
    public void SetFlags()
    {
        foreach (ulong at in (ulong[])[Guest5, Guest4, Guest3, Guest2, Guest1 + 8]) WriteGuest(at, ReadGuest(at) | A | (at == Guest1 + 8 ? D : 0));
    }

    public void Goes(ulong iova, ulong expected, DeviceAccess access = DeviceAccess.Read, uint pasid = GuestPasid, bool privileged = false) =>
        Vtd.Goes(iova, expected, access, pasid, privileged);

    public void Faults(byte reason, ulong iova = 0x1000, DeviceAccess access = DeviceAccess.Read, bool privileged = false) =>
        Vtd.Faults(reason, iova, access, GuestPasid, privileged);
}

using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>Which IOMMUs a bench has.</summary>
public enum BenchKind
{
    /// <summary>Two formats, neither IOMMU caches what is absent.</summary>
    TwoFormats,

    /// <summary>Two formats, and one IOMMU caches what is absent.</summary>
    CachesAbsent,

    /// <summary>One of the formats demands break-before-make.</summary>
    BreakBeforeMake,

    /// <summary>Two formats, deferred flush.</summary>
    Deferred,

    /// <summary>The driver on a simulated VT-d.</summary>
    Vtd,

    /// <summary>The same, in caching mode.</summary>
    VtdCachingMode,

    /// <summary>The same in scalable mode: two formats, and a region that is a PASID.</summary>
    VtdScalable,

    /// <summary>The same, with devices that keep translations and ask for pages.</summary>
    VtdPageRequests,
}

/// <summary>
/// A manager with regions in which everything is there once: several formats, parts backed and not, large and small leaves, empty
/// tables, a bound, active and idle associations.
/// </summary>
internal sealed class FailureBench
{
    public const ulong Page = VcmManager.PageBytes;

    private readonly Ram _memory;
    private readonly FrameAllocator _allocator;
    private readonly List<IIommu> _iommus = [];
    private readonly List<(Association Association, BusMaster<Ram, NoSteps> Master, AtsDevice<Ram, NoSteps>? Ats)> _masters = [];
    private readonly bool _asksForPages;
    private readonly VtdIommu<Ram, NoSteps>? _simulator;
    private readonly VtdDriver<Ram>? _driver;
    private ulong _hardwareBytes;

    public FailureBench(BenchKind kind, RamBlock ram)
    {
        _memory = ram.Port;
        _allocator = new(ram.Range);
        Frames = new(_allocator, Memory);
        Manager = new(Frames, new() { Memory = _memory });
        LargeBytes = kind == BenchKind.BreakBeforeMake ? 64UL << 10 : 2UL << 20;
        _asksForPages = kind == BenchKind.VtdPageRequests;
        IsScalable = kind == BenchKind.VtdScalable || _asksForPages;
        if (IsScalable || kind is BenchKind.Vtd or BenchKind.VtdCachingMode)
        {
            VtdOptions hardware = IsScalable ? VtdOptions.Scalable : VtdOptions.Default with { CachingMode = kind == BenchKind.VtdCachingMode };
            _simulator = new(_memory, hardware with { DeviceTlbs = _asksForPages, PageRequests = _asksForPages });
            var registers = new FusedRegisters(_simulator, Hardware);
            _driver = VtdDriver<Ram>.Start(
                _memory,
                registers,
                Frames,
                new() { WaitPolicy = registers, Scalable = IsScalable, MaximumPasidCount = 1 << 10, PageRequestQueueBytes = _asksForPages ? 4096u : 0 });
            _iommus.AddRange([_driver, _driver, _driver]);
        }
        else
        {
            bool cachesAbsent = kind == BenchKind.CachesAbsent;
            TableFormat other = kind == BenchKind.BreakBeforeMake ? LedgerIommu.Odd : LedgerIommu.FirstStage;
            _iommus.Add(new LedgerIommu(_memory, Hardware, LedgerIommu.SecondStage) { CachesAbsent = cachesAbsent });
            _iommus.Add(new LedgerIommu(_memory, Hardware, other));
            _iommus.Add(new LedgerIommu(_memory, Hardware, LedgerIommu.SecondStage with { LevelCount = 3 }) { CachesAbsent = cachesAbsent });
        }

        Options = kind == BenchKind.Deferred ? new() { FlushQueue = new(new() { Time = new Cli.FakeClock() }) } : VcmOptions.Default;
        Build();
    }

    public Fuse Memory { get; } = new();

    public Fuse Hardware { get; } = new();

    public FusedFrames Frames { get; }

    public VcmManager Manager { get; }

    public VcmOptions Options { get; }

    public ulong LargeBytes { get; }

    public bool IsScalable { get; }

    public List<Vcm> Regions { get; } = [];

    /// <summary>All that were allocated and not freed, but those that a region names.</summary>
    public List<PhysicalAllocation> Memories { get; } = [];

    public List<Association> Associations { get; } = [];

    public Device Stranger { get; private set; } = null!;

    public Vcm Region => Regions[0];

    public Reservation Small { get; private set; }

    public Reservation Large { get; private set; }

    public Reservation Free { get; private set; }

    public Reservation OverEmptyTables { get; private set; }

    public Reservation ReadOnly { get; private set; }

    public Bound Bound { get; private set; } = null!;

    public Bound EmptyBound { get; private set; } = null!;

    public PhysicalAllocation FivePages { get; private set; } = null!;

    public PhysicalAllocation OneLarge { get; private set; } = null!;

    public Binding Binding { get; private set; }

    /// <summary>Everything that a refusal must not change.</summary>
    public string Picture
    {
        get
        {
            string[] lines =
            [
                RegionPicture.Of(Regions, Memories),
                .. Associations.Select(association => $"{association.Device} {(association.IsActive ? "active" : "idle")}"),
                .. _iommus.OfType<LedgerIommu>().Select(iommu => iommu.ToString()),
            ];
            return string.Join(Environment.NewLine, lines);
        }
    }

    /// <summary>Tables say what backings say, and what is not free is in use by somebody who is known.</summary>
    public void AssertSound()
    {
        ulong tablePages = TablePages();
        if (Options.FlushQueue is not null) return;
        ulong hardware = Frames.TotalBytes - Frames.FreeBytes - OwnedBytes - tablePages * Page;
        // A device that has an address space has tables of its own in scalable mode; else what the hardware was given at first is all.
        if (IsScalable) Assert.InRange(hardware, Page, _hardwareBytes + 4 * Page);
        else Assert.Equal(_hardwareBytes, hardware);
    }

    /// <summary>No device gets what its region does not grant; with <paramref name="all"/> it gets what is granted, too.</summary>
    public void AssertDevicesSee(bool all)
    {
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        foreach ((Association association, BusMaster<Ram, NoSteps> master, AtsDevice<Ram, NoSteps>? ats) in _masters)
        {
            PasidPrefix? prefix = association.Pasid is { } pasid ? new PasidPrefix(new(pasid.Value)) : null;
            Granted[] granted = association.IsActive ? [.. association.Vcm.Reservations.SelectMany(Granted.In)] : [];
            foreach (ulong page in Probes())
            {
                bool wasRead = ats is null ? master.Read(new(page), word, prefix).Ok : TryRead(ats, page, word, prefix);
                ulong seen = BitConverter.ToUInt64(word);
                int at = Array.FindIndex(granted, grant => page >= grant.First && page - grant.First < grant.Part.ByteCount);
                bool isGranted = at >= 0;
                if (wasRead && !isGranted) Assert.Fail($"{master.Source} reads 0x{page:x}, which is not backed");
                if (wasRead) Assert.Equal(_memory.Read64(granted[at].AddressAt(page)), seen);
                BitConverter.TryWriteBytes(word, seen);
                bool written = wasRead && (ats is null ? master.Write(new(page), word, prefix).Ok : Ends(ats.Write(new(page), word, prefix)));
                bool mayWrite = isGranted && (granted[at].Access & Access.Write) != 0;
                if (written && !mayWrite) Assert.Fail($"{master.Source} writes 0x{page:x}, which is read-only");
                if (all) Assert.Equal((isGranted, mayWrite), (wasRead, written));
            }
        }
    }

    /// <summary>A backed part of a reservation, by where it begins.</summary>
    private readonly record struct Granted(ulong First, BackedPart Part, Access Access)
    {
        public static IEnumerable<Granted> In(Reservation reservation)
        {
            ulong first = reservation.Range.First.Value;
            Access access = reservation.Attributes.Access;
            return reservation.BackedParts.Select(part => new Granted(first + part.Offset, part, access));
        }

        public PhysAddr AddressAt(ulong page) => Part.Memory.AddressAt(Part.MemoryOffset + (page - First));
    }

    private bool TryRead(AtsDevice<Ram, NoSteps> ats, ulong page, Span<byte> word, PasidPrefix? prefix)
    {
        DmaTransfer transfer = ats.Read(new(page), word.Length, prefix);
        bool completed = Ends(transfer);
        transfer.Data.CopyTo(word);
        return completed;
    }

    /// <summary>Whether the access is let through. One that waits is refused: no device has a hook.</summary>
    private bool Ends(DmaTransfer transfer)
    {
        if (transfer.Outcome == AccessOutcome.Stalled) Manager.DispatchFaults();
        Assert.NotEqual(AccessOutcome.Stalled, transfer.Outcome);
        return transfer.Outcome == AccessOutcome.Completed;
    }

    /// <summary>Ends everything; every frame comes back.</summary>
    public void TearDown()
    {
        PhysicalAllocation[] owned = [.. Owned()];
        foreach (Association association in Associations)
        {
            if (association.IsActive) association.Deactivate();
            association.TryDeassociate();
        }

        foreach (Vcm vcm in Regions)
        {
            foreach (Reservation reservation in vcm.Reservations)
            {
                while (reservation.TryUnmap() == VcmmError.Busy) reservation.Release();
            }

            foreach (Bound bound in vcm.Bounds) bound.Free();
            vcm.Flush();
            Assert.Equal(VcmmError.None, vcm.TryFree());
        }

        foreach (PhysicalAllocation memory in owned) Assert.Equal(VcmmError.None, memory.TryFree());
        _driver?.Stop();
        Assert.Equal(Frames.TotalBytes, Frames.FreeBytes);
    }

    private ulong TablePages()
    {
        TableFormat[] formats = [.. _iommus.SelectMany(iommu => iommu.Formats).Distinct()];
        return (ulong)Regions.Sum(vcm => RegionPicture.AssertTablesAgree(Manager, vcm, formats));
    }

    private ulong OwnedBytes => (ulong)Owned().Where(memory => !memory.IsWrapped).Sum(memory => (long)memory.ByteCount);

    private IEnumerable<PhysicalAllocation> Owned() =>
        Memories.Concat(Regions.SelectMany(vcm => vcm.Reservations).SelectMany(reservation => reservation.BackedParts).Select(part => part.Memory)).Distinct();

    private void Build()
    {
        var range = IovaRange.FromLength(new(0), 16 * LargeBytes);
        Regions.Add(Manager.CreateVcm(range, Options));
        Regions.Add(Manager.CreateVcm(range, Options));
        Join(Region, 0, 0x08).Activate();
        Join(Region, 1, 0x10, IsScalable ? new() { Format = _iommus[1].Formats[2] } : null).Activate();
        Join(Region, 0, 0x18, IsScalable ? new() { Format = _iommus[0].Formats[2], Pasid = new(5) } : null);
        Join(Regions[1], 1, 0x20);
        if (_driver is not null) _hardwareBytes = Frames.TotalBytes - Frames.FreeBytes - TablePages() * Page;
        Stranger = Manager.AddDevice(_iommus[2], new(0x28));

        ChunkSizes large = LargeBytes == 64 << 10 ? ChunkSizes.Size64K : ChunkSizes.Size2M;
        PhysicalAllocation shared = Allocate(16 * Page, ChunkSizes.Size4K, scattered: true);
        PhysicalAllocation behindLarge = Allocate(LargeBytes, large);
        FivePages = Allocate(5 * Page, ChunkSizes.Size4K, scattered: true);
        OneLarge = Allocate(LargeBytes, large);

        Small = Region.ReserveAt(new(3 * Page), 8 * Page);
        Small.Back(0, shared, 1 * Page, 3 * Page);
        Small.Back(5 * Page, shared, 4 * Page, 3 * Page);
        Large = Region.ReserveAt(new(LargeBytes), LargeBytes);
        Large.Back(behindLarge);
        Free = Region.ReserveAt(new(2 * LargeBytes + Page), 5 * Page);
        OverEmptyTables = Region.ReserveAt(new(4 * LargeBytes), LargeBytes);
        OverEmptyTables.Back(Page, FivePages, 0, Page);
        OverEmptyTables.Unback();
        Region.Flush();
        ReadOnly = Region.ReserveAt(new(6 * LargeBytes), 4 * Page, Access.Read);
        ReadOnly.Back(0, shared, 8 * Page, 4 * Page);
        Bound = Region.CreateBound(4 * Page);
        Bound.Reserve(Page).Back(0, shared, 12 * Page, Page);
        EmptyBound = Region.CreateBound(2 * Page);
        Regions[1].ReserveAt(new(7 * Page), 2 * Page).Back(0, shared, 13 * Page, 2 * Page);
        Binding = Region.Bind(2 * Page);
        foreach (PhysicalAllocation memory in Owned())
        {
            for (ulong at = 0; at < memory.ByteCount; at += Page) _memory.Write64(memory.AddressAt(at), memory.AddressAt(at).Value ^ 0xF00D);
        }

        AssertDevicesSee(all: true);
    }

    private PhysicalAllocation Allocate(ulong byteCount, ChunkSizes sizes, bool scattered = false)
    {
        PhysicalAllocation memory = Manager.Allocate(byteCount, sizes, scattered);
        Memories.Add(memory);
        return memory;
    }

    private Association Join(Vcm vcm, int iommu, uint device, AssociationOptions? options = null)
    {
        if (_asksForPages) _driver!.EnableAts(new(device), new() { PageRequests = true });
        Association association = vcm.Associate(Manager.AddDevice(_iommus[iommu], new(device)), options);
        Associations.Add(association);
        if (_simulator is not null)
        {
            AtsDevice<Ram, NoSteps>? ats = _asksForPages ? new(_simulator, _memory, new(device), new() { TlbEntries = 256 }) : null;
            _masters.Add((association, new(_simulator, _memory, new(device)), ats));
        }

        return association;
    }

    /// <summary>The pages where something is, was or may be, and their neighbours.</summary>
    private IEnumerable<ulong> Probes()
    {
        for (ulong page = 0; page < 24; page++) yield return page * Page;
        foreach (ulong large in (ulong[])[1, 2, 4, 5, 6])
        {
            for (ulong page = 0; page < 8; page++) yield return large * LargeBytes + page * Page;
        }
    }
}

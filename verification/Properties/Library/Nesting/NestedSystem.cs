using IommuSim;
using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Nesting;

/// <summary>A region of which guests have parts, and devices that go through the guests' tables.</summary>
internal sealed class NestedSystem : IDisposable
{
    public const ulong Page = VcmManager.PageBytes;

    /// <summary>Pages of the region that are backed at first: the first are for tables of guests, <see cref="Guest.TablePages"/> for each.</summary>
    public const ulong PageCount = 64, FirstDataPage = 16;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 4UL << 20));
    private uint _nextDevice = 0x20;

    public NestedSystem(bool cachesAbsent = false, bool tracksUse = false, VcmOptions? region = null, VtdOptions? hardware = null)
    {
        VtdOptions options = (hardware ?? VtdOptions.Scalable) with { Nesting = true, DeviceTlbs = true, PageRequests = true, CachingMode = cachesAbsent };
        Simulator = new(_ram.Port, options, new((step, detail) => OnStep(step, detail)));
        Frames = new(new FrameAllocator(_ram.Range), Allocations);
        var registers = new FusedRegisters(Simulator, Hardware);
        Driver = VtdDriver<Ram>.Start(
            _ram.Port, registers, Frames, new() { Scalable = true, PageRequestQueueBytes = 4096, MaximumPasidCount = 1 << 7, TracksUse = tracksUse, WaitPolicy = registers });
        Manager = new(Frames, new() { Memory = _ram.Port });
        Nested = Driver.Formats.First(static format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == 4);
        Region = Manager.CreateVcm(IovaRange.FromLength(new(0x4000_0000), 1 << 30), region);
        // A table of the region, so that guests' writes find their way.
        Region.Associate(Manager.AddDevice(Driver, new(0x10)));
        Pages = Region.ReserveAt(Region.Range.First, PageCount * Page);
        Behind = Manager.Allocate(PageCount * Page, ChunkSizes.Size4K, scattered: true);
        for (ulong page = FirstDataPage; page < PageCount; page++) Memory.Write64(Behind.AddressAt(page * Page), page);
        Pages.Back(Behind);
    }

    public Action<SimStep, ulong> OnStep { get; set; } = static (_, _) => { };

    public VtdIommu<Ram, StepHook> Simulator { get; }

    /// <summary>What fails where a test arms it: allocations, and what the driver tells the hardware.</summary>
    public Fuse Allocations { get; } = new();

    public Fuse Hardware { get; } = new();

    public FusedFrames Frames { get; }

    public VtdDriver<Ram> Driver { get; }

    public VcmManager Manager { get; }

    public TableFormat Nested { get; }

    public Vcm Region { get; }

    public Reservation Pages { get; }

    public PhysicalAllocation Behind { get; }

    public Ram Memory => _ram.Port;

    /// <summary>The address of a page of the region.</summary>
    public Iova At(ulong page) => Region.Range.First + page * Page;

    /// <summary>A guest with its tables in the region.</summary>
    public Guest AddGuest(ulong number = 0) => new(Memory, Region, At(number * Guest.TablePages), Nested);

    /// <summary>A device that goes through a guest's tables, if there is one, and then through the region's.</summary>
    public Probe Join(Guest? guest, uint? pasid = null, bool hasTlb = false, Vcm? region = null, bool asksForPages = false)
    {
        var id = new StreamId(_nextDevice++);
        if (hasTlb) Driver.EnableAts(id, new() { PageRequests = asksForPages });
        Association association = (region ?? Region).Associate(Manager.AddDevice(Driver, id), new() { Pasid = pasid is { } space ? new Pasid(space) : null, NestedTable = guest?.Table });
        association.Activate();
        AtsDevice<Ram, StepHook>? ats = hasTlb ? new(Simulator, Memory, id, new() { TlbEntries = 256, PageRequests = asksForPages, Refetches = true }) : null;
        return new(this, association, new(Simulator, Memory, id), ats);
    }

    public void Dispose() => _ram.Dispose();
}

/// <summary>A device of a <see cref="NestedSystem"/>, with a TLB or without.</summary>
internal sealed class Probe(NestedSystem system, Association association, BusMaster<Ram, StepHook> master, AtsDevice<Ram, StepHook>? ats)
{
    private readonly byte[] _word = new byte[sizeof(ulong)];

    public Association Association => association;

    public Device Device => association.Device;

    public AtsDevice<Ram, StepHook>? Ats => ats;

    public PasidPrefix? Prefix { get; } = association.Pasid is { } pasid ? new PasidPrefix(new(pasid.Value)) : null;

    /// <summary>The first word that it reads at an address; null if it is blocked.</summary>
    public ulong? Read(Iova at)
    {
        if (ats is null) return master.Read(at, _word, Prefix).Ok ? BitConverter.ToUInt64(_word) : null;
        DmaTransfer transfer = ats.Read(at, sizeof(ulong), Prefix);
        return transfer.Outcome == AccessOutcome.Completed ? BitConverter.ToUInt64(transfer.Data) : null;
    }

    /// <summary>The first word of a page of the guest's.</summary>
    public ulong? Read(ulong page) => Read(Guest.AddressOf(page));

    public bool Write(Iova at, ulong word) =>
        ats is null ? master.Write(at, BitConverter.GetBytes(word), Prefix).Ok : ats.Write(at, BitConverter.GetBytes(word), Prefix).Outcome == AccessOutcome.Completed;

    /// <summary>Writes to a page of the guest's.</summary>
    public bool Write(ulong page, ulong word) => Write(Guest.AddressOf(page), word);

    /// <summary>What hardware may do at any time.</summary>
    public bool Fetch(Iova at) => system.Simulator.Prefetch(Device.Id, at, Prefix);

    public void Invalidate(ulong first, ulong count = 1) => association.Invalidate(Guest.Pages(first, count));
}

using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// An IOMMU port without hardware behind it: it writes down what the library tells it, and lets a test look around, fail, or
/// do something else at that very moment.
/// </summary>
internal sealed class RecordingIommu(Ram memory, int levelCount = 4) : IIommu
{
    private uint _nextDomain = 1;

    public List<Call> Calls { get; } = [];

    /// <summary>Called in the middle of each call; what it returns is the outcome.</summary>
    public Func<Call, VcmmError> OnCall { get; set; } = static _ => VcmmError.None;

    public uint DomainLimit { get; set; } = 16;

    public IReadOnlyList<TableFormat> Formats { get; } = [new(VtdSecondStage.Encoding, levelCount, 0b1110)];

    public TableFormat Format => Formats[0];

    public uint PasidCount => 0;

    public uint HardwareVersion => 0x10;

    public IReadOnlyList<IovaRange> ReservedRegions { get; set; } = [];

    public bool CachesAbsent { get; set; }

    public bool CanIdentify(StreamId device) => device.Value <= 0xFFFF;

    public bool CanTranslate(TableFormat format, IovaRange range) => range.Last.Value < 1UL << (12 + 9 * levelCount);

    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => PageTable<VtdSecondStage, Ram>.Adopt(memory, format, root);

    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = PageTable<VtdSecondStage, Ram>.TryCreate(memory, frames, format, out PageTable<VtdSecondStage, Ram>? created);
        table = created;
        return error;
    }

    public VcmmError TryCreateDomain(out DomainId domain)
    {
        domain = new(_nextDomain);
        return _nextDomain++ > DomainLimit ? VcmmError.NoSpace : VcmmError.None;
    }

    public void ReleaseDomain(DomainId domain) => Record(new Released(domain));

    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table) => Record(new Attached(device, domain, table.Root));

    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => Record(new Detached(device, domain));

    /// <summary>Each command is a call of its own here; what fails first is the outcome.</summary>
    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        VcmmError outcome = VcmmError.None;
        foreach (Invalidation command in commands)
        {
            VcmmError error = Record(new Invalidated(command.Domain, command.Range, command.LeavesOnly));
            if (outcome == VcmmError.None) outcome = error;
        }

        return outcome;
    }

    public bool TryTakeFault(out DeviceFault fault)
    {
        fault = default;
        return false;
    }

    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException("nothing waits");

    private VcmmError Record(Call call)
    {
        Calls.Add(call);
        return OnCall(call);
    }

    internal abstract record Call;

    internal sealed record Attached(StreamId Device, DomainId Domain, PhysAddr Root) : Call;

    internal sealed record Detached(StreamId Device, DomainId Domain) : Call;

    internal sealed record Invalidated(DomainId Domain, IovaRange Range, bool LeavesOnly) : Call;

    internal sealed record Released(DomainId Domain) : Call;
}

/// <summary>Memory that runs out at a chosen allocation.</summary>
internal sealed class FailingFrames(IFrameSource frames) : IFrameSource
{
    /// <summary>How many more allocations succeed before one fails; the ones after it succeed again. Negative: none fails.</summary>
    public int AllocationsBeforeFailure { get; set; } = -1;

    public ulong TotalBytes => frames.TotalBytes;

    public ulong FreeBytes => frames.FreeBytes;

    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        block = default;
        return AllocationsBeforeFailure >= 0 && AllocationsBeforeFailure-- == 0 ? VcmmError.NoMemory : frames.TryAllocate(byteCount, out block);
    }

    public VcmmError TryFree(PhysAddr block) => frames.TryFree(block);
}

/// <summary>A manager over a little memory, with an IOMMU of each kind asked for.</summary>
internal sealed class SmallSystem : IDisposable
{
    public const ulong Page = VcmManager.PageBytes;
    public const ulong Large = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 16 * Large));
    private uint _nextDevice = 1;

    public SmallSystem()
    {
        Frames = new(new FrameAllocator(_ram.Range));
        Manager = new(Frames);
    }

    public FailingFrames Frames { get; }

    public VcmManager Manager { get; }

    public Ram Memory => _ram.Port;

    public RecordingIommu AddIommu(int levelCount = 4) => new(_ram.Port, levelCount);

    public Association Activate(Vcm vcm, RecordingIommu iommu)
    {
        Association association = vcm.Associate(AddDevice(iommu));
        association.Activate();
        return association;
    }

    public Device AddDevice(RecordingIommu iommu) => Manager.AddDevice(iommu, new StreamId(_nextDevice++));

    public Vcm CreateVcm() => Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));

    public static IPageTable TableOf(Vcm vcm, RecordingIommu iommu)
    {
        Assert.True(vcm.TryGetTable(iommu.Format, out IPageTable? table));
        return table!;
    }

    public void Dispose() => _ram.Dispose();
}

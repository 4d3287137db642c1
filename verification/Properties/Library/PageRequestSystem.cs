using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>What another agent does just before a step of the hardware.</summary>
internal readonly struct StepHook(Action<SimStep, ulong> action) : ISteps
{
    public void At(SimStep step, ulong detail) => action(step, detail);
}

/// <summary>A manager, the driver and a simulated VT-d whose devices have TLBs and ask for pages.</summary>
internal sealed class PageRequestSystem : IDisposable
{
    public const ulong Page = 4096;
    public const ulong RegionStart = 0x1000_0000;

    public static readonly VtdOptions Hardware = VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true };

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 32UL << 20));

    public PageRequestSystem(VtdOptions? options = null, uint queueBytes = 4096, uint pasidCount = 64)
    {
        Simulator = new(_ram.Port, options ?? Hardware, new((step, detail) => OnStep(step, detail)));
        Registers = new(Simulator);
        Frames = new(_ram.Range);
        Driver = VtdDriver<Ram>.Start(
            _ram.Port,
            Registers,
            Frames,
            new() { Scalable = true, PageRequestQueueBytes = queueBytes, MaximumPasidCount = pasidCount, WaitPolicy = Policy });
        Manager = new(Frames);
    }

    public Action<SimStep, ulong> OnStep { get; set; } = static (_, _) => { };

    public VtdIommu<Ram, StepHook> Simulator { get; }

    public HookedRegisters Registers { get; }

    public CountedPolicy Policy { get; } = new();

    public FrameAllocator Frames { get; }

    public VtdDriver<Ram> Driver { get; }

    public VcmManager Manager { get; }

    public Ram Memory => _ram.Port;

    /// <summary>A device with a TLB that asks for pages, known to manager and driver.</summary>
    public (Device Device, AtsDevice<Ram, StepHook> Hardware) AddDevice(uint id = 0x20, AtsDeviceOptions? options = null)
    {
        options ??= new();
        Driver.EnableAts(new(id), new() { PageRequests = options.PageRequests });
        return (Manager.AddDevice(Driver, new(id)), new(Simulator, Memory, new(id), options));
    }

    /// <summary>A region that is active as one of the device's address spaces.</summary>
    public (Vcm Region, Association Association) Activate(Device device, uint? pasid = null, int format = 0)
    {
        Vcm region = Manager.CreateVcm(IovaRange.FromLength(new(RegionStart), 1 << 28));
        Association association = region.Associate(
            device, new() { Pasid = pasid is { } value ? new Pasid(value) : null, Format = Driver.Formats[format] });
        association.Activate();
        return (region, association);
    }

    /// <summary>Memory of one page whose first byte is <paramref name="mark"/>.</summary>
    public PhysicalAllocation AllocateMarked(byte mark)
    {
        PhysicalAllocation memory = Manager.Allocate(Page);
        Memory.Write(memory.AddressAt(0), [mark]);
        return memory;
    }

    public static PasidPrefix? Prefix(uint? pasid) => pasid is { } value ? new PasidPrefix(new(value)) : null;

    public void Dispose() => _ram.Dispose();
}

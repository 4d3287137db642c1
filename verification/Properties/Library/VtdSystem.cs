using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The library's driver on a simulated VT-d, with everything between the two within a test's reach.</summary>
internal sealed class VtdSystem : IDisposable
{
    public const ulong Page = 4096;
    public const ulong Large = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 8 * Large));

    public VtdSystem(VtdOptions? options = null)
    {
        Simulator = new(_ram.Port, options ?? VtdOptions.Default);
        Registers = new(Simulator);
        Frames = new(_ram.Range);
        Driver = VtdDriver<Ram>.Start(_ram.Port, Registers, Frames, new() { WaitPolicy = Policy });
        Manager = new(Frames);
    }

    public VtdIommu<Ram, NoSteps> Simulator { get; }

    public HookedRegisters Registers { get; }

    public CountedPolicy Policy { get; } = new();

    public FrameAllocator Frames { get; }

    public VtdDriver<Ram> Driver { get; }

    public VcmManager Manager { get; }

    public Ram Memory => _ram.Port;

    /// <summary>A region with a device that is active in it.</summary>
    public (Vcm Vcm, Association Association, BusMaster<Ram, NoSteps> Device) CreateRegion(uint deviceId = 0x20)
    {
        Vcm vcm = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 32));
        Association association = vcm.Associate(Manager.AddDevice(Driver, new(deviceId)));
        association.Activate();
        return (vcm, association, new(Simulator, _ram.Port, new(deviceId)));
    }

    public void Dispose() => _ram.Dispose();
}

/// <summary>Gives up after so many polls, whatever the clock says; insists on being told how many there were, wait by wait.</summary>
internal sealed class CountedPolicy : IWaitPolicy
{
    private readonly List<int> _attempts = [];

    /// <summary>How often something was given back.</summary>
    public int GivenBackCount { get; private set; }

    public int Limit { get; set; } = 100;

    /// <summary>Called at each poll.</summary>
    public Action OnPoll { get; set; } = static () => { };

    public long Begin()
    {
        _attempts.Add(0);
        return _attempts.Count - 1;
    }

    public bool KeepWaiting(long begun, int attempt)
    {
        Assert.Equal(++_attempts[(int)begun], attempt);
        OnPoll();
        return attempt < Limit;
    }

    public void GivenBack() => GivenBackCount++;
}

/// <summary>Registers that a test can listen to and change on the way.</summary>
internal sealed class HookedRegisters(IMmio inner) : IMmio
{
    public const uint QueueTail = 0x88;

    /// <summary>Called before a 64-bit write reaches the hardware; false swallows it.</summary>
    public Func<uint, ulong, bool> BeforeWrite64 { get; set; } = static (_, _) => true;

    public Action<uint, uint> BeforeWrite32 { get; set; } = static (_, _) => { };

    public Func<uint, ulong, ulong> AfterRead64 { get; set; } = static (_, value) => value;

    public Func<uint, uint, uint> AfterRead32 { get; set; } = static (_, value) => value;

    public uint Read32(uint offset) => AfterRead32(offset, inner.Read32(offset));

    public ulong Read64(uint offset) => AfterRead64(offset, inner.Read64(offset));

    public void Write32(uint offset, uint value)
    {
        BeforeWrite32(offset, value);
        inner.Write32(offset, value);
    }

    public void Write64(uint offset, ulong value)
    {
        if (BeforeWrite64(offset, value)) inner.Write64(offset, value);
    }
}

using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Replaying;
using Explorer.Scheduling;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Spec;
using DeviceAccess = Vcmm.Spec.DeviceAccess;

namespace Explorer.Scripts;

// Who is at work in a schedule: devices and cores.
internal sealed partial class ScriptMachine
{
    private readonly CoreSides _coreSides;

    /// <summary>The cores; null: there are none.</summary>
    public ControlledCpus? Cpus { get; private set; }

    /// <summary>The machine gets cores.</summary>
    /// <param name="options">Which.</param>
    /// <param name="processCount">How many processes they may be in.</param>
    public ControlledCpus AddCpus(CpuOptions options, int processCount)
    {
        Cpus = _fault.MakeCpus(new(Pool, _coreSides, null, MemorySide.Device, _races), options, new ControlledSteps(_attempt));
        Cpus.AddressSpaceCount = (uint)processCount;
        Cpus.Races = _races;
        return Cpus;
    }

    /// <summary>The threads begin, or have ended.</summary>
    public void SetAtWork(bool isAtWork)
    {
        _isAtWork = isAtWork;
        if (isAtWork) _weak?.Begin();
        else _weak?.End();
        if (Cpus is not null) Cpus.IsAtWork = isAtWork;
    }

    /// <summary>What a device does in the schedule, in one address space, on one thread.</summary>
    /// <param name="ledger">What it is held to.</param>
    /// <param name="space">The address space, as the ledger knows it.</param>
    /// <param name="access">One of its accesses.</param>
    /// <param name="byteCount">How many bytes it moves at a time.</param>
    /// <param name="isLive">Whether a frame is handed out.</param>
    /// <param name="isMapped">Whether a page is mapped in a table that the device may have.</param>
    /// <param name="hasHook">Whether the device has a hook all the while.</param>
    public Accessor Play(Ledger ledger, StreamId space, DeviceAccess access, int byteCount, Func<PhysAddr, bool> isLive, Func<Iova, bool> isMapped, bool hasHook)
    {
        ScriptDevice device = _devices[access.Device.Number];
        var side = new DeviceSide(_attempt, ledger, space, isLive, isMapped);
        PasidPrefix? prefix = access.Pasid is { } given ? new(new(given), access.IsPrivileged) : null;
        DeviceMove move = device.Play(access.IsStray ? ScriptDevice.Nobody : device.Id, side, hasHook);
        return new(_attempt, ledger, side, space, (address, kind) => Ended(move(address, kind == Access.Write, new byte[byteCount], prefix)));
    }

    /// <summary>An access is over: whoever waits for a register, which shows that accesses have drained, may look again. A queue tells that by itself.</summary>
    private string? Ended(string? refusal)
    {
        if (!_hasQueue) Pump.GivenBack();
        return refusal;
    }

    /// <summary>What a core does in the schedule, in one process.</summary>
    /// <param name="ledger">What it is held to.</param>
    /// <param name="space">The core in the process, as the ledger knows it.</param>
    /// <param name="core">The core's number.</param>
    /// <param name="process">The process.</param>
    /// <param name="isLive">Whether a frame is handed out.</param>
    /// <param name="isMapped">Whether a page is mapped in the table that the process may have.</param>
    public Accessor PlayCore(Ledger ledger, StreamId space, int core, uint process, Func<PhysAddr, bool> isLive, Func<Iova, bool> isMapped)
    {
        var side = new DeviceSide(_attempt, ledger, space, isLive, isMapped);
        return new(_attempt, ledger, side, space, (address, kind) =>
        {
            _coreSides.Play(side);
            if (!Cpus!.Enter(core, process)) return "no table";
            CpuResult result = Cpus.Access(core, address, kind);
            return result.Ok ? null : $"{result.Outcome} {result.Code}";
        })
        {
            IsCore = true,
        };
    }

    /// <summary>Shows how the pages of a device stand in one address space.</summary>
    /// <param name="states">Where.</param>
    /// <param name="space">The address space, as the ledger knows it.</param>
    /// <param name="device">The device's number.</param>
    /// <param name="access">One of its accesses there; null: one without a PASID.</param>
    public void Show(PageStates states, StreamId space, int device, DeviceAccess? access) => states.AddDevice(
        space, access is { IsStray: true } ? ScriptDevice.Nobody : Devices[device].Id, access?.Pasid is { } pasid ? new Platform.Pasid(pasid) : null,
        _devices[device].Ats is { } ats ? ats.PeekTlb : null);

    /// <summary>Answers that devices got and did not wait for.</summary>
    public int UnexpectedAnswers
    {
        get
        {
            using (Controlled.Quietly()) return _devices.Sum(static device => device.Ats?.UnexpectedResponses ?? 0);
        }
    }

    /// <summary>Who else than the IOMMU may still use a block: TLBs of devices, and cores; null: nobody.</summary>
    public string? WhoElseReaches(PhysRange block)
    {
        foreach (ScriptDevice device in _devices)
        {
            foreach (DeviceTlbEntry entry in device.Ats?.Tlb ?? [])
            {
                if (PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block)) return $"the TLB of {device.Id} has {entry.Range} there";
            }
        }

        return Cpus?.WhoReaches(block);
    }
}

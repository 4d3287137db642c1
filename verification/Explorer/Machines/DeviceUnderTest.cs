using Explorer.Oracles;
using Explorer.Scheduling;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Machines;

/// <summary>A device: what the library knows of it, and the bus master that plays it.</summary>
public sealed class DeviceUnderTest
{
    private readonly Attempt _attempt;
    private readonly Ledger _ledger;
    private readonly DeviceSide _side;
    private readonly BusMaster<ControlledMemory, ControlledSteps> _master;

    internal DeviceUnderTest(
        Attempt attempt, Ledger ledger, DeviceSide side, BusMaster<ControlledMemory, ControlledSteps> master, Device device)
    {
        _attempt = attempt;
        _ledger = ledger;
        _side = side;
        _master = master;
        Device = device;
    }

    /// <summary>As the library knows it.</summary>
    public Device Device { get; }

    /// <summary>Reads or writes eight bytes, and holds the outcome to the ledger. One access of a device at a time.</summary>
    public void Access(Iova address, Access kind)
    {
        var page = new Iova(address.Value & ~(Ledger.PageBytes - 1));
        _attempt.Note(EventKind.Call, text: $"{kind} {page}");
        DeviceAccessWindow window = _ledger.Open(Device.Id, page, kind);
        _side.Window = window;
        _side.Moved = false;
        Span<byte> bytes = stackalloc byte[8];
        DmaResult result = kind == Vcmm.Access.Read ? _master.Read(address, bytes) : _master.Write(address, bytes);
        _side.Window = null;
        _ledger.Close(window);
        _attempt.Reach(result.Ok ? States.Moved : States.Blocked);
        _attempt.Note(EventKind.Return, text: $"{kind} {page} = {(result.Ok ? "done" : $"blocked, {result.Reason}")}");
        _attempt.Check(
            Invariant.TablesAreTruth, result.Ok ? _side.Moved : window.MayBeBlocked,
            () => $"{Device.Id} was blocked ({result.Reason}) from a {kind} at {page}", () => "mapped all the while, so let through");
    }
}

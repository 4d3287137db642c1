using Explorer.Oracles;
using Explorer.Scheduling;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Machines;

/// <summary>Moves eight bytes by way of the hardware.</summary>
/// <param name="address">Where.</param>
/// <param name="kind">Read or write.</param>
/// <returns>Null if they were moved, else why not.</returns>
internal delegate string? Transfer(Iova address, Access kind);

/// <summary>Whoever accesses memory through tables, and what it is held to: a device, or a core.</summary>
public sealed class Accessor
{
    private readonly Attempt _attempt;
    private readonly Ledger _ledger;
    private readonly DeviceSide _side;
    private readonly Transfer _transfer;

    internal Accessor(Attempt attempt, Ledger ledger, DeviceSide side, StreamId id, Transfer transfer)
    {
        _attempt = attempt;
        _ledger = ledger;
        _side = side;
        _transfer = transfer;
        Id = id;
    }

    /// <summary>As the ledger knows it.</summary>
    public StreamId Id { get; }

    /// <summary>Reads or writes eight bytes, and holds the outcome to the ledger. One access at a time.</summary>
    public void Access(Iova address, Access kind)
    {
        var page = new Iova(address.Value & ~(Ledger.PageBytes - 1));
        _attempt.Watcher?.Accesses(Id, page);
        _attempt.Note(EventKind.Call, text: $"{kind} {page}");
        DeviceAccessWindow window = _ledger.Open(Id, page, kind);
        _side.Window = window;
        _side.Moved = false;
        string? blocked = _transfer(address, kind);
        _side.Window = null;
        _ledger.Close(window);
        _attempt.Reach(blocked is null ? States.Moved : States.Blocked);
        _attempt.Note(EventKind.Return, text: $"{kind} {page} = {(blocked is null ? "done" : $"blocked, {blocked}")}");
        _attempt.Check(
            Invariant.TablesAreTruth, blocked is null ? _side.Moved : window.MayBeBlocked,
            () => $"{Id} was blocked ({blocked}) from a {kind} at {page}", () => "mapped all the while, so let through");
    }
}

/// <summary>A device: what the library knows of it, and the part of the simulator that plays it.</summary>
public sealed class DeviceUnderTest
{
    private readonly Accessor _accessor;

    internal DeviceUnderTest(Accessor accessor, Device device)
    {
        _accessor = accessor;
        Device = device;
    }

    /// <summary>As the library knows it.</summary>
    public Device Device { get; }

    /// <inheritdoc cref="Accessor.Access"/>
    public void Access(Iova address, Access kind) => _accessor.Access(address, kind);
}

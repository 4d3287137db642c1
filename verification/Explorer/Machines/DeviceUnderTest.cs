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

    /// <summary>Whether it is a core.</summary>
    internal bool IsCore { get; init; }

    /// <summary>Reads or writes eight bytes, and holds the outcome to the ledger. One access at a time.</summary>
    /// <returns>Whether it was let through.</returns>
    public bool Access(Iova address, Access kind)
    {
        var page = new Iova(address.Value & ~(Ledger.PageBytes - 1));
        _attempt.Note(EventKind.Call, text: $"{kind} {page}");
        return Make(address, kind, Begin(page, kind), null);
    }

    /// <summary>Moves bytes of two pages, and holds the outcome in each to the ledger. One access at a time.</summary>
    /// <param name="boundary">Where the second page begins.</param>
    /// <param name="byteCount">How many bytes there are, half of them in each page.</param>
    /// <param name="kind">Read or write.</param>
    /// <returns>Whether it was let through in both.</returns>
    public bool AccessAcross(Iova boundary, ulong byteCount, Access kind)
    {
        _attempt.Note(EventKind.Call, text: $"{kind} across {boundary}");
        DeviceAccessWindow first = Begin(new(boundary.Value - Ledger.PageBytes), kind);
        return Make(new(boundary.Value - byteCount / 2), kind, first, Begin(boundary, kind));
    }

    private DeviceAccessWindow Begin(Iova page, Access kind)
    {
        _attempt.Watcher?.Accesses(Id, page);
        return _ledger.Open(Id, page, kind);
    }

    private bool Make(Iova address, Access kind, DeviceAccessWindow window, DeviceAccessWindow? next)
    {
        _side.Window = window;
        _side.Next = next;
        _side.Moved = false;
        _attempt.Races?.BeginAccess(IsCore);
        string? blocked = _transfer(address, kind);
        _attempt.Races?.EndAccess();
        // Where it was blocked it had come to.
        DeviceAccessWindow last = _side.Window;
        last.WasBlocked = blocked is not null;
        bool isWhole = _side.Moved && _side.Next is null;
        _side.Window = null;
        _ledger.Close(window);
        if (next is not null) _ledger.Close(next);
        _attempt.Reach(blocked is null ? States.Moved : States.Blocked);
        string said = next is null ? $"{kind} {window.Page}" : $"{kind} across {next.Page}";
        _attempt.Note(EventKind.Return, text: $"{said} = {(blocked is null ? "done" : $"blocked, {blocked}")}");
        _attempt.Check(
            Invariant.TablesAreTruth, blocked is null ? isWhole : last.MayBeBlocked,
            () => $"{Id} was blocked ({blocked}) from a {kind} at {last.Page}", () => "mapped all the while, so let through");
        return blocked is null;
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

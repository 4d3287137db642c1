using Explorer.Races;
using Explorer.Scheduling;
using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>A driver with a fault; what the fault leaves running can be waited for.</summary>
/// <param name="inner">The driver as it should be.</param>
public abstract class FaultyIommu(IIommu inner) : PassingIommu(inner)
{
    private readonly List<Task> _underWay = [];
    private bool _isRunning;

    /// <summary>The threads start: from here on something may be left running.</summary>
    public void Start() => _isRunning = true;

    /// <summary>The threads have ended: waits for what was left running, and leaves nothing running any more.</summary>
    public void Stop()
    {
        Join();
        _isRunning = false;
    }

    /// <summary>Waits for what was left running.</summary>
    protected void Join()
    {
        Task.WaitAll(_underWay.ToArray());
        Edges.Entered(_underWay);
    }

    /// <summary>Leaves something running. Not before the start and after the end, where no scheduler would control it.</summary>
    protected VcmmError InBackground(Func<VcmmError> operation)
    {
        if (!_isRunning) return operation();
        // What was done before it was started comes before it, and what it does before the end of the wait for it.
        object start = new();
        Edges.Exits(start);
        _underWay.Add(Task.Run(() =>
        {
            // Else it would go by the name of whatever ran on this thread before.
            Attempt.Agent = "left running";
            Edges.Entered(start);
            VcmmError error = operation();
            Edges.Exits(_underWay);
            return error;
        }));
        return VcmmError.None;
    }
}

/// <summary>An invalidation is queued and not waited for.</summary>
internal sealed class ForgetSync(IIommu inner) : FaultyIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Invalidation[] queued = commands.ToArray();
        return InBackground(() => Inner.Invalidate(queued));
    }
}

/// <summary>What changes in a region is told to those of its domains in which no guest's table is nested.</summary>
internal sealed class ForgetsGuests(IIommu inner) : FaultyIommu(inner)
{
    private readonly HashSet<DomainId> _ofGuests = [];

    public override VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested)
    {
        lock (_ofGuests) _ofGuests.Add(domain);
        return Inner.AttachNested(device, pasid, domain, table, nested);
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Invalidation[] told;
        lock (_ofGuests) told = Array.FindAll(commands.ToArray(), command => !_ofGuests.Contains(command.Domain));
        return Inner.Invalidate(told);
    }
}

/// <summary>Only the first page of a range is invalidated.</summary>
internal sealed class FirstPageOnly(IIommu inner) : FaultyIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => Inner.Invalidate(Array.ConvertAll(
        commands.ToArray(), static command => command with { Range = IovaRange.FromLength(command.Range.First, VcmManager.PageBytes) }));
}

/// <summary>Tables are freed after an invalidation that leaves the walk caches alone.</summary>
internal sealed class LeavesOnly(IIommu inner) : FaultyIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) =>
        Inner.Invalidate(Array.ConvertAll(commands.ToArray(), static command => command with { LeavesOnly = true }));
}

/// <summary>A detach that the hardware did not confirm is told as done.</summary>
internal sealed class DetachesUnconfirmed(IIommu inner) : FaultyIommu(inner)
{
    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        VcmmError error = Inner.Detach(device, pasid, domain);
        return error == VcmmError.HardwareFailure ? VcmmError.None : error;
    }
}

/// <summary>An activation is in the address space that the association had when it was called, though it was changed before its turn came.</summary>
internal sealed class ActivatesAsBefore(IIommu inner) : FaultyIommu(inner)
{
    private readonly object _gate = new();
    private readonly Dictionary<string, Pasid?> _asked = [];
    private readonly Dictionary<(StreamId Device, DomainId Domain), Pasid?> _attached = [];

    /// <summary>The calling agent is going to activate.</summary>
    public void Ask(Association association)
    {
        Pasid? pasid = association.Pasid;
        lock (_gate) _asked[Attempt.Agent] = pasid;
    }

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        lock (_gate)
        {
            if (_asked.Remove(Attempt.Agent, out Pasid? asked)) pasid = asked;
            _attached[(device, domain)] = pasid;
        }

        return Inner.Attach(device, pasid, domain, table);
    }

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        lock (_gate) pasid = _attached[(device, domain)];
        return Inner.Detach(device, pasid, domain);
    }
}

/// <summary>Where a device is blocked that is attached to nothing, another is blamed that is attached.</summary>
internal sealed class BlamesAnother(IIommu inner) : FaultyIommu(inner)
{
    private StreamId? _attached;

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        _attached ??= device;
        return Inner.Attach(device, pasid, domain, table);
    }

    public override bool TryTakeFault(out DeviceFault fault)
    {
        if (!Inner.TryTakeFault(out fault)) return false;
        if (fault.Cause == FaultCause.NotAttached && _attached is { } another) fault = fault with { Device = another };
        return true;
    }
}

/// <summary>A fault is told again when it is followed by another.</summary>
internal sealed class TellsFaultsAgain(IIommu inner) : FaultyIommu(inner)
{
    private DeviceFault? _last;

    public override bool TryTakeFault(out DeviceFault fault)
    {
        if (!Inner.TryTakeFault(out fault)) return false;
        (DeviceFault? last, _last) = (_last, fault);
        if (last is { } again) fault = again;
        return true;
    }
}

/// <summary>Of two faults that are taken one after the other the second is lost.</summary>
internal sealed class LosesFaults(IIommu inner) : FaultyIommu(inner)
{
    public override bool TryTakeFault(out DeviceFault fault)
    {
        bool isThere = Inner.TryTakeFault(out fault);
        if (isThere) Inner.TryTakeFault(out _);
        return isThere;
    }
}

/// <summary>Whatever blocked an access, its fault says that the device is not attached.</summary>
internal sealed class MistakesCauses(IIommu inner) : FaultyIommu(inner)
{
    public override bool TryTakeFault(out DeviceFault fault)
    {
        bool isThere = Inner.TryTakeFault(out fault);
        if (isThere) fault = fault with { Cause = FaultCause.NotAttached };
        return isThere;
    }
}

/// <summary>Nothing is invalidated.</summary>
internal sealed class NeverInvalidates(IIommu inner) : FaultyIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => VcmmError.None;
}

/// <summary>A detach returns before the hardware has let go.</summary>
/// <param name="inner">The driver as it should be.</param>
/// <param name="ofPassagesAlone">Only one that ends that a device is let through.</param>
internal sealed class EarlyDetach(IIommu inner, bool ofPassagesAlone = false) : FaultyIommu(inner)
{
    private readonly HashSet<DomainId> _passing = [];

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        bool passes;
        lock (_passing) passes = _passing.Remove(domain);
        return passes || !ofPassagesAlone ? InBackground(() => Inner.Detach(device, pasid, domain)) : Inner.Detach(device, pasid, domain);
    }

    // The one thing that is wrong is when the detach returns, so the next attach must not meet it half done.
    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        Join();
        return Inner.Attach(device, pasid, domain, table);
    }

    public override VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain)
    {
        Join();
        lock (_passing) _passing.Add(domain);
        return Inner.AttachPassThrough(device, pasid, domain);
    }
}

/// <summary>Mapping needs no invalidation, it says, where the hardware caches that an address was not mapped.</summary>
internal sealed class ForgetAbsent(IIommu inner) : FaultyIommu(inner)
{
    public override bool CachesAbsent => false;
}

/// <summary>
/// An invalidation is left out while no attach of the domain has returned: nothing can be cached yet. But the device may
/// translate from the moment at which its context entry is written.
/// </summary>
internal sealed class SkipUnattached(IIommu inner) : FaultyIommu(inner)
{
    private int _attached;

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        VcmmError error = Inner.Attach(device, pasid, domain, table);
        if (error == VcmmError.None) Interlocked.Increment(ref _attached);
        return error;
    }

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        VcmmError error = Inner.Detach(device, pasid, domain);
        if (error == VcmmError.None) Interlocked.Decrement(ref _attached);
        return error;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) =>
        Volatile.Read(ref _attached) == 0 ? VcmmError.None : Inner.Invalidate(commands);
}

using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

// What is blocked, and what waits: how it is told, and how it ends.
public sealed partial class Behaviours
{
    private void AddAccesses(DeviceAccess access)
    {
        bool mayBeBlocked = _world.Faults.Count < _scope.Faults;
        AddAccess(access, mayBeBlocked);
        if (_scope.Waiting == 0) return;
        if (_world.Waiting.Count < _scope.Waiting) Add(access, [Outcome.Waits]);
        AddAccess(access with { MayAsk = false }, mayBeBlocked);
    }

    /// <summary>Faults are told in the order of the accesses, to the hooks of their devices.</summary>
    private void Dispatches()
    {
        var dispatch = new DispatchFaults();
        int count = _world.Faults.Count + _world.Waiting.Count;
        ImmutableArray<GivenFault>[] tellings = [.. TellingsFrom(0)];
        foreach (ImmutableArray<Ending> endings in EndingsFrom(0))
        {
            ImmutableArray<GivenFault> waited = [.. endings.Where(static ending => ending.Told is not null).Select(static ending => ending.Told!.Value)];
            ImmutableArray<EndedAccess> ended = [.. endings.Where(static ending => ending.End is not null).Select(static ending => ending.End!.Value)];
            Observation seen = Done with { FaultCount = count, Ended = ended };
            foreach (ImmutableArray<GivenFault> told in tellings)
            {
                Observation all = seen with { Faults = [.. told, .. waited], Acts = ActsOf(endings, told.Length) };
                Add(dispatch, all);
                if (!_world.Waiting.IsEmpty) Add(dispatch, all, _plain with { HardwareFails = true });
            }

            if (_world.Faults.IsEmpty) continue;
            seen = seen with { Faults = waited, Acts = ActsOf(endings, 0) };
            Add(dispatch, seen);
            Add(dispatch, seen with { FaultCount = _world.Waiting.Count, FaultsLost = true });
        }
    }

    /// <summary>What hooks did while they were told of accesses that wait.</summary>
    /// <param name="endings">What those came to.</param>
    /// <param name="before">How many faults were told before.</param>
    private ImmutableArray<HookAct> ActsOf(ImmutableArray<Ending> endings, int before) =>
    [
        .. endings.Where(static ending => ending.Told is not null)
            .Select((ending, i) => ending.Act is { } act ? new HookAct(before + i, act, Done, _plain) : null).OfType<HookAct>(),
    ];

    /// <summary>All ways to tell the faults, from one on, that have a hook to be told to: each with any cause that there is.</summary>
    private IEnumerable<ImmutableArray<GivenFault>> TellingsFrom(int index)
    {
        if (index == _world.Faults.Count) return [[]];
        PendingFault fault = _world.Faults[index];
        return _world.Hooked.Contains(fault.Device)
            ? from rest in TellingsFrom(index + 1)
              from cause in Enum.GetValues<FaultCauses>()
              select rest.Insert(0, new(fault.Device, fault.Device, fault.Page, fault.Access) { Pasid = fault.Pasid, Cause = cause })
            : TellingsFrom(index + 1);
    }

    /// <summary>Everything that the accesses that wait, from one on, can come to.</summary>
    private IEnumerable<ImmutableArray<Ending>> EndingsFrom(int index) => index == _world.Waiting.Count
        ? [[]]
        : from first in EndingsOf(_world.Waiting[index])
          from rest in EndingsFrom(index + 1)
          select rest.Insert(0, first);

    private IEnumerable<Ending> EndingsOf(WaitingAccess waiting)
    {
        DeviceAccess access = waiting.Access;
        var refused = new GivenFault(access.Device, access.Device, access.Address & ~(Page - 1), access.Kind) { Waits = true };
        GivenFault again = refused with { IsRetried = true };
        var failed = new EndedAccess(waiting.Number, Outcome.Fault, null);
        yield return new(refused, failed);
        yield return new(refused, null);
        yield return new(again, null);
        yield return new(again, failed);
        foreach (ulong frame in _frames) yield return new(again, new(waiting.Number, Outcome.None, frame));
        yield return new(again, new(waiting.Number, Outcome.None, Scope.Foreign.First));
        yield return new(null, failed);
        yield return new(null, null);
        foreach (BackPart act in BacksOf(access))
        {
            foreach (ulong frame in _frames) yield return new(again, new(waiting.Number, Outcome.None, frame), act);
            yield return new(again, null, act);
            yield return new(refused, failed, act);
        }
    }

    /// <summary>The ways to put a page behind what an access wants.</summary>
    private IEnumerable<BackPart> BacksOf(DeviceAccess access) =>
        from reservation in _world.Reservations
        where !reservation.Value.IsEnded && reservation.Value.Vcm == _world.ActiveVcmOf(access.Device) && reservation.Value.Range.Contains(access.Address)
        from memory in _world.Memories
        where !memory.Value.IsFreed
        select new BackPart(reservation.Key, (access.Address & ~(Page - 1)) - reservation.Value.Range.First, memory.Key, 0, Page);

    /// <summary>The end of an address space ends what waits in it.</summary>
    private void DeactivationsThatEnd(ObjectId association)
    {
        ObjectId device = _world.Associations[association].Device;
        ImmutableArray<EndedAccess> ended = [.. _world.Waiting.Where(waiting => waiting.Access.Device == device).Select(static waiting => new EndedAccess(waiting.Number, Outcome.Fault, null))];
        if (ended.IsEmpty) return;
        var deactivate = new Deactivate(association);
        Add(deactivate, Done with { Ended = ended });
        Add(deactivate, Refused[Outcome.HardwareFailure] with { Ended = ended }, _plain with { HardwareFails = true });
    }

    /// <summary>What an access that waits comes to when faults are told: what of it is told, how it ends, and what the hook does; null: nothing, and it does not.</summary>
    private readonly record struct Ending(GivenFault? Told, EndedAccess? End, Operation? Act = null);
}

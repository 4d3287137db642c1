using System.Collections.Immutable;
using Explorer.Machines;
using Explorer.Scheduling;
using Harness.Operations;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;
using DeviceAccess = Vcmm.Spec.DeviceAccess;

namespace Explorer.Scripts;

// Faults and page requests: who dispatches them, and what is left at the end.
internal sealed partial class ScriptRun
{
    /// <summary>The lane of who refuses what waits when nobody else is left.</summary>
    private const string LastAgent = "at last";

    private readonly HashSet<ObjectId> _hooked;
    private readonly Dictionary<string, int> _dispatching = [];

    // Asked for by tasks that wait, so plain: one task runs at a time.
    private int _left, _callersLeft;

    /// <summary>
    /// Where accesses wait for pages a dispatch begins as at an interrupt: when one waits of which nobody was told, or no device can ask for a page before that. Where software
    /// waits for interrupts it begins at one, and without one it does not.
    /// </summary>
    /// <returns>False if it does not.</returns>
    private bool AwaitRequest()
    {
        if (_script.Waits) Controlled.WaitUntil(() => IsCalledFor(_ledger.HasUntold) || _left - _callersLeft <= _machine.Paging.Waiting);
        return IsCalledFor(isThere: true);
    }

    /// <summary>Whether software knows that something is there.</summary>
    private bool IsCalledFor(bool isThere) => _subject.Events?.HasArrived ?? isThere;

    /// <summary>What a hook does is an operation of the thread that dispatches.</summary>
    private void NoteAct(int thread, Operation operation, Observation seen, int begun)
    {
        _history[thread].Add(new(operation, seen, begun, ++_clock) { MemoryFails = _subject.Mishaps.MemoryFailed, HardwareFails = _subject.Mishaps.HardwareFailed });
        if (operation is BackPart && seen.Outcome == Outcome.None) _attempt.Reach(States.Backed);
    }

    /// <summary>What still waits when nobody is left to dispatch is refused, so that every access ends.</summary>
    private void RefuseAtLast()
    {
        Attempt.Agent = LastAgent;
        while (true)
        {
            Controlled.WaitUntil(() => _left == 0 || (_callersLeft == 0 && IsCalledFor(_ledger.HasUnanswered)));
            // Of a schedule that has ended nobody is left either.
            if (_left == 0 || _attempt.IsOver) return;
            for (int device = 0; device < _machine.Devices.Count; device++) _subject.Do(new SetFaultHook(new(ObjectKind.Device, device), FaultHookKind.Refuse));
            _subject.Do(new DispatchFaults());
        }
    }

    /// <summary>What no hook was given by now it is given at last, or it was lost.</summary>
    private void DispatchLast()
    {
        _subject.Do(new DispatchFaults());
        HashSet<StreamId> spaces = [.. Operations(_script.Scenario.Threads).Select(static operation => operation as DeviceAccess ?? (operation as CrossingAccess)?.First).OfType<DeviceAccess>()
            .Where(access => !access.IsStray && !ScriptLimits.HasTlb(_script.Scenario.Topology, access.Device.Number) && _hooked.Contains(access.Device)).Select(access => ScriptEffects.SpaceOf(_machine.Devices[access.Device.Number].Id, access.Pasid))];
        _attempt.Check(Invariant.FaultExact, _ledger.MissingFault(spaces));
        int unexpected = _machine.UnexpectedAnswers;
        _attempt.Check(Invariant.FaultExact, unexpected == 0 || _subject.Mishaps.HasBeenUnheard, () => $"devices got {unexpected} answers that they did not wait for", () => "what waits is answered once");
    }

    private static IEnumerable<Operation> Operations(ImmutableArray<ImmutableArray<Step>> threads) => threads.SelectMany(static thread => thread).Select(static step => step.Operation);

    /// <summary>The devices that have a hook before the threads begin, which no thread takes away or changes.</summary>
    private static HashSet<ObjectId> HookedThroughout(Scenario scenario)
    {
        ObjectId[] changing = [.. Operations(scenario.Threads).OfType<SetFaultHook>().Select(static set => set.Device)];
        return [.. scenario.Steps.Select(static step => step.Operation).OfType<SetFaultHook>().GroupBy(static set => set.Device)
            .Where(set => set.Last().Kind != FaultHookKind.None && !changing.Contains(set.Key)).Select(static set => set.Key)];
    }
}

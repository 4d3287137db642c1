using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Harness.Scenarios;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Vtd;

namespace Harness.Running;

// Fault hooks.
public sealed partial class Subject
{
    private readonly Telling _one = new();
    private HandlingIommu? _handling;
    private ImmutableArray<VtdEvent> _dispatchesFor = [];
    private readonly Dictionary<string, Telling> _tellings = [];

    /// <summary>What the hooks are given by the dispatch that the caller is in: several may dispatch at once.</summary>
    private Telling Told
    {
        get
        {
            if (_parts.Caller is not { } caller) return _one;
            lock (_tellings) return CollectionsMarshal.GetValueRefOrAddDefault(_tellings, caller(), out _) ??= new();
        }
    }

    private Observation Do(SetFaultHook set)
    {
        _devices[set.Device.Number].FaultHook = set.Kind == FaultHookKind.None ? null : fault => _parts.AroundHook(fault, () => Answer(set, fault));
        return new(Outcome.None);
    }

    private FaultAnswer Answer(SetFaultHook set, in DeviceFault fault)
    {
        NoteEnded();
        bool isRetried = set.Kind == FaultHookKind.Back && fault.IsStalled ? TryBackFor(set.Device, fault) : set.Kind != FaultHookKind.Refuse;
        Told.Given.Add(new(set.Device, NameOf(fault), fault.Address.Value & ~(World.PageBytes - 1), (Permissions)fault.Access)
        {
            Pasid = fault.Pasid?.Value,
            Cause = CauseOf(fault),
            Waits = fault.IsStalled,
            IsRetried = fault.IsStalled && isRetried,
        });
        return isRetried ? FaultAnswer.Retry : FaultAnswer.Refuse;
    }

    /// <summary>What the manager's IOMMU is made of, and how it learns of faults.</summary>
    private IIommu StartEvents(Topology topology)
    {
        // Where nobody can listen software looks.
        if (topology.Events == EventUse.Polled || Events is not { } events) return Driver;
        foreach (VtdEvent source in events.Sources) events.Enable(Driver, source);
        _dispatchesFor = topology.Events == EventUse.Dispatched ? [.. events.Sources] : [];
        return topology.Events == EventUse.Handled ? _handling = new(Driver, events) : Driver;
    }

    /// <summary>Has the hooks told, where software waits for an interrupt if one has come. The handlers ask for themselves.</summary>
    private int Dispatch()
    {
        if (_dispatchesFor.IsEmpty) return _manager.DispatchFaults();
        VtdEvent[] begun = [.. _dispatchesFor.Where(Events!.TryBegin)];
        if (begun.Length == 0) return 0;
        try
        {
            return _manager.DispatchFaults();
        }
        finally
        {
            foreach (VtdEvent source in begun) Events.End(source);
        }
    }

    private Observation Do(DispatchFaults _)
    {
        Telling told = Told;
        told.Given.Clear();
        told.Acts.Clear();
        int count = Dispatch();
        bool isLost = _handling?.TakeOverflow() ?? Driver.TakeFaultOverflow();
        return new(Outcome.None) { Faults = [.. told.Given], FaultCount = count, FaultsLost = isLost, Acts = told.Acts.ToImmutable() };
    }

    private static FaultCauses CauseOf(in DeviceFault fault) => fault.Cause switch
    {
        FaultCause.NotAttached => FaultCauses.NotAttached,
        FaultCause.NotMapped => FaultCauses.NotMapped,
        FaultCause.NotPermitted => FaultCauses.NotPermitted,
        FaultCause.OutOfRange => FaultCauses.OutOfRange,
        FaultCause.Misprogrammed => FaultCauses.Misprogrammed,
        _ => FaultCauses.None,
    };

    private ObjectId NameOf(in DeviceFault fault)
    {
        for (int number = 0; number < Machine.Devices.Count; number++)
        {
            if (Machine.Devices[number].Id == fault.Device) return new(ObjectKind.Device, number);
        }

        return World.Nobody;
    }

    private sealed class Telling
    {
        public List<GivenFault> Given { get; } = [];

        public ImmutableArray<HookAct>.Builder Acts { get; } = ImmutableArray.CreateBuilder<HookAct>();
    }
}

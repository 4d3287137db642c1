using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

// Fault hooks.
public sealed partial class Subject
{
    private readonly List<GivenFault> _given = [];

    private Observation Do(SetFaultHook set)
    {
        _devices[set.Device.Number].FaultHook = set.Kind == FaultHookKind.None ? null : fault =>
        {
            NoteEnded();
            bool isRetried = set.Kind == FaultHookKind.Back && fault.IsStalled ? TryBackFor(set.Device, fault) : set.Kind != FaultHookKind.Refuse;
            _given.Add(new(set.Device, NameOf(fault), fault.Address.Value & ~(World.PageBytes - 1), (Permissions)fault.Access)
            {
                Pasid = fault.Pasid?.Value,
                Cause = CauseOf(fault),
                Waits = fault.IsStalled,
                IsRetried = fault.IsStalled && isRetried,
            });
            return isRetried ? FaultAnswer.Retry : FaultAnswer.Refuse;
        };
        return new(Outcome.None);
    }

    private Observation Do(DispatchFaults _)
    {
        _given.Clear();
        _acts.Clear();
        int count = _manager.DispatchFaults();
        bool isLost = Driver.TakeFaultOverflow();
        return new(Outcome.None) { Faults = [.. _given], FaultCount = count, FaultsLost = isLost, Acts = _acts.ToImmutable() };
    }

    private static FaultCauses CauseOf(in DeviceFault fault) => fault.Cause switch
    {
        FaultCause.NotAttached => FaultCauses.NotAttached,
        FaultCause.NotMapped => FaultCauses.NotMapped,
        FaultCause.NotPermitted => FaultCauses.NotPermitted,
        FaultCause.OutOfRange => FaultCauses.OutOfRange,
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
}

using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

// Fault hooks.
public sealed partial class Subject
{
    private readonly List<GivenFault> _given = [];

    private Observation Do(SetFaultHook set)
    {
        FaultAnswer answer = set.Kind == FaultHookKind.Retry ? FaultAnswer.Retry : FaultAnswer.Refuse;
        _devices[set.Device.Number].FaultHook = set.Kind == FaultHookKind.None ? null : fault =>
        {
            _given.Add(new(set.Device, NameOf(fault), fault.Address.Value & ~(World.PageBytes - 1), (Permissions)fault.Access) { Pasid = fault.Pasid?.Value });
            return answer;
        };
        return new(Outcome.None);
    }

    private Observation Do(DispatchFaults _)
    {
        _given.Clear();
        int count = _manager.DispatchFaults();
        bool isLost = Driver.TakeFaultOverflow();
        return new(Outcome.None) { Faults = [.. _given], FaultCount = count, FaultsLost = isLost };
    }

    private ObjectId NameOf(in DeviceFault fault)
    {
        for (int number = 0; number < Machine.Devices.Count; number++)
        {
            if (Machine.Devices[number].Id == fault.Device) return new(ObjectKind.Device, number);
        }

        return new(ObjectKind.Device, int.MaxValue);
    }
}

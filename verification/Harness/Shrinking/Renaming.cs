using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Shrinking;

/// <summary>Other names for the objects of a scenario.</summary>
internal static class Renaming
{
    /// <summary>The same scenario with objects of each kind counted from 0 in the order in which they come.</summary>
    public static Scenario FromZero(Scenario scenario)
    {
        var names = new Dictionary<ObjectId, ObjectId>();
        var next = new Dictionary<ObjectKind, int>();
        foreach (Step step in scenario.Steps)
        {
            foreach (ObjectId id in step.Operation.Uses) Name(id);
            if (step.Operation.Makes is { } made) Name(made);
        }

        return scenario with { Steps = [.. scenario.Steps.Select(step => step with { Operation = Rename(step.Operation, id => names[id]) })] };

        void Name(ObjectId id)
        {
            if (names.ContainsKey(id)) return;
            int number = next.GetValueOrDefault(id.Kind);
            names[id] = new(id.Kind, number);
            next[id.Kind] = number + 1;
        }
    }

    private static Operation Rename(Operation operation, Func<ObjectId, ObjectId> to) => operation switch
    {
        CreateVcm o => o with { Vcm = to(o.Vcm) },
        FreeVcm o => o with { Vcm = to(o.Vcm) },
        Reserve o => o with { Reservation = to(o.Reservation), Vcm = to(o.Vcm) },
        ReserveAt o => o with { Reservation = to(o.Reservation), Vcm = to(o.Vcm) },
        Unreserve o => o with { Reservation = to(o.Reservation) },
        FindReservation o => o with { Vcm = to(o.Vcm) },
        ListReservations o => o with { Vcm = to(o.Vcm) },
        AllocateMemory o => o with { Memory = to(o.Memory) },
        FreeMemory o => o with { Memory = to(o.Memory) },
        Back o => o with { Reservation = to(o.Reservation), Memory = to(o.Memory) },
        Unback o => o with { Reservation = to(o.Reservation) },
        Associate o => o with { Association = to(o.Association), Vcm = to(o.Vcm), Device = to(o.Device) },
        Deassociate o => o with { Association = to(o.Association) },
        Activate o => o with { Association = to(o.Association) },
        Deactivate o => o with { Association = to(o.Association) },
        Translate o => o with { Vcm = to(o.Vcm) },
        DeviceAccess o => o with { Device = to(o.Device) },
        _ => throw new ArgumentException($"{operation.GetType().Name} has no names that are known", nameof(operation)),
    };
}

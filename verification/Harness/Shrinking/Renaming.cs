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
            foreach (ObjectId id in step.Operation.Makes) Name(id);
        }

        return scenario with
        {
            Topology = scenario.Topology with { Devices = Renamed(scenario.Topology.Devices, names) },
            Steps = [.. scenario.Steps.Select(step => step with { Operation = Rename(step.Operation, To) })],
        };

        ObjectId To(ObjectId id) => id.Home is { } home ? names[id.Original].CopyIn(names[home]) : names[id];

        void Name(ObjectId id)
        {
            // What a copy goes back to, and where it is, are named already.
            if (id.Home is not null || names.ContainsKey(id)) return;
            int number = next.GetValueOrDefault(id.Kind);
            names[id] = new(id.Kind, number);
            next[id.Kind] = number + 1;
        }
    }

    /// <summary>The devices in the order of their new names; those without one come after.</summary>
    private static DeviceList Renamed(DeviceList devices, Dictionary<ObjectId, ObjectId> names) => new(
    [
        .. Enumerable.Range(0, devices.Count)
            .OrderBy(number => names.TryGetValue(new(ObjectKind.Device, number), out ObjectId name) ? name.Number : int.MaxValue)
            .Select(number => devices[number]),
    ]);

    /// <summary>The same scenario without a clone: what is done with it, and with what it holds, is done with what it is a copy of.</summary>
    public static Scenario WithoutClone(Scenario scenario, CloneVcm clone)
    {
        return scenario with
        {
            Steps = [.. scenario.Steps.Where(step => step.Operation != clone).Select(step => step with { Operation = Rename(step.Operation, To) })],
        };

        ObjectId To(ObjectId id) => id == clone.Vcm ? clone.Source : id.Home == clone.Vcm ? id.Original : id;
    }

    private static Operation Rename(Operation operation, Func<ObjectId, ObjectId> to) => operation switch
    {
        CreateVcm o => o with { Vcm = to(o.Vcm) },
        CloneVcm o => o with { Vcm = to(o.Vcm), Source = to(o.Source) },
        Adopt o => o with { Vcm = to(o.Vcm), Source = to(o.Source) },
        FreeVcm o => o with { Vcm = to(o.Vcm) },
        CreateBound o => o with { Bound = to(o.Bound), Vcm = to(o.Vcm) },
        FreeBound o => o with { Bound = to(o.Bound) },
        Reserve o => o with { Reservation = to(o.Reservation), In = to(o.In) },
        ReserveAt o => o with { Reservation = to(o.Reservation), In = to(o.In) },
        Unreserve o => o with { Reservation = to(o.Reservation) },
        Acquire o => o with { Reservation = to(o.Reservation) },
        Release o => o with { Reservation = to(o.Reservation) },
        SetAttributes o => o with { Reservation = to(o.Reservation) },
        FindReservation o => o with { Vcm = to(o.Vcm) },
        ListReservations o => o with { Vcm = to(o.Vcm) },
        AllocateMemory o => o with { Memory = to(o.Memory) },
        AllocateContiguous o => o with { Memory = to(o.Memory) },
        Wrap o => o with { Memory = to(o.Memory) },
        FreeMemory o => o with { Memory = to(o.Memory) },
        FindMappings o => o with { Memory = to(o.Memory) },
        Back o => o with { Reservation = to(o.Reservation), Memory = to(o.Memory) },
        BackPart o => o with { Reservation = to(o.Reservation), Memory = to(o.Memory) },
        Unback o => o with { Reservation = to(o.Reservation) },
        UnbackPart o => o with { Reservation = to(o.Reservation) },
        Map o => o with { Reservation = to(o.Reservation), Vcm = to(o.Vcm), Memory = to(o.Memory) },
        Unmap o => o with { Reservation = to(o.Reservation) },
        Bind o => o with { Reservation = to(o.Reservation), Memory = to(o.Memory), Vcm = to(o.Vcm) },
        Unbind o => o with { Vcm = to(o.Vcm), Reservation = to(o.Reservation), Memory = to(o.Memory) },
        Copy o => o with { Source = to(o.Source), Destination = to(o.Destination) },
        CollectUse o => o with { Reservation = to(o.Reservation) },
        Associate o => o with { Association = to(o.Association), Vcm = to(o.Vcm), Device = to(o.Device), Guest = o.Guest is { } guest ? to(guest) : null },
        ChangeAssociation o => o with { Association = to(o.Association), Guest = o.Guest is { } guest ? to(guest) : null },
        Deassociate o => o with { Association = to(o.Association) },
        Activate o => o with { Association = to(o.Association) },
        Deactivate o => o with { Association = to(o.Association) },
        PassThrough o => o with { Device = to(o.Device) },
        EndPassThrough o => o with { Device = to(o.Device) },
        CreateGuest o => o with { Guest = to(o.Guest), Reservation = to(o.Reservation) },
        GuestMap o => o with { Guest = to(o.Guest) },
        GuestUnmap o => o with { Guest = to(o.Guest) },
        GuestInvalidate o => o with { Association = to(o.Association) },
        Translate o => o with { Vcm = to(o.Vcm) },
        TranslateTo o => o with { Vcm = to(o.Vcm), Other = to(o.Other) },
        DeviceAccess o => o with { Device = to(o.Device) },
        CrossingAccess o => o with { Device = to(o.Device) },
        CoreAccess o => o with { Core = to(o.Core), Process = to(o.Process) },
        GoIdle o => o with { Core = to(o.Core) },
        Flush o => o with { Vcm = to(o.Vcm) },
        PollFlush or AdvanceTime or DispatchFaults => operation,
        SetFaultHook o => o with { Device = to(o.Device) },
        _ => throw new ArgumentException($"{operation.GetType().Name} has no names that are known", nameof(operation)),
    };
}

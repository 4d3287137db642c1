using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Running;

// What devices that are not plain ones have met.
public sealed partial class InterestingStates
{
    private static readonly string[] ReachedBy = [.. Enum.GetValues<DeviceKind>().Select(StateOf)];

    /// <summary>What is counted when a device of a kind has reached memory.</summary>
    public static string StateOf(DeviceKind kind) => $"a device of kind {kind} reached memory";

    /// <summary>Counts, after an operation that the model accepted, what became of accesses that wait.</summary>
    private void NoteWaiting(World before, Operation operation, Observation seen)
    {
        if (seen.Outcome == Outcome.Waits) counts.Reach("an access waited for a page");
        foreach (EndedAccess end in seen.Ended)
        {
            counts.Reach(operation is Deactivate ? "a deactivation ended what waited" : end.Outcome == Outcome.None ? "an access went on that had waited" : "an access was refused that had waited");
        }

        if (operation is DispatchFaults && seen.Faults.Any(fault => fault.IsRetried && before.Waiting.Any(waiting => waiting.Access.Device == fault.Device)) && seen.Ended.Length < before.Waiting.Count)
            counts.Reach("an access that was tried again waits again");
        if (seen.Acts.Any(static act => act is { Operation: BackPart, Seen.Outcome: Outcome.None })) counts.Reach("a hook backed a page");
    }

    /// <summary>Counts what became of a device that misbehaves, after an operation that the model accepted.</summary>
    public void NoteWild(Operation operation, Observation seen)
    {
        if (operation is CrossingAccess && seen.Outcome == Outcome.None) counts.Reach("a transfer crossed into a page that was mapped");
        if (operation is CrossingAccess && seen is { Outcome: Outcome.Fault, Reached: not null }) counts.Reach("a transfer stopped at the end of what was mapped");
        if (seen.Meanwhile.IsEmpty) return;
        bool wasIn = seen.Meanwhile.Any(static made => made.Outcome == Outcome.None), wasOut = seen.Meanwhile.Any(static made => made.Outcome == Outcome.Fault);
        if (wasOut) counts.Reach("a device was blocked while it was being detached");
        if (wasIn && wasOut) counts.Reach("a device got through, and then no more, while it was being detached");
    }

    private static bool IsInDeviceTlb(Subject subject, World world, Operation operation)
    {
        ObjectId? taken = operation switch
        {
            Unback o => o.Reservation,
            UnbackPart o => o.Reservation,
            Unmap o => o.Reservation,
            Unbind o => o.Reservation,
            SetAttributes o => o.Reservation,
            _ => null,
        };
        if (taken is not { } id || world.Reservations[id] is not { IsBacked: true, IsEnded: false } reservation) return false;
        for (int device = 0; device < world.Devices.Length; device++)
        {
            foreach (IommuSim.DeviceTlbEntry entry in subject.TlbOf(device))
            {
                if (reservation.Range.Contains(entry.Range.First.Value) && world.ActiveVcmOf(world.Devices[device], entry.Pasid?.Value) is { } vcm && world.OwnerOf(vcm) == reservation.Vcm) return true;
            }
        }

        return false;
    }

    private void NotePassing(World world, DeviceAccess access, Observation seen)
    {
        if (world.Passing.IsEmpty) return;
        bool passes = !access.IsStray && world.PassesThrough(access.Device, access.Pasid);
        if (passes && seen.Outcome == Outcome.None) counts.Reach(seen.Reached is null ? "a device that is let through read what is nobody's data" : access.Kind == Permissions.Write ? "a device that is let through wrote data" : "a device that is let through read data");
        if (!passes && seen.Outcome == Outcome.Fault) counts.Reach("a device was blocked beside one that is let through");
    }

    /// <summary>Counts, after a device's access that the model accepted.</summary>
    public void Note(World world, DeviceAccess access, Observation seen, DeviceKind kind)
    {
        if (seen.Reached is not null) counts.Reach(ReachedBy[(int)kind]);
        NotePassing(world, access, seen);
        NoteNested(world, access, seen);
        if (access.IsStray) counts.Reach("an access was made under nobody's id");
        if (access.IsPrivileged && world.Sees(access.Device, access.Address, access.Pasid) is { } meaning)
            counts.Reach(meaning.SupervisorOnly ? "a supervisor-only page kept a request with the privilege out" : "a request with supervisor privilege was kept out");
        if (world.ModelOf(access.Device).IsTranslated) return;
        if (world.ActiveVcmOf(access.Device) is { } vcm && world.Sees(access.Device, access.Address) is not null)
        {
            counts.Reach("a device without an IOMMU reached memory of its region");
            if (world.Associations.Values.Any(other => other.IsActive && other.Vcm == vcm && other.Kind != TableKind.Identity)) counts.Reach("devices with and without an IOMMU shared memory");
        }
        else if (seen.Outcome == Outcome.None)
        {
            counts.Reach("a device without an IOMMU reached what nobody gave it");
        }
    }
}

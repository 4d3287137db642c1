using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Machines;

/// <summary>The library's operations, told to the ledger before they begin and when they have returned.</summary>
/// <param name="attempt">Where calls are noted.</param>
/// <param name="machine">The machine.</param>
public sealed class Software(Attempt attempt, Machine machine)
{
    /// <summary>Memory in frames of 4 KiB.</summary>
    public PhysicalAllocation Allocate(ulong byteCount)
    {
        PhysicalAllocation? memory = null;
        Call($"allocate {byteCount >> 10}K", () => machine.Manager.TryAllocate(byteCount, Vcmm.Allocation.ChunkSizes.All, scattered: false, out memory));
        machine.NoteData(memory!);
        return memory!;
    }

    /// <summary>Gives memory back.</summary>
    public VcmmError Free(PhysicalAllocation memory)
    {
        // From here on the frames may be anything, a table of somebody's too.
        machine.NoteDataEnds(memory);
        VcmmError error = Call($"free {memory.Segments[0].First}", memory.TryFree);
        if (error != VcmmError.None) machine.NoteData(memory);
        return error;
    }

    /// <summary>Maps.</summary>
    public VcmmError Back(Reservation reservation, PhysicalAllocation memory)
    {
        (Vcm vcm, IovaRange range, Access access) = (reservation.Vcm, reservation.Range, reservation.Access);
        machine.Ledger.BeginMapping(vcm, range, access, memory.Segments);
        VcmmError error = Call($"back {range} with {memory.Segments[0].First}", () => reservation.TryBack(memory));
        machine.Ledger.EndMapping(vcm, range, access, memory.Segments, error == VcmmError.None);
        return error;
    }

    /// <summary>Unmaps.</summary>
    public VcmmError Unback(Reservation reservation)
    {
        (Vcm vcm, IovaRange range, Access access) = (reservation.Vcm, reservation.Range, reservation.Access);
        machine.Ledger.BeginMapping(vcm, range, access, null);
        VcmmError error = Call($"unback {range}", reservation.TryUnback);
        machine.Ledger.EndMapping(vcm, range, access, null, error == VcmmError.None);
        return error;
    }

    /// <summary>Lets the device through.</summary>
    public VcmmError Activate(Association association) => Switch(association, "activate", true, association.TryActivate);

    /// <summary>Shuts it out.</summary>
    public VcmmError Deactivate(Association association) => Switch(association, "deactivate", false, association.TryDeactivate);

    private VcmmError Switch(Association association, string verb, bool active, Func<VcmmError> operation)
    {
        StreamId device = association.Device.Id;
        machine.Ledger.BeginAssociation(device, association.Vcm, active);
        VcmmError error = Call($"{verb} {device}", operation);
        machine.Ledger.EndAssociation(device, association.Vcm, active, error == VcmmError.None);
        return error;
    }

    private VcmmError Call(string text, Func<VcmmError> operation)
    {
        attempt.Note(EventKind.Call, text: text);
        VcmmError error = operation();
        attempt.Note(EventKind.Return, text: $"{text} = {error}");
        return error;
    }
}

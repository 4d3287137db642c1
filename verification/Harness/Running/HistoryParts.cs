using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>Takes a concurrent history apart into such as have nothing to do with each other.</summary>
/// <remarks>
/// <para>Two operations belong together if they work on one object, or on objects of which the one lies in the other, backs it or is associated with it, at the start
/// or by an operation of the history: so a region, its bounds, reservations and associations, their devices, and the memory behind them are one part. Memory belongs
/// together if it shares a frame.</para>
/// <para>A history in which something waits for a flush, or may, is one part, since there is one quarantine for all regions; so is one in which faults are
/// recorded or told, since they are told in one order.</para>
/// </remarks>
internal sealed class HistoryParts
{
    private readonly Dictionary<ObjectId, ObjectId> _parents = [];

    private HistoryParts()
    {
    }

    /// <summary>The parts; each has all threads, and of each thread what belongs to it, in its order.</summary>
    /// <param name="start">The world in which the history begins.</param>
    /// <param name="history">What each thread has done.</param>
    public static ImmutableArray<ImmutableArray<ImmutableArray<HistoryEntry>>> Of(World start, ImmutableArray<ImmutableArray<HistoryEntry>> history)
    {
        ImmutableArray<HistoryEntry> all = [.. history.SelectMany(static thread => thread)];
        bool isOne = start.Vcms.Values.Any(static vcm => vcm.IsDeferred) || !start.Quarantine.IsEmpty || !start.Faults.IsEmpty || !start.Waiting.IsEmpty || all.Any(IsOfAll);
        if (isOne) return [history];
        var parts = new HistoryParts();
        parts.Join(start);
        foreach (HistoryEntry entry in all) parts.Join(entry.Operation);
        parts.JoinByFrames(start, all);
        return
        [
            .. all.Select(entry => parts.PartOf(entry.Operation)).Distinct()
                .Select(part => ImmutableArray.CreateRange(history, thread => ImmutableArray.CreateRange(thread.Where(entry => parts.PartOf(entry.Operation) == part)))),
        ];
    }

    private static bool IsOfAll(HistoryEntry entry) =>
        entry.Operation is CreateVcm { IsDeferred: true } or Flush or PollFlush or AdvanceTime or SetFaultHook or DispatchFaults or DeviceAccess;

    private void Join(World start)
    {
        foreach ((ObjectId id, VcmState vcm) in start.Vcms)
        {
            if (vcm.Adopted is { } adopted) Join(id, adopted.Owner);
        }

        foreach ((ObjectId id, BoundState bound) in start.Bounds) Join(id, bound.Vcm);
        foreach ((ObjectId id, ReservationState reservation) in start.Reservations)
        {
            Join(id, reservation.Vcm);
            foreach (BackedPart part in reservation.Parts) Join(id, part.Memory);
        }

        foreach ((ObjectId id, AssociationState association) in start.Associations)
        {
            Join(id, association.Vcm);
            Join(id, association.Device);
        }
    }

    private void Join(Operation operation)
    {
        ObjectId? first = null;
        foreach (ObjectId id in operation.Uses.Concat(operation.Makes))
        {
            first ??= id;
            Join(first.Value, id);
            // A copy lies in its clone, which is made from where the original lies.
            if (id.Home is { } home) Join(id, home);
        }
    }

    private void JoinByFrames(World start, ImmutableArray<HistoryEntry> all)
    {
        var frames = new List<(AddressRange Chunk, ObjectId Memory)>();
        foreach ((ObjectId id, MemoryState memory) in start.Memories)
        {
            foreach (AddressRange chunk in memory.Segments) frames.Add((chunk, id));
        }

        foreach (HistoryEntry entry in all)
        {
            foreach (ObjectId memory in entry.Operation.Makes.Where(static made => made.Kind == ObjectKind.Memory))
            {
                // A bind gives the range of its reservation first; a range too many joins what could be taken apart, and no more.
                foreach (AddressRange given in entry.Seen.Ranges) frames.Add((given, memory));
            }
        }

        for (int i = 0; i < frames.Count; i++)
        {
            for (int k = 0; k < i; k++)
            {
                if (frames[k].Chunk.Overlaps(frames[i].Chunk)) Join(frames[k].Memory, frames[i].Memory);
            }
        }
    }

    private ObjectId PartOf(Operation operation) => RootOf(operation.Uses.Concat(operation.Makes).First());

    private void Join(ObjectId one, ObjectId other) => _parents[RootOf(one)] = RootOf(other);

    private ObjectId RootOf(ObjectId id)
    {
        while (_parents.TryGetValue(id, out ObjectId parent) && parent != id) id = parent;
        return id;
    }
}

using System.Collections.Immutable;
using Harness.Foreign;
using IommuSim;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using BackedPart = Vcmm.BackedPart;
using DeviceAccess = Vcmm.Spec.DeviceAccess;

namespace Harness.Running;

// Devices that ask for pages: accesses that wait, and a hook that puts memory behind what they want.
public sealed partial class Subject
{
    private readonly List<(int Number, DeviceAccess Access, DmaTransfer Transfer)> _waiting = [];
    private readonly ImmutableArray<EndedAccess>.Builder _ended = ImmutableArray.CreateBuilder<EndedAccess>();
    private int _nextWaiting;
    private int _lastOfHooks = Scenarios.Scenario.FirstMemoryOfHooks - 1;

    /// <summary>What the TLB of a device holds; nothing where it has none, or cannot be looked into.</summary>
    public IReadOnlyList<DeviceTlbEntry> TlbOf(int device) => Machine.TlbOf(device);

    private Observation Begin(IPagingDevice device, DeviceAccess access)
    {
        Platform.Pasid? pasid = access.Pasid is { } given ? new(given) : null;
        DmaTransfer transfer = access.Kind == Permissions.Read
            ? device.BeginRead(new(access.Address), sizeof(ulong), pasid)
            : device.BeginWrite(new(access.Address), Stamps.Token, pasid);
        if (transfer.Outcome != AccessOutcome.Stalled) return Over(access, transfer);
        _waiting.Add((_nextWaiting++, access, transfer));
        return new(Outcome.Waits);
    }

    private Observation Over(DeviceAccess access, DmaTransfer transfer)
    {
        bool wasDone = transfer.Outcome == AccessOutcome.Completed;
        if (access.Kind == Permissions.Write) return Written(access, wasDone);
        return wasDone ? new(Outcome.None) { Reached = Stamps.WhereRead(transfer.Data) } : new(Outcome.Fault);
    }

    /// <summary>Looks which accesses are over that have waited: one after the other, so that what each wrote is found.</summary>
    private void NoteEnded()
    {
        for (int i = 0; i < _waiting.Count; i++)
        {
            (int number, DeviceAccess access, DmaTransfer transfer) = _waiting[i];
            if (transfer.Outcome == AccessOutcome.Stalled) continue;
            _waiting.RemoveAt(i--);
            Observation seen = Over(access, transfer);
            _ended.Add(new(number, seen.Outcome, seen.Reached));
        }
    }

    private Observation WithEnded(Observation seen)
    {
        if (_waiting.Count == 0 && _ended.Count == 0) return seen;
        NoteEnded();
        ImmutableArray<EndedAccess> ended = _ended.ToImmutable();
        _ended.Clear();
        return seen with { Ended = ended };
    }

    /// <summary>A page behind what the fault wants, if there is a reservation; whether the access should be tried again.</summary>
    private bool TryBackFor(ObjectId device, in DeviceFault fault)
    {
        if (FindActive(device, fault.Pasid) is not { } region || !region.TryFindReservation(fault.Address, out Reservation reservation)) return false;
        if (!TryRangeOf(reservation, out Platform.IovaRange range)) return false;
        ulong offset = (fault.Address.Value & ~(World.PageBytes - 1)) - range.First.Value;
        // What it wants is there: it may not have it.
        if (IsBackedAt(reservation, offset)) return true;

        ObjectId name, memory = new(ObjectKind.Memory, Interlocked.Increment(ref _lastOfHooks));
        lock (_gate) name = NameOf(reservation);
        // Whoever makes it has not returned yet: nobody can work on it by a name.
        if (!Has(name)) return false;
        if (Act(new AllocateMemory(memory, World.PageBytes, World.PageBytes, Scattered: false)).Outcome != Outcome.None) return false;
        if (Act(new BackPart(name, offset, memory, 0, World.PageBytes)).Outcome == Outcome.None) return true;
        Act(new FreeMemory(memory));
        // Another thread may have been faster.
        return IsBackedAt(reservation, offset);
    }

    private static bool IsBackedAt(Reservation reservation, ulong offset)
    {
        try
        {
            foreach (BackedPart part in reservation.BackedParts)
            {
                if (part.Offset <= offset && offset - part.Offset < part.ByteCount) return true;
            }
        }
        catch (VcmmException)
        {
            // Others have ended it meanwhile.
        }

        return false;
    }

    private Vcm? FindActive(ObjectId device, Platform.Pasid? pasid)
    {
        Association[] associations;
        lock (_gate) associations = [.. _associations.Values];
        // Asked of the library, which may wait: a controlled schedule that did so with the lock held would wait for ever.
        return Array.Find(associations, association => association.IsActive && association.Device == _devices[device.Number] && association.Pasid == pasid)?.Vcm;
    }

    private Observation Act(Operation operation)
    {
        Frames.Begin();
        ImmutableArray<ulong> free = [.. Frames.Banks.Select(Frames.FreeBytesOf)];
        Observation seen = _parts.Around(operation, DoNow) with { Quarantined = QuarantineCount };
        var surroundings = new Surroundings(free.Aggregate(static (sum, one) => sum + one), Mishaps.MemoryFailed, Mishaps.HardwareFailed) { FreeInBanks = free };
        Told.Acts.Add(new(Told.Given.Count, operation, seen, surroundings));
        return seen;
    }
}

using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

// Devices, look-ups and flushes.
public sealed partial class Behaviours
{
    private const ulong WordBytes = 8;

    private static readonly Permissions[] Kinds = [Permissions.Read, Permissions.Write];

    private void Associations()
    {
        ObjectId made = Next(ObjectKind.Association, _world.Associations);
        foreach (ObjectId device in _devices)
        {
            foreach (ObjectId vcm in _world.Vcms.Keys)
            {
                AddAssociate(new(made, vcm, device));
                if (_scope.Formats > 1) AddAssociate(new(made, vcm, device) { Kind = TableKind.FirstStage });
                AddNested(new(made, vcm, device));
            }

            bool isHooked = _world.Hooked.Contains(device);
            AddDone(new SetFaultHook(device, isHooked ? FaultHookKind.None : FaultHookKind.Refuse));
            if (!isHooked && _scope.Waiting != 0) AddDone(new SetFaultHook(device, FaultHookKind.Back));
        }

        Passages();
        foreach (ObjectId process in _world.Processes)
        {
            foreach (ObjectId vcm in _world.Vcms.Keys)
            {
                AddAssociate(new(made, vcm, process));
                AddNested(new(made, vcm, process));
            }
        }

        foreach (ObjectId association in _world.Associations.Keys)
        {
            AddDone(new Deassociate(association), Outcome.Invalid, Outcome.Busy);
            Changes(association);
            AddDone(new Activate(association), Outcome.Invalid, Outcome.Busy, Outcome.NoMemory, Outcome.HardwareFailure);
            AddDone(new Deactivate(association), Outcome.Invalid, Outcome.NotFound, Outcome.HardwareFailure);
            DeactivationsThatEnd(association);
            DeactivationsBeside(association);
        }
    }

    /// <summary>Devices are let through, whether or not they can be, and are there no more.</summary>
    private void Passages()
    {
        if (!_scope.PassThrough) return;
        foreach (ObjectId device in _devices)
        {
            AddDone(new PassThrough(device), Outcome.Invalid, Outcome.NoDevice, Outcome.Busy, Outcome.NoMemory, Outcome.HardwareFailure);
            AddDone(new PassThrough(device) { Pasid = 0 }, Outcome.Invalid);
            AddDone(new EndPassThrough(device), Outcome.NotFound, Outcome.HardwareFailure);
        }
    }

    /// <summary>An association is given what it has, the other kind of tables, and guests' tables.</summary>
    private void Changes(ObjectId association)
    {
        foreach (TableKind? kind in (ReadOnlySpan<TableKind?>)(_scope.Formats > 1 ? [null, TableKind.FirstStage] : [null]))
        {
            AddDone(new ChangeAssociation(association) { Kind = kind }, Outcome.Invalid, Outcome.Busy, Outcome.NoMemory);
            foreach (ObjectId guest in NestedGuests) AddDone(new ChangeAssociation(association) { Kind = kind, Guest = guest }, Outcome.Invalid, Outcome.Busy, Outcome.NoMemory);
        }
    }

    /// <summary>The device goes on reading meanwhile: it is let through, it is blocked, or first the one and then the other.</summary>
    private void DeactivationsBeside(ObjectId association)
    {
        AssociationState state = _world.Associations[association];
        if (!state.IsActive || state.Device.Kind != ObjectKind.Device || _scope.Waiting != 0) return;
        var deactivate = new Deactivate(association) { Meanwhile = new(state.Guest is null ? _world.Vcms[state.Vcm].Range.First : World.GuestFirst, Permissions.Read) };
        var blocked = new AccessSeen(Outcome.Fault, null);
        bool mayBeBlocked = _world.Faults.Count < _scope.Faults;
        if (mayBeBlocked) AddBeside([blocked]);
        foreach (ulong frame in _frames)
        {
            var reached = new AccessSeen(Outcome.None, frame);
            AddBeside([reached]);
            if (mayBeBlocked) AddBeside([reached, blocked]);
        }

        void AddBeside(ImmutableArray<AccessSeen> made)
        {
            Add(deactivate, Done with { Meanwhile = made });
            Add(deactivate, Refused[Outcome.HardwareFailure] with { Meanwhile = made }, _plain with { HardwareFails = true });
        }
    }

    private void AddAssociate(Associate associate) => AddDone(associate, Outcome.Invalid, Outcome.Busy, Outcome.NoMemory);

    private void Accesses()
    {
        foreach (ObjectId device in _devices)
        {
            ulong[] addresses = [.. AddressesFor(device)];
            foreach (ulong address in addresses)
            {
                foreach (Permissions kind in Kinds) AddAccesses(new DeviceAccess(device, address, kind));
            }

            AddCrossing(device, addresses);
        }

        foreach (ObjectId core in _world.Cores)
        {
            AddDone(new GoIdle(core));
            foreach (ObjectId process in _world.Processes)
            {
                // A page fault is the operating system's; it is not counted.
                foreach (ulong address in _world.ActiveVcmOf(process) is { } active ? AddressesOf(active) : _addresses)
                {
                    foreach (Permissions kind in Kinds) AddAccess(new CoreAccess(core, process, address, kind), mayBeBlocked: true);
                }
            }
        }

        Dispatches();
    }

    /// <summary>From the first page into the second: what one access can come to each half can.</summary>
    private void AddCrossing(ObjectId device, ulong[] addresses)
    {
        ulong boundary = addresses[0] + Page;
        if (!addresses.Contains(boundary)) return;
        var crossing = new CrossingAccess(device, boundary, Permissions.Read);
        const ulong offset = Page - WordBytes;
        if (_world.Faults.Count < _scope.Faults) Add(crossing, Refused[Outcome.Fault]);
        foreach (ulong frame in _frames)
        {
            if (_world.Faults.Count < _scope.Faults) Add(crossing, Refused[Outcome.Fault] with { Reached = frame + offset });
            foreach (ulong next in _frames) Add(crossing, Done with { Reached = frame + offset, ReachedNext = next });
        }
    }

    private void AddAccess(Operation access, bool mayBeBlocked)
    {
        if (mayBeBlocked) Add(access, Refused[Outcome.Fault]);
        foreach (ulong frame in _frames) Add(access, Done with { Reached = frame });
        Add(access, Done with { Reached = Scope.Foreign.First });
        if (_scope.PassThrough) Add(access, Done);
    }

    private void Queries()
    {
        foreach (ObjectId vcm in LiveVcms)
        {
            Add(new ListReservations(vcm), Done with { Ranges = [.. _world.ReservationsOf(vcm).Select(static reservation => reservation.Range)] });
            foreach (ulong address in AddressesOf(vcm))
            {
                var translate = new Translate(vcm, address);
                Add(translate, Refused[Outcome.Fault]);
                if (_world.MeaningOf(vcm, address) is { } meaning) Add(translate, Done with { Translation = meaning });
                var find = new FindReservation(vcm, address);
                Add(find, Refused[Outcome.NotFound]);
                foreach (ReservationState reservation in _world.ReservationsOf(vcm)) Add(find, Done with { Ranges = [reservation.Range] });
                foreach (ObjectId other in LiveVcms)
                {
                    var translateTo = new TranslateTo(vcm, address, other);
                    Add(translateTo, [Outcome.Fault, Outcome.NotFound]);
                    foreach (ulong at in AddressesOf(other)) Add(translateTo, Done with { Address = at });
                }
            }
        }

        foreach ((ObjectId id, MemoryState memory) in _world.Memories)
        {
            var find = new FindMappings(id, 0);
            Add(find, Done with { Places = [.. PlacesOf(memory.Segments[0].First)] });
            Add(find, [Outcome.NotFound]);
            Add(new FindMappings(id, memory.ByteCount), [Outcome.Invalid]);
        }

        Copies();
    }

    private IEnumerable<Place> PlacesOf(ulong frame) =>
        from reservation in _world.Reservations
        where !reservation.Value.IsEnded
        from mapping in _world.MappingsOf(reservation.Value)
        where mapping.Translation.Target == frame
        select new Place(reservation.Key, mapping.Range.First);

    /// <summary>Of the first word of reservations.</summary>
    private void Copies()
    {
        foreach (ObjectId source in _world.Reservations.Keys)
        {
            foreach (ObjectId destination in _world.Reservations.Keys)
            {
                var copy = new Copy(source, 0, destination, 0, WordBytes);
                Add(copy, [Outcome.Invalid, Outcome.Fault]);
                if (_world.Behind(source, 0, WordBytes).ToArray() is not [var from] || _world.Behind(destination, 0, WordBytes).ToArray() is not [var to]) continue;
                Add(copy, from == to ? Done : Done with { Moves = [new(to, from.First)] });
            }

            var collect = new CollectUse(source, 0, _world.Reservations[source].ByteCount, Use.Written, Clears: false);
            AddDone(collect, Outcome.Invalid);
        }
    }

    private void Flushing()
    {
        foreach (ObjectId vcm in LiveVcms) AddDone(new Flush(vcm), Outcome.HardwareFailure);
        AddDone(new PollFlush(), Outcome.HardwareFailure);
        if (!_world.Quarantine.IsEmpty) AddDone(new AdvanceTime(_world.Setup.Flush.FlushAtMilliseconds));
    }
}

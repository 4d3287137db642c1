using Vcmm.Spec;

namespace Harness.ModelChecking;

// Regions, bounds, reservations and memory.
public sealed partial class Behaviours
{
    private void Regions()
    {
        bool hasRoom = LiveVcms.Count() < _scope.Vcms;
        if (hasRoom)
        {
            AddDone(new CreateVcm(NextVcm, _scope.Region), Outcome.Invalid);
            if (_scope.Quarantine != 0) AddDone(new CreateVcm(NextVcm, _scope.Region) { IsDeferred = true }, Outcome.Invalid);
            AddDone(new CreateVcm(NextVcm, new(0, Page / 2)), Outcome.Invalid);
        }

        foreach (ObjectId vcm in _world.Vcms.Keys)
        {
            AddDone(new FreeVcm(vcm), Outcome.Invalid, Outcome.Busy);
            if (!hasRoom) continue;
            AddDone(new CloneVcm(NextVcm, vcm), Outcome.Invalid);
            AddDone(new Adopt(NextVcm, vcm), Outcome.Invalid);
            if (_scope.Formats > 1) AddDone(new Adopt(NextVcm, vcm) { Kind = TableKind.FirstStage }, Outcome.Invalid);
        }

        if (_world.Bounds.Values.Count(static bound => !bound.IsFreed) < _scope.Bounds)
        {
            ObjectId made = Next(ObjectKind.Bound, _world.Bounds);
            foreach (ObjectId vcm in _world.Vcms.Keys)
            {
                foreach (ulong length in _lengths.Take(2)) AddPlaced(new CreateBound(made, vcm, length, Page), length, Outcome.Invalid, Outcome.NoSpace);
                AddPlaced(new CreateBound(made, vcm, Page / 2, Page), Page / 2, Outcome.Invalid);
            }
        }

        foreach (ObjectId bound in _world.Bounds.Keys) AddDone(new FreeBound(bound), Outcome.Invalid, Outcome.Busy);
    }

    private bool IsEnded(ObjectId space) => space.Kind == ObjectKind.Bound ? _world.Bounds[space].IsFreed : _world.Vcms[space].IsFreed;

    /// <summary>What is taken anywhere: it may lie wherever the region has addresses.</summary>
    private void AddPlaced(Operation operation, ulong length, params ReadOnlySpan<Outcome> refusals)
    {
        foreach (ulong first in Addresses) Add(operation, Done with { Ranges = [RangeOf(first, length)] });
        Add(operation, refusals);
    }

    private void Reservations()
    {
        foreach (ObjectId space in (ObjectId[])[.. _world.Vcms.Keys, .. _world.Bounds.Keys])
        {
            if (IsEnded(space))
            {
                AddDone(new Reserve(NextReservation, space, Page, Permissions.Read, Page), [RangeOf(0, Page)], Outcome.Invalid, Outcome.NoSpace);
                AddDone(new ReserveAt(NextReservation, space, 0, Page, Permissions.Read), [RangeOf(0, Page)], Outcome.Invalid, Outcome.NoSpace);
                continue;
            }

            foreach (Attributes attributes in Grants)
            {
                foreach (ulong length in _lengths)
                {
                    AddPlaced(new Reserve(NextReservation, space, length, attributes, Page), length, Outcome.Invalid, Outcome.NoSpace);
                    foreach (ulong first in Addresses)
                    {
                        var reserve = new ReserveAt(NextReservation, space, first, length, attributes);
                        Add(reserve, Done with { Ranges = [RangeOf(first, length)] });
                        Add(reserve, [Outcome.Invalid, Outcome.NoSpace]);
                    }
                }
            }

            AddPlaced(new Reserve(NextReservation, space, Page, Permissions.None, Page), Page, Outcome.Invalid);
            AddPlaced(new Reserve(NextReservation, space, Page, Permissions.Execute, Page), Page, Outcome.Invalid);
        }

        foreach ((ObjectId id, ReservationState reservation) in _world.Reservations)
        {
            AddDone(new Unreserve(id), Outcome.Invalid, Outcome.Busy);
            if (reservation.OwnerCount < _scope.Owners) AddDone(new Acquire(id), Outcome.Invalid);
            AddDone(new Release(id), Outcome.Invalid, Outcome.Busy);
            foreach (Attributes attributes in (Attributes[])[.. Grants, Permissions.Execute])
            {
                if (attributes != reservation.Attributes) AddDone(new SetAttributes(id, attributes), Outcome.Invalid, Outcome.HardwareFailure);
            }
        }
    }

    private void Memory()
    {
        foreach (AddressRange[] chunks in _frameTuples)
        {
            var allocate = new AllocateMemory(NextMemory, (ulong)chunks.Length * Page, Page, Scattered: true);
            Add(allocate, Done with { Ranges = [.. chunks] });
            if (chunks.Length == 1) Add(new AllocateContiguous(NextMemory, Page, Page), Done with { Ranges = [.. chunks] });
        }

        Add(new AllocateMemory(NextMemory, Page, Page, Scattered: true), [Outcome.NoMemory]);
        Add(new AllocateMemory(NextMemory, 2 * Page, Page, Scattered: true), [Outcome.NoMemory]);
        AddDone(new AllocateMemory(NextMemory, Page / 2, Page, Scattered: true), Outcome.Invalid);
        Add(new AllocateContiguous(NextMemory, Page, Page), [Outcome.NoMemory]);
        bool isWrapped = _world.Memories.Values.Any(static memory => memory.IsWrapped && !memory.IsFreed);
        if (!isWrapped) AddDone(new Wrap(NextMemory, Scope.Foreign), Outcome.Invalid);
        AddDone(new Wrap(NextMemory, RangeOf(Scope.Foreign.First, Page / 2)), Outcome.Invalid);
        foreach (ObjectId memory in _world.Memories.Keys) AddDone(new FreeMemory(memory), Outcome.Invalid, Outcome.Busy);
    }

    private void Backing()
    {
        foreach ((ObjectId id, ReservationState reservation) in _world.Reservations)
        {
            foreach ((ObjectId behind, MemoryState memory) in _world.Memories)
            {
                // Wrong once is enough.
                if (reservation.IsEnded && memory.IsFreed) continue;
                AddDone(new Back(id, behind), Outcome.Invalid, Outcome.Busy, Outcome.NoMemory, Outcome.HardwareFailure);
                for (ulong offset = 0; offset < reservation.ByteCount && reservation.ByteCount > Page; offset += Page)
                {
                    for (ulong at = 0; at < memory.ByteCount; at += Page)
                        AddDone(new BackPart(id, offset, behind, at, Page), Outcome.Invalid, Outcome.Busy, Outcome.NoMemory, Outcome.HardwareFailure);
                }
            }

            AddDone(new Unback(id), Outcome.Invalid, Outcome.NotFound, Outcome.HardwareFailure);
            for (ulong offset = 0; offset < reservation.ByteCount && reservation.ByteCount > Page; offset += Page)
                AddDone(new UnbackPart(id, offset, Page), Outcome.Invalid, Outcome.NotFound, Outcome.NoMemory, Outcome.HardwareFailure);
            AddDone(new UnbackPart(id, reservation.ByteCount, Page), Outcome.Invalid);
        }
    }

    private void Conveniences()
    {
        foreach (ObjectId vcm in _world.Vcms.Keys)
        {
            if (IsEnded(vcm))
            {
                AddDone(new Map(NextReservation, vcm, _world.Memories.Keys[0], Permissions.ReadWrite, Page), [RangeOf(0, Page)], Outcome.Invalid, Outcome.NoMemory, Outcome.HardwareFailure);
                AddDone(new Bind(NextReservation, NextMemory, vcm, Page, Permissions.ReadWrite, Page, Scattered: true), [RangeOf(0, Page), _frameTuples[0][0]], Outcome.Invalid, Outcome.NoMemory, Outcome.HardwareFailure);
                continue;
            }

            foreach ((ObjectId behind, MemoryState memory) in _world.Memories)
                AddPlaced(new Map(NextReservation, vcm, behind, Permissions.ReadWrite, Page), memory.ByteCount, Outcome.Invalid, Outcome.NoSpace, Outcome.NoMemory, Outcome.HardwareFailure);
            foreach (AddressRange[] chunks in _frameTuples)
            {
                ulong length = (ulong)chunks.Length * Page;
                var bind = new Bind(NextReservation, NextMemory, vcm, length, Permissions.ReadWrite, Page, Scattered: true);
                foreach (ulong first in Addresses) Add(bind, Done with { Ranges = [RangeOf(first, length), .. chunks] });
            }

            Add(new Bind(NextReservation, NextMemory, vcm, Page, Permissions.ReadWrite, Page, Scattered: true), [Outcome.Invalid, Outcome.NoSpace, Outcome.NoMemory, Outcome.HardwareFailure]);
        }

        foreach ((ObjectId id, ReservationState reservation) in _world.Reservations)
        {
            AddDone(new Unmap(id), Outcome.Invalid, Outcome.Busy, Outcome.HardwareFailure);
            foreach (ObjectId behind in _world.Memories.Keys) AddDone(new Unbind(reservation.Vcm, id, behind), Outcome.Invalid, Outcome.Busy, Outcome.HardwareFailure);
        }
    }
}

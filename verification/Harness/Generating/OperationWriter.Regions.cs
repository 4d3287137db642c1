using Vcmm.Spec;

namespace Harness.Generating;

// Regions, bounds, reservations, and who is associated.
internal sealed partial class OperationWriter
{
    // Where the machines have memory: a one-to-one region spans all of it, or what is never a bank, or the start of the bank.
    private static readonly AddressRange[] OneToOneRanges = [new(0, 0x3FF_FFFF), new(0, 0x3FF_FFFF), new(0x380_0000, 0x380_FFFF), new(0x100_0000, 0x101_FFFF)];

    // By region: where the first that is taken anywhere ends.
    private readonly Dictionary<ObjectId, ulong> _topDown = [];

    private CreateVcm CreateVcm()
    {
        bool isOneToOne = _pcg.Next(6) == 0;
        ulong first = One(Origins);
        ulong byteCount = One<ulong>([16 * Page, 4 * Large, 4 * Large, 8 * Large, 1UL << 30]);
        if (Rarely()) first += 0x800;
        AddressRange range = isOneToOne ? One(OneToOneRanges) : new(first, first + byteCount - 1);
        ObjectId id = Make(ObjectKind.Vcm);
        // The table of a deferred region is not adopted.
        bool isDeferred = _pcg.Next(_isScalable ? 8u : 3) == 0;
        if (range.First % Page == 0) _vcms.Add((id, range, isOneToOne));
        if (range.First % Page == 0 && isDeferred) _deferred.Add(id);
        bool isTopDown = _pcg.Next(4) == 0;
        if (isTopDown) _topDown[id] = range.Last;
        return new(id, range, isOneToOne ? VcmKind.OneToOne : VcmKind.Device) { IsDeferred = isDeferred, IsTopDown = isTopDown };
    }

    private CloneVcm? CloneVcm()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId source, AddressRange range, bool isOneToOne) = Recent(_vcms);
        ObjectId id = Make(ObjectKind.Vcm);
        _vcms.Add((id, range, isOneToOne));
        if (_deferred.Contains(source)) _deferred.Add(id);
        if (_topDown.TryGetValue(source, out ulong last)) _topDown[id] = last;
        foreach (Reserved reservation in _reservations.FindAll(candidate => candidate.Vcm == source))
            _reservations.Insert(0, reservation with { Id = reservation.Id.CopyIn(id), Vcm = id });
        foreach ((ObjectId bound, _, ulong first, ulong byteCount) in _bounds.FindAll(candidate => candidate.Vcm == source))
            _bounds.Insert(0, (bound.CopyIn(id), id, first, byteCount));
        return new(id, source);
    }

    private FreeVcm? FreeVcm() => _vcms.Count == 0 ? null : new(One(_vcms).Id);

    private CreateBound? CreateBound()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId vcm, AddressRange range, _) = Recent(_vcms);
        // A few pages, so that it is full soon.
        ulong byteCount = Rarely() ? ByteCount() : _pcg.Next(6) == 0 ? 2 * Large : Page * (1 + _pcg.Next(6));
        ulong alignment = Rarely() ? One<ulong>([0, 3 * Page, 2UL << 30]) : One<ulong>([Page, Page, Page, Page, Chunk, Large]);
        ObjectId id = Make(ObjectKind.Bound);
        _bounds.Add((id, vcm, range.First, byteCount));
        return new(id, vcm, byteCount, alignment);
    }

    private FreeBound? FreeBound()
    {
        if (_bounds.Count == 0) return null;
        int index = Index(_bounds.Count);
        ObjectId bound = _bounds[index].Id;
        if (_pcg.Next(4) == 0) _bounds.RemoveAt(index);
        return new(bound);
    }

    private Reserve? Reserve()
    {
        if (TakeSpace() is not var (space, vcm, first)) return null;
        ulong byteCount = space.Kind == ObjectKind.Bound ? BytesInBound() : ByteCount();
        ulong alignment = byteCount >= Large && _pcg.Next(4) != 0 ? Large : One<ulong>([Page, Page, Page, Chunk, 1UL << 30]);
        if (Rarely()) alignment = One<ulong>([0, 3 * Page, 2UL << 30]);
        ObjectId id = Make(ObjectKind.Reservation);
        // Where it will be is the library's choice; first fit is the likeliest.
        if (space == vcm && _topDown.TryGetValue(vcm, out ulong last) && last - first >= byteCount) first = (last - byteCount + 1) & ~(Page - 1);
        _reservations.Add(new(id, vcm, first, byteCount));
        return new(id, space, byteCount, Attributes(), alignment);
    }

    private ReserveAt? ReserveAt()
    {
        if (TakeSpace() is not var (space, vcm, start)) return null;
        ulong byteCount = space.Kind == ObjectKind.Bound ? BytesInBound() : ByteCount();
        ulong offset = byteCount >= Large && _pcg.Next(4) != 0 ? Large * _pcg.Next(3) : Page * _pcg.Next(20);
        if (space.Kind == ObjectKind.Bound) offset = Page * _pcg.Next(4);
        ulong first = start + offset + (Rarely() ? 0x10UL : 0);
        ObjectId id = Make(ObjectKind.Reservation);
        _reservations.Add(new(id, vcm, first, byteCount));
        return new(id, space, first, byteCount, Attributes());
    }

    private Unreserve? Unreserve()
    {
        if (_reservations.Count == 0) return null;
        int index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        if (reservation.Memory is null && _pcg.Next(4) != 0) _reservations.RemoveAt(index);
        NoteEnd(reservation);
        return new(reservation.Id);
    }

    private Acquire? Acquire() => _reservations.Count == 0 ? null : new(Recent(_reservations).Id);

    private Release? Release() => _reservations.Count == 0 ? null : new(Recent(_reservations).Id);

    private SetAttributes? SetAttributes()
    {
        if (_reservations.Count == 0) return null;
        int index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0 || _pcg.Next(4) == 0) index = Index(_reservations.Count);
        return new(_reservations[index].Id, Attributes());
    }

    private Associate? Associate()
    {
        if (_vcms.Count == 0) return null;
        ObjectId id = Make(ObjectKind.Association);
        _associations.Add((id, false));
        ObjectId vcm = Recent(_vcms).Id;
        return _isScalable ? AssociateInScalableMode(id, vcm) : new(id, vcm, Device());
    }

    private Deassociate? Deassociate() => _associations.Count == 0 ? null : new(One(_associations).Id);

    private Activate? Activate()
    {
        if (_associations.Count == 0) return null;
        int index = _associations.FindLastIndex(association => !association.Active);
        if (index < 0 || _pcg.Next(5) == 0) index = Index(_associations.Count);
        _associations[index] = (_associations[index].Id, true);
        return new(_associations[index].Id);
    }

    private Deactivate? Deactivate()
    {
        if (_associations.Count == 0) return null;
        int index = _associations.FindLastIndex(association => association.Active);
        if (index < 0 || _pcg.Next(5) == 0) index = Index(_associations.Count);
        _associations[index] = (_associations[index].Id, false);
        return new(_associations[index].Id);
    }

    private Translate? Translate() => _vcms.Count == 0 ? null : new(Recent(_vcms).Id, Address());

    private TranslateTo? TranslateTo()
    {
        if (_vcms.Count == 0) return null;
        Reserved? backed = Shared() ?? _reservations.FindLast(reservation => reservation.Memory is not null);
        if (backed is null || Rarely()) return new(One(_vcms).Id, Address(), One(_vcms).Id);
        Reserved? other = _reservations.Find(candidate => candidate != backed && candidate.Memory == backed.Memory);
        ulong page = _pcg.Next(3) % Math.Max(1, backed.ByteCount / Page);
        return new(backed.Vcm, backed.First + Page * page, other?.Vcm ?? One(_vcms).Id);
    }

    private FindReservation? Find() => _vcms.Count == 0 ? null : new(Recent(_vcms).Id, Address());

    private ListReservations? List() => _vcms.Count == 0 ? null : new(One(_vcms).Id);

    private ulong BytesInBound() => Rarely() ? ByteCount() : Page * (1 + _pcg.Next(3));

    /// <summary>Where to reserve: a region, now and then a bound.</summary>
    private (ObjectId Space, ObjectId Vcm, ulong First)? TakeSpace()
    {
        if (_bounds.Count != 0 && _pcg.Next(3) == 0 && Recent(_bounds) is var (bound, vcm, first, _)) return (bound, vcm, first);
        return _vcms.Count == 0 ? null : Recent(_vcms) is var (id, range, _) ? (id, id, range.First) : null;
    }
}

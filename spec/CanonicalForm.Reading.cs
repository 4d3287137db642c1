using System.Collections.Immutable;

namespace Vcmm.Spec;

// From a form to a world.
public sealed partial class CanonicalForm
{
    /// <summary>A world of that form, with names of its own: the first that the blank world leaves free, in order.</summary>
    /// <param name="form">What <see cref="Of"/> gave, of a world with the same hardware and setup.</param>
    public World ToWorld(ReadOnlySpan<byte> form)
    {
        var reader = new FormReader(form);
        List<KeyValuePair<ObjectId, VcmState>> vcms = [.. _blank.Vcms];
        List<KeyValuePair<ObjectId, BoundState>> bounds = [.. _blank.Bounds];
        List<KeyValuePair<ObjectId, ReservationState>> reservations = [.. _blank.Reservations];
        int regionCount = reader.Get();
        for (int rank = 0; rank < regionCount; rank++)
        {
            ObjectId id = VcmAt(rank);
            VcmState vcm = ReadRegion(ref reader);
            vcms.Add(new(id, vcm));
            int firstBound = bounds.Count;
            for (int left = reader.Get(); left > 0; left--)
            {
                bool isFreed = reader.Get() != 0;
                bounds.Add(new(new(ObjectKind.Bound, bounds.Count), new(id, reader.GetRange(vcm.Range.First), isFreed)));
            }

            for (int left = reader.Get(); left > 0; left--)
                reservations.Add(new(new(ObjectKind.Reservation, reservations.Count), ReadReservation(ref reader, id, vcm.Range.First, firstBound)));
        }

        ulong now = _blank.Setup.Flush.FlushAtMilliseconds;
        ulong? failedAt = reader.Get() is var age && age != 0 ? now - ((ulong)age - 1) : null;
        var quarantine = ImmutableList.CreateBuilder<Quarantined>();
        for (int left = reader.Get(); left > 0; left--)
        {
            ulong since = now - (ulong)reader.Get();
            var reservation = new ObjectId(ObjectKind.Reservation, _blank.Reservations.Count + reader.Get());
            var behind = new ObjectId[reader.Get()];
            for (int i = 0; i < behind.Length; i++) behind[i] = MemoryAt(reader.Get());
            quarantine.Add(new(quarantine.Count, since, reservation, [.. behind], []));
        }

        List<KeyValuePair<ObjectId, MemoryState>> memories = [.. _blank.Memories];
        for (int left = reader.Get(); left > 0; left--) memories.Add(new(new(ObjectKind.Memory, memories.Count), ReadMemory(ref reader)));
        for (int i = 0; i < quarantine.Count; i++) quarantine[i] = quarantine[i] with { Stale = ReadStale(ref reader) };
        World world = _blank with
        {
            Vcms = ObjectMap<VcmState>.Of(vcms),
            Bounds = ObjectMap<BoundState>.Of(bounds),
            Reservations = ObjectMap<ReservationState>.Of(reservations),
            Memories = ObjectMap<MemoryState>.Of(memories),
            Quarantine = quarantine.ToImmutable(),
            Now = now,
            FlushFailedAt = failedAt,
            NextQuarantined = quarantine.Count,
        };
        return ReadUsers(ref reader, world with { Guests = ReadGuests(ref reader, world) });
    }

    private VcmState ReadRegion(ref FormReader reader)
    {
        int bits = reader.Get();
        AddressRange range = reader.GetRange(0);
        AdoptedTable? adopted = (bits & 32) == 0 ? null : new(VcmAt(reader.Get()), (TableKind)reader.Get());
        return new(range, (VcmKind)(bits & 3), (bits & 4) != 0) { IsDeferred = (bits & 8) != 0, IsTopDown = (bits & 16) != 0, Adopted = adopted };
    }

    private ReservationState ReadReservation(ref FormReader reader, ObjectId vcm, ulong first, int firstBound)
    {
        int bits = reader.Get();
        AddressRange range = reader.GetRange(first);
        int owners = reader.Get(), bound = reader.Get();
        var parts = new BackedPart[reader.Get()];
        for (int i = 0; i < parts.Length; i++)
        {
            ulong offset = reader.GetPages(), memoryOffset = reader.GetPages(), byteCount = reader.GetPages();
            parts[i] = new(offset, MemoryAt(reader.Get()), memoryOffset, byteCount);
        }

        return new(vcm, range, new((Permissions)(bits & 7), (bits & 8) != 0, (bits & 16) != 0, (CachePolicy)(bits >> 5)))
        {
            OwnerCount = owners >> 1,
            IsEnded = (owners & 1) != 0,
            Bound = bound == 0 ? null : new(ObjectKind.Bound, firstBound + bound - 1),
            Parts = ImmutableArray.Create(parts),
            Written = ReadUse(ref reader, first),
            Accessed = ReadUse(ref reader, first),
        };
    }

    private static NotedUse ReadUse(ref FormReader reader, ulong first)
    {
        RangeSet certain = ReadRanges(ref reader, first), possible = ReadRanges(ref reader, first);
        return possible.Ranges.IsEmpty ? NotedUse.None : new(certain, possible);
    }

    private static RangeSet ReadRanges(ref FormReader reader, ulong first)
    {
        RangeSet set = RangeSet.Empty;
        for (int left = reader.Get(); left > 0; left--) set = set.With(reader.GetRange(first));
        return set;
    }

    private MemoryState ReadMemory(ref FormReader reader)
    {
        int bits = reader.Get();
        var chunks = new AddressRange[bits >> 2];
        ulong byteCount = 0;
        for (int i = 0; i < chunks.Length; i++)
        {
            ulong first = ReadTarget(ref reader), length = reader.GetPages();
            chunks[i] = new(first, first + (length - 1));
            byteCount += length;
        }

        return new(byteCount, ImmutableArray.Create(chunks), (bits & 1) != 0, (bits & 2) != 0);
    }

    private ulong ReadTarget(ref FormReader reader) => reader.Get() is var label && label == 0 ? reader.GetPages() : _frames[label - 1];

    private ImmutableArray<Mapping> ReadStale(ref FormReader reader)
    {
        var stale = new Mapping[reader.Get()];
        for (int i = 0; i < stale.Length; i++)
        {
            AddressRange range = reader.GetRange(0);
            int bits = reader.Get();
            stale[i] = new(range, new(ReadTarget(ref reader), (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, (CachePolicy)(bits >> 4)));
        }

        return ImmutableArray.Create(stale);
    }

    private World ReadUsers(ref FormReader reader, World world)
    {
        List<KeyValuePair<ObjectId, AssociationState>> associations = [.. _blank.Associations];
        var hooked = ImmutableSortedSet.CreateBuilder<ObjectId>();
        var passing = ImmutableList.CreateBuilder<DeviceSpace>();
        var faults = new SortedList<int, PendingFault>();
        var waiting = new SortedList<int, WaitingAccess>();
        // They were written by class.
        foreach (ObjectId user in _usersByClass)
        {
            if (reader.Get() != 0) hooked.Add(user);
            for (int left = reader.Get(); left > 0; left--)
            {
                ObjectId vcm = VcmAt(reader.Get());
                int pasid = reader.Get(), rest = reader.Get(), guest = reader.Get();
                associations.Add(new(
                    new(ObjectKind.Association, associations.Count),
                    new(vcm, user, (rest & 1) != 0, (rest & 2) != 0)
                    {
                        Kind = (TableKind)(rest >> 3),
                        Pasid = ToPasid(pasid),
                        // Of one that was dropped it does not matter which.
                        Guest = guest != 0 ? GuestAt(guest) : (rest & 4) != 0 ? new(ObjectKind.Guest, 0) : null,
                        Untold = guest == 0 ? [] : ReadUntold(ref reader),
                    }));
            }

            for (int left = reader.Get(); left > 0; left--) passing.Add(new(user, ToPasid(reader.Get())));
            for (int left = reader.Get(); left > 0; left--)
            {
                int place = reader.Get();
                ulong page = reader.GetPages();
                int bits = reader.Get();
                faults.Add(place, new(user, page, (Permissions)(bits & 7), (bits & 8) != 0) { Pasid = ToPasid(reader.Get()), Causes = (FaultCauses)(bits >> 4) });
            }

            for (int left = reader.Get(); left > 0; left--)
            {
                int place = reader.Get();
                ulong address = reader.GetAddress();
                int bits = reader.Get();
                waiting.Add(place, new(place, new(user, address, (Permissions)(bits & 7)) { Pasid = ToPasid(reader.Get()), IsPrivileged = (bits & 8) != 0 }) { MayBeOver = (bits & 16) != 0 });
            }
        }

        return world with
        {
            Associations = ObjectMap<AssociationState>.Of(associations),
            Hooked = hooked.ToImmutable(),
            Passing = passing.ToImmutable(),
            Faults = [.. faults.Values],
            Waiting = [.. waiting.Values],
            NextWaiting = waiting.Count,
        };
    }

    private static uint? ToPasid(int written) => written == 0 ? null : (uint)written - 1;

    private ObjectId VcmAt(int rank) => new(ObjectKind.Vcm, _blank.Vcms.Count + rank);

    private ObjectId MemoryAt(int label) => new(ObjectKind.Memory, _blank.Memories.Count + label);
}

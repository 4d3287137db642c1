using System.Collections.Immutable;
using Harness.Foreign;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Bind = Vcmm.Spec.Bind;
using DeviceAccess = Vcmm.Spec.DeviceAccess;
using Map = Vcmm.Spec.Map;
using Reserve = Vcmm.Spec.Reserve;
using VcmKind = Vcmm.VcmKind;

namespace Harness.Running;

// How each operation is done, and what is seen of it.
public sealed partial class Subject
{
    private const int MostLooks = 1000;

    private Observation DoNow(Operation operation) => operation switch
    {
        CreateVcm o => Do(o),
        CloneVcm o => Do(o),
        Adopt o => Do(o),
        FreeVcm o => Seen(Of(_vcms, o.Vcm).TryFree()),
        CreateBound o => Do(o),
        FreeBound o => Seen(Of(_bounds, o.Bound).TryFree()),
        Reserve o => Do(o),
        ReserveAt o => Do(o),
        Unreserve o => Seen(Of(_reservations, o.Reservation).TryUnreserve()),
        Acquire o => Seen(Of(_reservations, o.Reservation).TryAcquire()),
        Release o => Seen(Of(_reservations, o.Reservation).TryRelease()),
        SetAttributes o => Seen(Of(_reservations, o.Reservation).TrySetAttributes(Wanted(o.Attributes))),
        FindReservation o => Do(o),
        ListReservations o => Do(o),
        AllocateMemory o => Allocated(o.Memory, _manager.TryAllocate(o.ByteCount, MemoryOptionsOf(o.ChunkSizes, o.Scattered, o.From), out PhysicalAllocation? made), made),
        AllocateContiguous o => Allocated(o.Memory, _manager.TryAllocateContiguous(o.ByteCount, o.Alignment, Request(o.From), out PhysicalAllocation? made), made),
        Wrap o => Do(o),
        FreeMemory o => Seen(Of(_memories, o.Memory).TryFree()),
        FindMappings o => Do(o),
        Back o => Seen(Of(_reservations, o.Reservation).TryBack(Of(_memories, o.Memory))),
        BackPart o => Seen(Of(_reservations, o.Reservation).TryBack(o.Offset, Of(_memories, o.Memory), o.MemoryOffset, o.ByteCount)),
        Unback o => Seen(Of(_reservations, o.Reservation).TryUnback()),
        UnbackPart o => Seen(Of(_reservations, o.Reservation).TryUnback(o.Offset, o.ByteCount)),
        Map o => Reserved(o.Reservation, Of(_vcms, o.Vcm).TryMap(Of(_memories, o.Memory), Wanted(o.Attributes), o.Alignment, out Reservation made), made),
        Unmap o => Seen(Of(_reservations, o.Reservation).TryUnmap()),
        Bind o => Do(o),
        Unbind o => Seen(Of(_vcms, o.Vcm).TryUnbind(new(Of(_reservations, o.Reservation), Of(_memories, o.Memory)))),
        Copy o => Do(o),
        CollectUse o => Do(o),
        Associate o => Do(o),
        ChangeAssociation o => Seen(Of(_associations, o.Association).TrySetOptions(OptionsOf(o.Kind, o.Pasid, o.Base, o.Split) with { NestedTable = NestedOf(o.Guest) })),
        Deassociate o => Seen(Of(_associations, o.Association).TryDeassociate()),
        Activate o => Seen(Of(_associations, o.Association).TryActivate()),
        Deactivate o => Do(o),
        PassThrough o => Seen(_devices[o.Device.Number].TryPassThrough(ToPasid(o.Pasid))),
        EndPassThrough o => Seen(_devices[o.Device.Number].TryEndPassThrough(ToPasid(o.Pasid))),
        CreateGuest o => Do(o),
        GuestMap o => Do(o),
        GuestUnmap o => WriteLeaf(o.Guest, o.Page, 0),
        GuestInvalidate o => Seen(Of(_associations, o.Association).TryInvalidate(new(new(o.Range.First), new(o.Range.Last)))),
        Translate o => Do(o),
        TranslateTo o => Do(o),
        DeviceAccess o => Do(o),
        CrossingAccess o => Do(o),
        CoreAccess o => Do(o),
        GoIdle o => Do(o),
        Flush o => Seen(Of(_vcms, o.Vcm).TryFlush()),
        PollFlush => Seen(_flushQueue.TryPoll()),
        AdvanceTime o => Do(o),
        SetFaultHook o => Do(o),
        DispatchFaults o => Do(o),
        _ => throw new ArgumentException($"{operation.GetType().Name} is not an operation that can be run", nameof(operation)),
    };

    private Observation Do(CreateVcm create)
    {
        var options = new VcmOptions
        {
            Kind = (VcmKind)create.Kind,
            FlushQueue = create.IsDeferred ? _flushQueue : null,
            Placement = create.IsTopDown ? Placement.TopDown : Placement.BottomUp,
        };
        VcmmError error = _manager.TryCreateVcm(new(new(create.Range.First), new(create.Range.Last)), options, out Vcm? made);
        if (made is not null) Put(_vcms, create.Vcm, made);
        return Seen(error);
    }

    private Observation Do(CloneVcm clone)
    {
        Vcm source = Of(_vcms, clone.Source);
        List<(ObjectId Id, IovaRange Range)> held = Held(source);
        VcmmError error = source.TryClone(out Vcm? made);
        if (made is null) return Seen(error);
        // Others may change the source meanwhile: what it held before, and what it holds now.
        held.AddRange(Held(source));
        var reservations = new List<(ObjectId, Reservation)>();
        var bounds = new List<(ObjectId, Bound)>();
        foreach ((ObjectId id, IovaRange range) in held)
        {
            if (id.Kind == ObjectKind.Reservation && made.TryFindReservation(range.First, out Reservation copy)) reservations.Add((id.CopyIn(clone.Vcm), copy));
            if (id.Kind == ObjectKind.Bound && made.Bounds.FirstOrDefault(bound => bound.Range == range) is { } own) bounds.Add((id.CopyIn(clone.Vcm), own));
        }

        lock (_gate)
        {
            _vcms[clone.Vcm] = made;
            foreach ((ObjectId id, Reservation copy) in reservations) _reservations[id] = copy;
            foreach ((ObjectId id, Bound own) in bounds) _bounds[id] = own;
        }

        return Seen(error);
    }

    /// <summary>What a region holds that has a name, and where.</summary>
    private List<(ObjectId Id, IovaRange Range)> Held(Vcm vcm)
    {
        IReadOnlyList<Reservation> there = vcm.Reservations;
        KeyValuePair<ObjectId, Bound>[] bounds;
        KeyValuePair<ObjectId, Reservation>[] reservations;
        lock (_gate) (bounds, reservations) = ([.. _bounds], [.. _reservations]);
        // Not under the gate: the library has locks of its own.
        List<(ObjectId, IovaRange)> held = [.. bounds.Where(bound => bound.Value.Vcm == vcm).Select(bound => (bound.Key, bound.Value.Range))];
        foreach (Reservation reservation in there)
        {
            if (TryRangeOf(reservation, out IovaRange range)) held.AddRange(reservations.Where(known => known.Value == reservation).Select(known => (known.Key, range)));
        }

        return held;
    }

    private static bool TryRangeOf(Reservation reservation, out IovaRange range)
    {
        try
        {
            range = reservation.Range;
            return true;
        }
        catch (VcmmException)
        {
            // Others have ended it meanwhile.
            range = default;
            return false;
        }
    }

    private Observation Do(ListReservations list)
    {
        Vcm vcm = Of(_vcms, list.Vcm);
        // As below: of what another thread has ended since nobody says where it was.
        for (int i = 0; i < MostLooks; i++)
        {
            var ranges = ImmutableArray.CreateBuilder<AddressRange>();
            bool areAll = true;
            foreach (Reservation reservation in vcm.Reservations)
            {
                areAll &= TryRangeOf(reservation, out IovaRange range);
                if (areAll) ranges.Add(Range(range));
            }

            if (areAll) return new(Outcome.None) { Ranges = ranges.ToImmutable() };
        }

        return new(Outcome.None) { Ranges = [.. vcm.Reservations.Select(static reservation => Range(reservation.Range))] };
    }

    private Observation Do(FindReservation find)
    {
        // What another thread ends between the two calls is looked for again; of what stays though it has ended the last look tells.
        Reservation found = default;
        for (int i = 0; i < MostLooks; i++)
        {
            if (!Of(_vcms, find.Vcm).TryFindReservation(new(find.Address), out found)) return new(Outcome.NotFound);
            if (TryRangeOf(found, out IovaRange range)) return new(Outcome.None) { Ranges = [Range(range)] };
        }

        return new(Outcome.None) { Ranges = [Range(found.Range)] };
    }

    private Observation Do(CreateBound create)
    {
        VcmmError error = Of(_vcms, create.Vcm).TryCreateBound(create.ByteCount, create.Alignment, out Bound? made);
        if (made is null) return Seen(error);
        // Other threads can end it as soon as it has a name.
        var seen = new Observation((Outcome)error) { Ranges = [Range(made.Range)] };
        Put(_bounds, create.Bound, made);
        return seen;
    }

    private Observation Do(Reserve reserve)
    {
        VcmmError error = reserve.In.Kind == ObjectKind.Bound
            ? Of(_bounds, reserve.In).TryReserve(reserve.ByteCount, Wanted(reserve.Attributes), reserve.Alignment, out Reservation made)
            : Of(_vcms, reserve.In).TryReserve(reserve.ByteCount, Wanted(reserve.Attributes), reserve.Alignment, out made);
        return Reserved(reserve.Reservation, error, made);
    }

    private Observation Do(ReserveAt reserve)
    {
        VcmmError error = reserve.In.Kind == ObjectKind.Bound
            ? Of(_bounds, reserve.In).TryReserveAt(new(reserve.First), reserve.ByteCount, Wanted(reserve.Attributes), out Reservation made)
            : Of(_vcms, reserve.In).TryReserveAt(new(reserve.First), reserve.ByteCount, Wanted(reserve.Attributes), out made);
        return Reserved(reserve.Reservation, error, made);
    }

    private Observation Do(Wrap wrap)
    {
        VcmmError error = _manager.TryWrap(new(new(wrap.Range.First), new(wrap.Range.Last)), out PhysicalAllocation? made);
        if (made is not null && Machine.Memory.Contains(made.Segments[0])) _wrapped.Add(made.Segments[0]);
        return Allocated(wrap.Memory, error, made);
    }

    private Observation Do(FindMappings find)
    {
        PhysicalAllocation memory = Of(_memories, find.Memory);
        if (find.Offset >= memory.ByteCount) return new(Outcome.Invalid);
        var found = new List<Vcmm.Mapping>();
        VcmmError error = _manager.TryFindMappings(memory.AddressAt(find.Offset), found);
        lock (_gate)
        {
            return new((Outcome)error)
            {
                Places = [.. found.Select(mapping => new Place(NameOf(mapping.Reservation), mapping.Address.Value)).Order()],
            };
        }
    }

    private Observation Do(Bind bind)
    {
        VcmmError error = Of(_vcms, bind.Vcm).TryBind(bind.ByteCount, Wanted(bind.Attributes), MemoryOptionsOf(bind.ChunkSizes, bind.Scattered, bind.From), out Binding made);
        if (error != VcmmError.None) return Seen(error);
        // Other threads can end the two as soon as they have names.
        AddressRange range = Range(made.Reservation.Range);
        Observation memory = Allocated(bind.Memory, error, made.Memory);
        Put(_reservations, bind.Reservation, made.Reservation);
        return memory with { Ranges = [range, .. memory.Ranges] };
    }

    /// <summary>Every word of the frames concerned is marked before, and looked at afterwards; elsewhere the marks of data are.</summary>
    private Observation Do(Copy copy)
    {
        IReadOnlySet<ulong> whole = Copied?.Invoke(copy) ?? new HashSet<ulong>();
        foreach (ulong frame in whole)
        {
            if (Machine.Memory.Contains(PhysRange.FromLength(new(frame), World.PageBytes))) Stamps.MarkWhole(frame);
        }

        VcmmError error = _manager.TryCopy(
            Of(_reservations, copy.Source), copy.SourceOffset, Of(_reservations, copy.Destination), copy.DestinationOffset, copy.ByteCount);
        var moves = ImmutableArray.CreateBuilder<Move>();
        IEnumerable<ulong> frames = (InUse?.Invoke() ?? []).SelectMany(FramesOf).Distinct().Order();
        foreach (ulong frame in frames) Stamps.FindMoves(frame, whole.Contains(frame), moves);
        return new((Outcome)error) { Moves = moves.ToImmutable() };
    }

    private Observation Do(Associate associate)
    {
        Vcm vcm = Of(_vcms, associate.Vcm);
        Device device = DeviceOf(associate.Device);
        AssociationOptions options = OptionsOf(associate.Kind, associate.Pasid, associate.Base, associate.Split) with { NestedTable = NestedOf(associate.Guest) };
        VcmmError error = options == AssociationOptions.Default ? vcm.TryAssociate(device, out Association? made) : vcm.TryAssociate(device, options, out made);
        if (made is not null) Put(_associations, associate.Association, made);
        return Seen(error);
    }

    private AssociationOptions OptionsOf(TableKind? kind, uint? pasid, Vcmm.Spec.TableBase @base, ulong? split) => new()
    {
        Format = kind is { } chosen ? FormatOf(chosen) : null,
        Pasid = pasid is { } space ? new Pasid(space) : null,
        Base = (Vcmm.TableBase)@base,
        Split = split is { } address ? new Iova(address) : null,
    };

    private Observation Do(Translate translate)
    {
        VcmmError error = Of(_vcms, translate.Vcm).TryTranslate(new(translate.Address), out Vcmm.Tables.Translation found);
        if (error != VcmmError.None) return Seen(error);
        return new(Outcome.None)
        {
            Translation = Seen(found),
        };
    }

    private Observation Do(TranslateTo translate)
    {
        VcmmError error = Of(_vcms, translate.Vcm).TryTranslate(new(translate.Address), Of(_vcms, translate.Other), out Iova found);
        return new((Outcome)error) { Address = error == VcmmError.None ? found.Value : null };
    }

    private Observation Do(DeviceAccess access)
    {
        IDmaDevice device = Machine.Devices[access.Device.Number];
        if (access.IsStray) device = ((IStrayDevice)device).Stray;
        if (access.IsPrivileged) device = ((IPrivilegedDevice)device).Privileged;
        if (access.MayAsk && _kinds[access.Device.Number] == DeviceKind.Paging && device is IPagingDevice paging) return Begin(paging, access);
        Pasid? pasid = access.Pasid is { } given ? new Pasid(given) : null;
        if (access.Kind == Permissions.Read)
        {
            Span<byte> word = stackalloc byte[sizeof(ulong)];
            return device.Read(new(access.Address), word, pasid) ? new(Outcome.None) { Reached = Stamps.WhereRead(word) } : new(Outcome.Fault);
        }

        return Written(access, device.Write(new(access.Address), Stamps.Token, pasid));
    }

    /// <summary>Looks for what a device wrote, and says so.</summary>
    private Observation Written(DeviceAccess access, bool wasDone)
    {
        ulong offset = access.Address % World.PageBytes;
        if (!wasDone) Stamps.NoteBlockedWrite(offset);
        ulong? reached = Expected?.Invoke(access) is { } expected && Stamps.TakeToken(expected) ? expected : wasDone ? Stamps.FindToken(offset) : null;
        var seen = new Observation(wasDone ? Outcome.None : Outcome.Fault) { Reached = reached };
        // Where other threads write, what looks like half of this may be half of theirs.
        if (_kinds[access.Device.Number] != DeviceKind.ScatterGather || Expected is null) return seen;
        if (reached is not null) return wasDone ? seen : seen with { ReachedNext = reached };
        (ulong? first, ulong? next) = Stamps.FindHalves(offset);
        return wasDone && (first is null || next is null) ? seen : seen with { Reached = first, ReachedNext = next };
    }

    private Observation Reserved(ObjectId id, VcmmError error, Reservation made)
    {
        if (error != VcmmError.None) return Seen(error);
        // Other threads can end it as soon as it has a name.
        var seen = new Observation(Outcome.None) { Ranges = [Range(made.Range)] };
        Put(_reservations, id, made);
        return seen;
    }

    private Observation Allocated(ObjectId id, VcmmError error, PhysicalAllocation? made)
    {
        if (made is null) return Seen(error);
        // Other threads can free it as soon as it has a name.
        ImmutableArray<AddressRange> chunks = [.. made.Segments.Select(segment => new AddressRange(segment.First.Value, segment.Last.Value))];
        lock (_gate)
        {
            foreach (AddressRange chunk in chunks) Stamps.MarkAll(chunk);
        }

        Put(_memories, id, made);
        return new((Outcome)error) { Ranges = chunks };
    }

    /// <summary>Under the gate.</summary>
    private ObjectId NameOf(Reservation reservation)
    {
        foreach ((ObjectId id, Reservation known) in _reservations)
        {
            if (known == reservation) return id;
        }

        // The call that makes it has not returned yet.
        int place = _nameless.IndexOf(reservation);
        if (place < 0)
        {
            place = _nameless.Count;
            _nameless.Add(reservation);
        }

        return new(ObjectKind.Reservation, int.MaxValue - place);
    }

    private IEnumerable<ulong> FramesOf(AddressRange range)
    {
        if (!Machine.Memory.Contains(new(new(range.First), new(range.Last)))) yield break;
        for (ulong frame = range.First; frame < range.Last; frame += World.PageBytes) yield return frame;
    }

    private static MemoryOptions MemoryOptionsOf(ulong chunkSizes, bool scattered, BankRequest from) =>
        new() { Sizes = (ChunkSizes)chunkSizes, Scattered = scattered, From = Request(from) };

    private static MemoryRequest Request(BankRequest from) => new(from.Type is { } type ? Topology.TypeOf(type) : null, from.MustBeCoherent);

    private static Pasid? ToPasid(uint? pasid) => pasid is { } given ? new(given) : null;

    private static Observation Seen(VcmmError error) => new((Outcome)error);
}

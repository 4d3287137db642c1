using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Scheduling;
using Harness.Running;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Bind = Vcmm.Spec.Bind;
using Map = Vcmm.Spec.Map;
using Reserve = Vcmm.Spec.Reserve;
using Violation = Explorer.Scheduling.Violation;

namespace Explorer.Scripts;

/// <summary>
/// What each operation of a script does to what devices may see: told to the ledger before the operation begins and when it has returned. Names are followed
/// by what calls gave, so that nothing is asked of the library, whose locks would order what should overlap.
/// </summary>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class ScriptEffects
{
    private const uint FirstCore = 0x1_0000, Privileged = 0x8000_0000;

    private readonly Dictionary<ObjectId, (ObjectId Vcm, IovaRange Range)> _reservations = [];
    private readonly Dictionary<ObjectId, ObjectId> _bounds = [];
    private readonly Dictionary<ObjectId, PhysRange[]> _memories = [];
    private readonly Dictionary<ObjectId, AddressRange> _regions = [];
    private readonly HashSet<ObjectId> _deferred = [];
    private readonly Dictionary<ObjectId, ObjectId> _owners = [];
    private readonly HashSet<ObjectId> _processes = [];
    private readonly List<(ObjectId Reservation, ObjectId Vcm, IovaRange Range)> _taken = [];
    private readonly List<PhysRange> _data = [];
    private readonly List<PhysRange> _foreign = [];
    private readonly Endings _endings = new();
    private readonly Attempt _attempt;
    private readonly Ledger _ledger;
    private readonly Func<Subject> _subject;
    private readonly bool _mayInvent;
    private readonly Func<int, bool> _hasTlb;
    private readonly AssociationBook _associations;
    private int _unheardCount;

    /// <summary>Of one schedule.</summary>
    /// <param name="attempt">Where checks go.</param>
    /// <param name="ledger">What devices may see.</param>
    /// <param name="subject">The library.</param>
    /// <param name="mayInvent">Whether collections may tell of what nobody did, since hardware fetches ahead.</param>
    /// <param name="hasTlb">Whether the device of a number has a TLB of its own.</param>
    public ScriptEffects(Attempt attempt, Ledger ledger, Func<Subject> subject, bool mayInvent, Func<int, bool> hasTlb)
    {
        (_attempt, _ledger, _subject, _mayInvent, _hasTlb) = (attempt, ledger, subject, mayInvent, hasTlb);
        _associations = new(attempt, ledger, subject, OwnerOf);
    }

    /// <summary>Memory that is data: from the return of the call that takes it to the beginning of the one that frees it.</summary>
    public IReadOnlyList<PhysRange> Data => _data;

    /// <summary>Whether a frame is of memory that was handed in: the library cannot free it.</summary>
    public bool IsForeign(PhysAddr frame) => _foreign.Exists(range => range.Contains(frame));

    /// <summary>The address space of a device, as the ledger knows it: where no requester id can be, for requests with a PASID.</summary>
    public static StreamId SpaceOf(StreamId device, uint? pasid) => pasid is { } given ? new(0x10_0000 + (given << 16) + device.Value) : device;

    /// <summary>The address space of a device in which an access is made, as the ledger knows it.</summary>
    /// <param name="device">The device's requester id.</param>
    /// <param name="access">The access. Under the id of nobody, or with a privilege that no device has, it may reach nothing.</param>
    public static StreamId SpaceOf(StreamId device, DeviceAccess access) =>
        access.IsStray ? ScriptDevice.Nobody : access.IsPrivileged ? new(Privileged + SpaceOf(device, access.Pasid).Value) : SpaceOf(device, access.Pasid);

    /// <summary>A core in a process, as the ledger knows it: where no requester id can be.</summary>
    public static StreamId SpaceOf(int core, int process) => new(FirstCore + ((uint)process << 8) + (uint)core);

    /// <summary>Whether an operation works on regions for devices alone, so that it may cost no core anything. Where unbacks wait, those of others may be flushed by it.</summary>
    public bool IsForDevicesAlone(Operation operation) => _deferred.Count == 0 && operation.Uses.All(id => id.Kind switch
    {
        ObjectKind.Process => false,
        ObjectKind.Vcm => !HasProcess(id),
        ObjectKind.Bound => _bounds.TryGetValue(id, out ObjectId vcm) && !HasProcess(vcm),
        ObjectKind.Reservation => Find(id) is { } found && !HasProcess(found.Vcm),
        ObjectKind.Association => _associations.Find(id) is { } joined && !HasProcess(joined.Vcm),
        _ => true,
    });

    private bool HasProcess(ObjectId vcm) => _processes.Contains(OwnerOf(vcm));

    /// <summary>The region whose backings the tables of a region have.</summary>
    private ObjectId OwnerOf(ObjectId vcm) => _owners.TryGetValue(vcm, out ObjectId owner) ? owner : vcm;

    /// <summary>An operation begins.</summary>
    /// <returns>Told what was seen of it when it has returned; null: devices see nothing of it.</returns>
    public Action<Observation>? Begin(Operation operation) => operation switch
    {
        CreateVcm o => seen =>
        {
            if (seen.Outcome != Outcome.None) return;
            _regions[o.Vcm] = o.Range;
            if (o.IsDeferred) _deferred.Add(o.Vcm);
        },
        CloneVcm o => seen => Cloned(o, seen),
        Adopt o => seen =>
        {
            if (seen.Outcome == Outcome.None) _owners[o.Vcm] = OwnerOf(o.Source);
        },
        CreateBound o => seen => _bounds[o.Bound] = o.Vcm,
        Reserve o => seen => Reserved(o.Reservation, o.In, o.Attributes, seen),
        ReserveAt o => seen => Reserved(o.Reservation, o.In, o.Attributes, seen),
        Unreserve o => Give(o.Reservation),
        Release o => Give(o.Reservation),
        SetAttributes o => Protect(o),
        AllocateMemory o => seen => Allocated(o.Memory, seen, 0),
        AllocateContiguous o => seen => Allocated(o.Memory, seen, 0),
        Wrap o => seen =>
        {
            Allocated(o.Memory, seen, 0);
            if (seen.Outcome == Outcome.None) _foreign.AddRange(_memories[o.Memory]);
        },
        FreeMemory o => Free(o.Memory),
        Back o => Mapping(o.Reservation, 0, o.Memory, 0, null),
        BackPart o => Mapping(o.Reservation, o.Offset, o.Memory, o.MemoryOffset, o.ByteCount),
        Unback o => Unmapping(o.Reservation, 0, null),
        UnbackPart o => Unmapping(o.Reservation, o.Offset, o.ByteCount),
        Map o => Anywhere(o.Reservation, o.Vcm, o.Attributes, _memories.GetValueOrDefault(o.Memory, []), null),
        Bind o => Anywhere(o.Reservation, o.Vcm, o.Attributes, [], o.Memory),
        Unmap o => Give(o.Reservation) + Unmapping(o.Reservation, 0, null),
        Unbind o => Give(o.Reservation) + Unmapping(o.Reservation, 0, null) + Free(o.Memory),
        Associate o => Join(o),
        ChangeAssociation o => _associations.Change(o),
        Activate o => _associations.Switch(o.Association, true),
        Deactivate o => _associations.Switch(o.Association, false),
        PassThrough o => Passing(o.Device, o.Pasid, true),
        EndPassThrough o => Passing(o.Device, o.Pasid, false),
        Flush => Flushing(),
        CollectUse o => Collecting(o),
        DispatchFaults => Dispatching(),
        _ => null,
    };

    private static PhysRange[] Segments(IEnumerable<AddressRange> ranges) => [.. ranges.Select(static range => new PhysRange(new(range.First), new(range.Last)))];

    private static Access AccessOf(Attributes attributes) => attributes.SupervisorOnly ? Access.None : (Access)attributes.Permissions & (Access.Read | Access.Write | Access.Execute);

    private Vcm Region(ObjectId vcm) => _subject().Region(vcm);

    private (ObjectId Vcm, IovaRange Range)? Find(ObjectId reservation)
    {
        if (!_reservations.TryGetValue(reservation.Original, out var found)) return null;
        return (reservation.Home ?? found.Vcm, found.Range);
    }

    private void Reserved(ObjectId reservation, ObjectId place, Attributes attributes, Observation seen)
    {
        if (seen.Outcome != Outcome.None) return;
        ObjectId vcm = place.Kind == ObjectKind.Bound ? _bounds[place] : place;
        IovaRange range = RangeOf(seen);
        Take(reservation, vcm, range);
        _ledger.SetAccess(Region(vcm), range, AccessOf(attributes));
    }

    private static IovaRange RangeOf(Observation seen) => new(new(seen.Ranges[0].First), new(seen.Ranges[0].Last));

    /// <summary>A range is certainly taken from the return of the call that took it to the beginning of the one that gives it back.</summary>
    private void Take(ObjectId reservation, ObjectId vcm, IovaRange range)
    {
        bool isInside = !_regions.TryGetValue(vcm, out AddressRange region) || (region.Contains(range.First.Value) && region.Contains(range.Last.Value));
        string[] others = [.. _taken.Where(taken => taken.Vcm == vcm && taken.Range.Overlaps(range)).Select(static taken => $"{taken.Reservation} {taken.Range}")];
        _attempt.Check(
            Invariant.NoOverlap, isInside && others.Length == 0,
            () => $"{range} of {vcm} was given out while [{string.Join(", ", others)}] was taken", () => "a free range of the region");
        _reservations[reservation] = (vcm, range);
        _taken.Add((reservation, vcm, range));
    }

    private Action<Observation> Give(ObjectId reservation)
    {
        if (!_reservations.TryGetValue(reservation, out var given)) return static _ => { };
        _taken.RemoveAll(taken => taken.Reservation == reservation);
        _endings.Begin(reservation);
        return seen =>
        {
            if (_endings.End(reservation, seen.Outcome)) _taken.Add((reservation, given.Vcm, given.Range));
        };
    }

    private Action<Observation>? Protect(SetAttributes protect)
    {
        if (Find(protect.Reservation) is not { } found) return null;
        Vcm vcm = Region(found.Vcm);
        Access access = AccessOf(protect.Attributes);
        _ledger.BeginAccess(vcm, found.Range, access);
        return seen => _ledger.EndAccess(vcm, found.Range, access, seen.Outcome == Outcome.None);
    }

    private void Allocated(ObjectId memory, Observation seen, int first)
    {
        if (seen.Outcome != Outcome.None) return;
        PhysRange[] segments = Segments(seen.Ranges.Skip(first));
        _memories[memory] = segments;
        _data.AddRange(segments);
    }

    private Action<Observation>? Free(ObjectId memory)
    {
        if (!_memories.TryGetValue(memory, out PhysRange[]? segments)) return null;
        // From here on the frames may be anything, a table of somebody's too.
        _data.RemoveAll(segments.Contains);
        _endings.Begin(memory);
        return seen =>
        {
            if (_endings.End(memory, seen.Outcome)) _data.AddRange(segments);
        };
    }

    private static IovaRange? Part(IovaRange range, ulong offset, ulong byteCount) =>
        ((offset | byteCount) & (World.PageBytes - 1)) != 0 || byteCount == 0 || offset >= range.ByteCount || byteCount > range.ByteCount - offset
            ? null
            : IovaRange.FromLength(range.First + offset, byteCount);

    private Action<Observation>? Mapping(ObjectId reservation, ulong offset, ObjectId memory, ulong memoryOffset, ulong? byteCount)
    {
        if (Find(reservation) is not { } found || !_memories.TryGetValue(memory, out PhysRange[]? segments)) return null;
        PhysAddr[] frames = [.. segments.SelectMany(FramesOf)];
        ulong bytes = byteCount ?? found.Range.ByteCount;
        ulong there = (ulong)frames.Length * World.PageBytes;
        // What does not fit is refused.
        if (Part(found.Range, offset, bytes) is not { } range || memoryOffset % World.PageBytes != 0 || memoryOffset > there || there - memoryOffset < bytes) return null;
        if (byteCount is null && there != bytes) return null;
        Vcm vcm = Region(found.Vcm);
        PhysRange[] part = [.. frames.Skip((int)(memoryOffset / World.PageBytes)).Take((int)(bytes / World.PageBytes)).Select(static frame => PhysRange.FromLength(frame, World.PageBytes))];
        _ledger.BeginMapping(vcm, range, Access.None, part);
        return seen => _ledger.EndMapping(vcm, range, Access.None, part, seen.Outcome == Outcome.None);
    }

    private Action<Observation>? Unmapping(ObjectId reservation, ulong offset, ulong? byteCount)
    {
        if (Find(reservation) is not { } found || Part(found.Range, offset, byteCount ?? found.Range.ByteCount) is not { } range) return null;
        Vcm vcm = Region(found.Vcm);
        _ledger.BeginMapping(vcm, range, Access.None, null);
        return seen =>
        {
            bool isDone = seen.Outcome == Outcome.None;
            if (_deferred.Contains(found.Vcm)) _ledger.EndUnmappingLater(vcm, range, Access.None, isDone);
            else _ledger.EndMapping(vcm, range, Access.None, null, isDone);
        };
    }

    private Action<Observation> Anywhere(ObjectId reservation, ObjectId vcm, Attributes attributes, PhysRange[] segments, ObjectId? memory)
    {
        _ledger.BeginAnywhere(Region(vcm), AccessOf(attributes), segments);
        return seen =>
        {
            bool isDone = seen.Outcome == Outcome.None;
            if (isDone && memory is { } made)
            {
                Allocated(made, seen, 1);
                segments = _memories[made];
            }

            _ledger.EndAnywhere(isDone ? RangeOf(seen) : null, segments);
            if (isDone) Take(reservation, vcm, RangeOf(seen));
        };
    }

    private void Cloned(CloneVcm clone, Observation seen)
    {
        if (seen.Outcome != Outcome.None) return;
        Vcm made = Region(clone.Vcm);
        if (_deferred.Contains(clone.Source)) _deferred.Add(clone.Vcm);
        _ledger.NoteClone(Region(clone.Source), made, page =>
        {
            using (Controlled.Quietly()) return FrameBehind(made, page);
        });
    }

    /// <summary>The frame that backs a page, whether or not a table maps it: a region that no device is associated with has no table.</summary>
    private static PhysAddr? FrameBehind(Vcm vcm, Iova page)
    {
        if (!vcm.TryFindReservation(page, out Reservation reservation)) return null;
        ulong offset = page.Value - reservation.Range.First.Value;
        foreach (Vcmm.BackedPart part in reservation.BackedParts)
        {
            if (offset >= part.Offset && offset - part.Offset < part.ByteCount) return part.Memory.AddressAt(part.MemoryOffset + (offset - part.Offset));
        }

        return null;
    }

    /// <summary>What a step told the hardware was lost, and the step has ended.</summary>
    public void NoteUnheard() => _unheardCount++;

    /// <summary>How many such steps have ended.</summary>
    public int UnheardCount => _unheardCount;

    /// <summary>Whether a step of anybody's was unheard that has been under way since then.</summary>
    public bool WasUnheardSince(int count) => _unheardCount != count || _subject().Mishaps.IsAnybodyUnheard;

    private Action<Observation> Dispatching()
    {
        int begun = _unheardCount;
        Ledger.Dispatch dispatch = _ledger.BeginDispatch();
        return seen =>
        {
            _attempt.Check(Invariant.Progress, _ledger.EndDispatch(dispatch, WasUnheardSince(begun)));
            Told(seen);
        };
    }

    /// <summary>A hook is called.</summary>
    /// <param name="fault">What it is told.</param>
    /// <param name="answer">Calls it.</param>
    public FaultAnswer Tell(DeviceFault fault, Func<FaultAnswer> answer)
    {
        if (!fault.IsStalled) return answer();
        StreamId space = SpaceOf(fault.Device, fault.Pasid?.Value);
        var page = new Iova(fault.Address.Value & ~(World.PageBytes - 1));
        string text = $"a hook is told that {space} waits for {fault.Access} at {page}";
        _attempt.Note(EventKind.Call, text: text);
        if (_ledger.AreDispatchesBeside) _attempt.Reach(States.ToldBeside);
        _attempt.Check(Invariant.FaultExact, _ledger.BeginTelling(space, page, fault.Access));
        FaultAnswer given = answer();
        _ledger.EndTelling(space, page, fault.Access, given == FaultAnswer.Retry);
        _attempt.Note(EventKind.Return, text: $"{text} = {given}");
        return given;
    }

    private void Told(Observation seen)
    {
        string? strange = seen.Faults.Where(static fault => fault.Hook != fault.Device).Select(static fault => $"{fault}").FirstOrDefault();
        _attempt.Check(Invariant.FaultExact, strange is null, () => strange!, () => "to the hook of the device that was blocked");
        // Of a device that asks for translations it is not certain which of its requests are blocked, but why.
        string? mistaken = seen.Faults.Where(fault => !fault.Waits && HasTlb(fault) && fault.Cause != FaultCauses.NotAttached).Select(static fault => $"{fault}").FirstOrDefault();
        _attempt.Check(Invariant.FaultExact, mistaken is null, () => mistaken!, () => "what it may not reach in an address space that it has waits");
        foreach (GivenFault fault in seen.Faults.Where(fault => !fault.Waits && HasTlb(fault)))
            _attempt.Check(Invariant.FaultExact, _ledger.NoteGivenOfRequests(SpaceOf(_subject().Machine.Devices[fault.Device.Number].Id, fault.Pasid), new(fault.Page), fault.Cause));
        var wrong = _ledger.NoteGiven(
            seen.Faults.Where(fault => !fault.Waits && !HasTlb(fault)).Select(fault => (SpaceOf(_subject().Machine.Devices[fault.Device.Number].Id, fault.Pasid), new Iova(fault.Page), (Access)fault.Access, fault.Cause)), seen.FaultsLost);
        _attempt.Check(Invariant.FaultExact, wrong is null, () => wrong!.Value.Observed, () => wrong!.Value.Expected);
        if (!seen.Faults.IsEmpty) _attempt.Reach(States.Given);
    }

    private bool HasTlb(GivenFault fault) => _hasTlb(fault.Device.Number);

    private Action<Observation>? Collecting(CollectUse collect)
    {
        if (Find(collect.Reservation) is not { } found || Part(found.Range, collect.Offset, collect.ByteCount) is not { } part) return null;
        Ledger.Collection collection = _ledger.BeginCollection(Region(found.Vcm), part, collect.Use, collect.Clears);
        return seen =>
        {
            collection.MayInvent = _mayInvent || _subject().Mishaps.HasBeenUnheard;
            IovaRange[]? told = seen.Outcome == Outcome.None ? [.. seen.Ranges.Select(static range => new IovaRange(new(range.First), new(range.Last)))] : null;
            var wrong = _ledger.EndCollection(collection, told);
            _attempt.Check(Invariant.TablesAreTruth, wrong is null, () => wrong!.Value.Observed, () => wrong!.Value.Expected);
            if (collection.ToldUse) _attempt.Reach(States.Told);
            if (collection.MetUse) _attempt.Reach(States.ToldMeanwhile);
        };
    }

    /// <summary>What must still be told at the end: collections of the reservations that have it.</summary>
    public IEnumerable<CollectUse> LastCollections() =>
        from use in (Use[])[Use.Written, Use.Accessed]
        from id in _ledger.Untold(use).SelectMany(untold => _reservations.Where(pair => pair.Value.Range.Contains(untold.Page) && Region(pair.Value.Vcm) == untold.Vcm)).Select(static pair => pair.Key).Distinct()
        select new CollectUse(id, 0, _reservations[id].Range.ByteCount, use, Clears: false);

    private Action<Observation> Join(Associate associate)
    {
        if (associate.Device.Kind == ObjectKind.Process) _processes.Add(OwnerOf(associate.Vcm));
        return _ => _associations.Add(associate);
    }

    private Action<Observation> Passing(ObjectId device, uint? pasid, bool passes)
    {
        StreamId space = SpaceOf(_subject().Machine.Devices[device.Number].Id, pasid);
        _ledger.BeginPassage(space, passes);
        return seen => _ledger.EndPassage(space, seen.Outcome == Outcome.None);
    }

    private Action<Observation> Flushing()
    {
        int begun = _ledger.BeginFlush();
        return seen =>
        {
            if (seen.Outcome == Outcome.None) _ledger.EndFlush(begun);
        };
    }

    private static IEnumerable<PhysAddr> FramesOf(PhysRange segment)
    {
        for (ulong offset = 0; offset < segment.ByteCount; offset += World.PageBytes) yield return segment.First + offset;
    }
}

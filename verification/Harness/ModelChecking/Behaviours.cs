using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>
/// Everything that may be tried in a world of a scope: every operation on every object, those that have ended too, with everything that could be seen of
/// it, right or wrong. What of that is lawful is not decided here.
/// </summary>
/// <remarks>
/// What is left out does not depend on what the model says: lengths are one page, two, and the whole region; parts are of one page; attributes are
/// read, and read and write, and once what no table can say; and where the scope has room for so many objects and no more, no further ones are made. Of
/// devices that nobody has done anything with one is tried, and of frames that nobody has the first, or the first two: with the others it would come to the same
/// but for names.
/// </remarks>
public sealed partial class Behaviours
{
    private const ulong Page = Scope.Granule;

    private static readonly Observation Done = new(Outcome.None);

    // One object for each, since there are so many of them.
    private static readonly ImmutableDictionary<Outcome, Observation> Refused =
        Enum.GetValues<Outcome>().ToImmutableDictionary(static outcome => outcome, static outcome => new Observation(outcome));

    private static readonly ImmutableArray<Attributes> Grants = [Permissions.Read, Permissions.ReadWrite];

    private readonly Scope _scope;
    private readonly ImmutableArray<ulong> _allFrames;
    private readonly ImmutableArray<ulong> _addresses;
    private readonly ulong[] _lengths;
    private readonly List<Behaviour> _found = [];
    private readonly List<ulong> _frames = [];
    private readonly List<AddressRange[]> _frameTuples = [];
    private readonly List<ObjectId> _devices = [];
    private World _world = null!;
    private Surroundings _plain;

    public Behaviours(Scope scope)
    {
        _scope = scope;
        _allFrames = scope.FrameAddresses;
        _addresses = [.. Enumerable.Range(0, scope.Granules).Select(static granule => (ulong)granule * Page)];
        ulong whole = (ulong)scope.Granules * Page;
        _lengths = [.. new[] { Page, 2 * Page, whole }.Where(length => length <= whole).Distinct()];
    }

    /// <summary>All of them, in an order that depends on the world alone. The list is valid until the next call.</summary>
    public List<Behaviour> Of(World world)
    {
        _found.Clear();
        _world = world;
        _plain = new(_scope.FreeBytes(world));
        ChooseFrames();
        ChooseDevices();
        Regions();
        Reservations();
        Memory();
        Backing();
        Conveniences();
        Associations();
        Guests();
        Accesses();
        Queries();
        Flushing();
        return _found;
    }

    /// <summary>The frames that somebody has, and one that nobody has; and each one and two of them, and two that nobody has.</summary>
    private void ChooseFrames()
    {
        _frames.Clear();
        _frameTuples.Clear();
        _frames.AddRange(_allFrames.Where(frame => _scope.OneToOne || IsUsed(frame)));
        ulong[] unused = [.. _allFrames.Except(_frames).Take(2)];
        if (unused.Length != 0) _frames.Add(unused[0]);
        foreach (ulong one in _frames) _frameTuples.Add([RangeOf(one, Page)]);
        foreach (ulong one in _frames)
        {
            foreach (ulong other in _frames)
            {
                if (one != other) _frameTuples.Add([RangeOf(one, Page), RangeOf(other, Page)]);
            }
        }

        if (unused.Length == 2) _frameTuples.Add([RangeOf(unused[0], Page), RangeOf(unused[1], Page)]);
    }

    private bool IsUsed(ulong frame)
    {
        foreach ((ObjectId id, MemoryState memory) in _world.Memories)
        {
            if (memory.IsFreed && !_world.IsInQuarantine(id)) continue;
            foreach (AddressRange chunk in memory.Segments)
            {
                if (chunk.First == frame) return true;
            }
        }

        return false;
    }

    /// <summary>The devices that somebody has done something with, and one other.</summary>
    private void ChooseDevices()
    {
        _devices.Clear();
        bool hasIdle = false;
        foreach (ObjectId device in _world.Devices)
        {
            bool isIdle = IsIdle(device);
            if (isIdle && hasIdle) continue;
            hasIdle |= isIdle;
            _devices.Add(device);
        }
    }

    private bool IsIdle(ObjectId device)
    {
        foreach (AssociationState association in _world.Associations.Values)
        {
            if (association.Device == device && !association.IsDropped) return false;
        }

        return !_world.PassesThrough(device, null) && !_world.Hooked.Contains(device) && !_world.Faults.Exists(fault => fault.Device == device) && !_world.Waiting.Exists(waiting => waiting.Access.Device == device);
    }

    private void Add(Operation operation, Observation seen, Surroundings? surroundings = null)
    {
        if (_world.IsDefined(operation)) _found.Add(new(operation, seen, surroundings ?? _plain));
    }

    /// <summary>A call, and what it may be refused with.</summary>
    private void Add(Operation operation, ReadOnlySpan<Outcome> refusals)
    {
        foreach (Outcome refusal in refusals)
        {
            Add(operation, Refused[refusal], refusal switch
            {
                Outcome.NoMemory => _plain with { MemoryFails = true },
                Outcome.HardwareFailure => _plain with { HardwareFails = true },
                _ => _plain,
            });
        }
    }

    private void AddDone(Operation operation, params ReadOnlySpan<Outcome> refusals)
    {
        Add(operation, Done);
        Add(operation, refusals);
    }

    private void AddDone(Operation operation, ImmutableArray<AddressRange> given, params ReadOnlySpan<Outcome> refusals)
    {
        Add(operation, Done with { Ranges = given });
        Add(operation, refusals);
    }

    private static ObjectId Next<T>(ObjectKind kind, ObjectMap<T> all)
        where T : class => new(kind, all.Count);

    private ObjectId NextVcm => Next(ObjectKind.Vcm, _world.Vcms);

    private ObjectId NextReservation => Next(ObjectKind.Reservation, _world.Reservations);

    private ObjectId NextMemory => Next(ObjectKind.Memory, _world.Memories);

    /// <summary>The regions that have not ended.</summary>
    private IEnumerable<ObjectId> LiveVcms => _world.Vcms.Where(static vcm => !vcm.Value.IsFreed).Select(static vcm => vcm.Key);

    /// <summary>Every address of a region, or bound, that a page begins at; of a one-to-one region those of the frames.</summary>
    private ImmutableArray<ulong> AddressesOf(ObjectId space)
    {
        ObjectId vcm = space.Kind == ObjectKind.Bound ? _world.Bounds[space].Vcm : space;
        return _world.Vcms[vcm].Kind == VcmKind.OneToOne ? _allFrames : _addresses;
    }

    private static AddressRange RangeOf(ulong first, ulong byteCount) => new(first, first + byteCount - 1);
}

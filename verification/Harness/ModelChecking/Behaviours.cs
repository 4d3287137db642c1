using System.Collections.Immutable;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>
/// Everything that may be tried in a world of a scope: every operation on every object, those that have ended too, with everything that could be seen of
/// it, right or wrong. What of that is lawful is not decided here.
/// </summary>
/// <remarks>
/// What is left out does not depend on what the model says: lengths are one page, two, and the whole region; parts are of one page; attributes are
/// read, and read and write, and once what no table can say; and where the scope has room for so many objects and no more, no further ones are made.
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
    private readonly ImmutableArray<ulong> _frames;
    private readonly ulong[] _lengths;
    private readonly AddressRange[][] _frameTuples;
    private readonly List<Behaviour> _found = [];
    private World _world = null!;
    private Surroundings _plain;

    public Behaviours(Scope scope)
    {
        _scope = scope;
        _frames = scope.FrameAddresses;
        ulong whole = (ulong)scope.Granules * Page;
        _lengths = [.. new[] { Page, 2 * Page, whole }.Where(length => length <= whole).Distinct()];
        AddressRange[] frames = [.. _frames.Select(static first => new AddressRange(first, first + Page - 1))];
        _frameTuples = [.. frames.Select(static frame => new[] { frame }), .. frames.SelectMany(one => frames.Where(other => other != one).Select(other => new[] { one, other }))];
    }

    /// <summary>All of them, in an order that depends on the world alone. The list is valid until the next call.</summary>
    public List<Behaviour> Of(World world)
    {
        _found.Clear();
        _world = world;
        _plain = new(_scope.FreeBytes(world));
        Regions();
        Reservations();
        Memory();
        Backing();
        Conveniences();
        Associations();
        Accesses();
        Queries();
        Flushing();
        return _found;
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

    /// <summary>Every address of a region that a page begins at.</summary>
    private IEnumerable<ulong> Addresses => Enumerable.Range(0, _scope.Granules).Select(static granule => (ulong)granule * Page);

    private static AddressRange RangeOf(ulong first, ulong byteCount) => new(first, first + byteCount - 1);
}

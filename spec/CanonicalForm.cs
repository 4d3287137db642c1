using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>
/// Worlds without names: two that differ in names alone have the same form, which is bytes, and short. For searches that must know whether they
/// have seen a world before: records over immutable collections do not compare by content.
/// </summary>
/// <remarks>
/// <para><b>What is a name.</b> The numbers of regions, bounds, reservations, memory and associations; which of several devices that are alike; which
/// of several frames that are alike; the time, but for how long something has waited. What the model keeps only to give a violation its
/// name (<see cref="World.Former"/>) is left out, and so are objects that have ended and that nothing waits for.</para>
/// <para>An instance keeps a buffer: one thread at a time.</para>
/// </remarks>
public sealed partial class CanonicalForm
{
    private const int MostRegions = 16, MostAlike = 4, MostPassing = 64;

    private readonly World _blank;
    private readonly bool _keepsNames;
    private readonly ImmutableArray<ulong> _frames;
    private readonly ObjectId[] _users;
    private readonly int[] _classes;
    private readonly ObjectId[] _regions = new ObjectId[16];
    private readonly List<KeyValuePair<ObjectId, BoundState>>[] _bounds;
    private readonly List<KeyValuePair<ObjectId, ReservationState>>[] _reservations;
    private readonly List<ObjectId> _memories = [];
    private readonly List<ObjectId> _orderedReservations = [];
    private readonly List<ulong> _orderedFrames = [];
    private readonly int[] _order = new int[MostRegions];
    private readonly ObjectId[] _usersByClass;
    private readonly int[] _userOrder;
    private byte[] _best = new byte[256];
    private byte[] _other = new byte[256];
    private byte[] _signatures = new byte[256];
    private readonly int[] _signatureEnds;
    private int _regionCount;

    /// <summary>The forms of worlds with the hardware and the setup of another.</summary>
    /// <param name="blank">A world in which whatever there is has ended. <see cref="ToWorld"/> puts what a form tells of beside it.</param>
    /// <param name="likeFrames">The first addresses of frames that are alike: of a page each, no two of which touch. Empty: addresses of memory are no names.</param>
    /// <exception cref="ArgumentException">Something in the blank world has not ended.</exception>
    public CanonicalForm(World blank, ImmutableArray<ulong> likeFrames)
    {
        bool isBlank = blank.Vcms.Values.All(static vcm => vcm.IsFreed) && blank.Bounds.Values.All(static bound => bound.IsFreed)
            && blank.Reservations.Values.All(static reservation => reservation.IsEnded) && blank.Memories.Values.All(static memory => memory.IsFreed)
            && blank.Associations.Values.All(static association => association.IsDropped) && blank.Passing.IsEmpty && blank.Quarantine.IsEmpty && blank.Waiting.IsEmpty && blank.Faults.IsEmpty;
        if (!isBlank) throw new ArgumentException("something in the world has not ended", nameof(blank));
        _blank = blank;
        _frames = likeFrames;
        _users = [.. blank.Devices, .. blank.Processes, World.Nobody];
        _classes = [.. _users.Select(user => Array.FindIndex(_users, other => AreAlike(user, other)))];
        _usersByClass = [.. _users.Index().OrderBy(user => _classes[user.Index]).ThenBy(static user => user.Index).Select(static user => user.Item)];
        _userOrder = new int[_users.Length];
        _signatureEnds = new int[_users.Length + 1];
        _bounds = [.. Enumerable.Range(0, MostRegions).Select(static _ => new List<KeyValuePair<ObjectId, BoundState>>())];
        _reservations = [.. Enumerable.Range(0, MostRegions).Select(static _ => new List<KeyValuePair<ObjectId, ReservationState>>())];
    }

    private CanonicalForm(World blank)
        : this(blank, []) => _keepsNames = true;

    /// <summary>
    /// Forms that keep the names: for worlds that differ only in the order in which the same was done. They say nothing of what has ended, since it has in all of
    /// them, and cannot be read back.
    /// </summary>
    /// <param name="blank">A world with the same hardware and setup, in which whatever there is has ended.</param>
    public static CanonicalForm WithNames(World blank) => new(blank);

    /// <summary>The form of a world.</summary>
    /// <returns>Bytes that are valid until the next call.</returns>
    /// <exception cref="NotSupportedException">It has guests, or more than four regions; with names, more than sixteen.</exception>
    public ReadOnlySpan<byte> Of(World world)
    {
        // No search makes any.
        if (world.Guests.Count != 0) throw new NotSupportedException("there are guests");
        Gather(world);
        for (int i = 0; i < _regionCount; i++) _order[i] = i;
        int length = Write(world, ref _best);
        while (!_keepsNames && NextOrder())
        {
            int otherLength = Write(world, ref _other);
            if (_other.AsSpan(0, otherLength).SequenceCompareTo(_best.AsSpan(0, length)) >= 0) continue;
            (_best, _other, length) = (_other, _best, otherLength);
        }

        return _best.AsSpan(0, length);
    }

    private bool AreAlike(ObjectId user, ObjectId other) =>
        user.Kind == other.Kind && (user == World.Nobody) == (other == World.Nobody) && _blank.ModelOf(user) == _blank.ModelOf(other);

    /// <summary>Collects what has not ended, or waits for a flush, by region.</summary>
    private void Gather(World world)
    {
        _regionCount = 0;
        foreach ((ObjectId id, VcmState vcm) in world.Vcms)
        {
            if (vcm.IsFreed && !IsAwaited(world, id) && !IsUsed(world, id)) continue;
            int most = _keepsNames ? MostRegions : MostAlike;
            if (_regionCount == most) throw new NotSupportedException($"there are more than {most} regions");
            _bounds[_regionCount].Clear();
            _reservations[_regionCount].Clear();
            _regions[_regionCount++] = id;
        }

        foreach (KeyValuePair<ObjectId, BoundState> bound in world.Bounds)
        {
            if (!bound.Value.IsFreed || IsAwaited(world, bound.Key)) _bounds[IndexOf(bound.Value.Vcm)].Add(bound);
        }

        foreach (KeyValuePair<ObjectId, ReservationState> reservation in world.Reservations)
        {
            if (!reservation.Value.IsEnded || IsAwaited(world, reservation.Key)) _reservations[IndexOf(reservation.Value.Vcm)].Add(reservation);
        }

        for (int i = 0; i < _regionCount; i++)
        {
            _bounds[i].Sort(static (one, other) => (one.Value.Range.First, one.Value.IsFreed).CompareTo((other.Value.Range.First, other.Value.IsFreed)));
            _reservations[i].Sort(static (one, other) => (one.Value.Range.First, one.Value.IsEnded).CompareTo((other.Value.Range.First, other.Value.IsEnded)));
        }
    }

    private static bool IsAwaited(World world, ObjectId id)
    {
        foreach (Quarantined waiting in world.Quarantine)
        {
            bool isIt = id.Kind switch
            {
                ObjectKind.Reservation => waiting.Reservation == id,
                ObjectKind.Bound => world.Reservations[waiting.Reservation].Bound == id,
                ObjectKind.Vcm => world.Reservations[waiting.Reservation].Vcm == id,
                ObjectKind.Memory => waiting.Memories.Contains(id),
                _ => false,
            };
            if (isIt) return true;
        }

        return false;
    }

    /// <summary>Whether something in a region has not ended. In a world that keeps its invariants that is so of none that has itself.</summary>
    private static bool IsUsed(World world, ObjectId region) =>
        world.BoundsOf(region).Any() || world.ReservationsOf(region).Any();

    private int IndexOf(ObjectId region) => Array.IndexOf(_regions, region, 0, _regionCount);

    /// <summary>Where a region stands in the order that is being written; the regions themselves are in that of <see cref="_regions"/>.</summary>
    private int RankOf(ObjectId region) => Array.IndexOf(_order, IndexOf(region), 0, _regionCount);

    /// <summary>The next permutation of the regions, in ascending order of such.</summary>
    private bool NextOrder()
    {
        Span<int> order = _order.AsSpan(0, _regionCount);
        int pivot = order.Length - 2;
        while (pivot >= 0 && order[pivot] > order[pivot + 1]) pivot--;
        if (pivot < 0) return false;
        int successor = order.Length - 1;
        while (order[successor] < order[pivot]) successor--;
        (order[pivot], order[successor]) = (order[successor], order[pivot]);
        order[(pivot + 1)..].Reverse();
        return true;
    }
}

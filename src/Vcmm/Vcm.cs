using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>A virtual region that any number of devices can be associated with.</summary>
/// <remarks>
/// <para>All associations whose IOMMUs walk the same format share one table. A table exists as long as an association of its
/// format does; what is backed without any association is written when one is made.</para>
/// <para><b>Threads.</b> Any number at once. Operations on different reservations run in parallel; look-ups take no lock.</para>
/// </remarks>
public sealed partial class Vcm
{
    /// <summary>Outermost: associations, tables, active domains.</summary>
    [LockRank(LockRank.Associations)]
    private readonly object _associationGate = new();

    private readonly IRangeAllocator _ranges;
    private readonly ReservationIndex _reservations;
    private readonly List<Bound> _bounds = [];
    private bool _freed;

    /// <summary>Whether it is a clone that holds only a part yet.</summary>
    private bool _isBeingMade;

    internal Vcm(VcmManager manager, IovaRange range, VcmOptions options)
    {
        Manager = manager;
        Range = range;
        Options = options;
        Kind = options.Kind;
        _ranges = manager.Options.RangeAllocator(range);
        _reservations = new(range);
        _stripes = MakeStripes(manager.Options.StripeCount);
    }

    internal Vcm(VcmManager manager, IovaRange range, TableFormat format, PhysAddr root)
        : this(manager, range, VcmOptions.Default)
    {
        Kind = VcmKind.Prebuilt;
        _prebuilt = new(format, root);
    }

    /// <summary>The device addresses of the region.</summary>
    public IovaRange Range { get; }

    /// <summary>What the region is.</summary>
    public VcmKind Kind { get; }

    /// <summary>The reservations at this moment, in the order of their addresses.</summary>
    public IReadOnlyList<Reservation> Reservations
    {
        get
        {
            List<Reservation> all = [];
            Exclusively(() =>
            {
                foreach (ReservationState state in _reservations.All) all.Add(state.Handle);
                return VcmmError.None;
            });
            return all;
        }
    }

    /// <summary>The bounds at this moment, in the order of their addresses.</summary>
    public IReadOnlyList<Bound> Bounds
    {
        get
        {
            List<Bound> all = [];
            Exclusively(() =>
            {
                all.AddRange(_bounds);
                return VcmmError.None;
            });
            all.Sort(static (a, b) => a.Range.First.CompareTo(b.Range.First));
            return all;
        }
    }

    internal VcmManager Manager { get; }

    internal VcmOptions Options { get; }

    /// <summary>The reservation that <paramref name="address"/> lies in. Takes no lock.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryFindReservation(Iova address, out Reservation reservation)
    {
        ReservationState? state = _reservations.Find(address, out uint generation);
        reservation = state is null ? default : new(state, generation);
        return state is not null;
    }

    /// <summary>Whether look-ups find this reservation at an address of its own. Takes no lock.</summary>
    internal bool Knows(ReservationState state, uint generation, Iova address) =>
        !Volatile.Read(ref _isBeingMade) && _reservations.Find(address, out uint found) == state && found == generation;

    /// <summary>What a device address means, read from a table of the region. Takes no lock.</summary>
    /// <returns><see cref="VcmmError.Fault"/> if it is not mapped; without any association nothing is.</returns>
    public VcmmError TryTranslate(Iova address, out Translation translation)
    {
        IPageTable[] tables = Volatile.Read(ref _tables);
        if (tables.Length != 0 && tables[0].TryWalk(address, out translation)) return VcmmError.None;
        translation = default;
        return VcmmError.Fault;
    }

    /// <summary>The address at which another region maps the memory that an address of this one means. Takes no lock.</summary>
    /// <param name="address">An address of this region.</param>
    /// <param name="other">A region of the same manager, or this one.</param>
    /// <param name="translated">
    /// The lowest such address. Where other threads change backings meanwhile, what was right at some moment of the call.
    /// </param>
    /// <returns>
    /// <see cref="VcmmError.Fault"/> if the address is not backed; <see cref="VcmmError.NotFound"/> if the other region does not
    /// map the memory; <see cref="VcmmError.Invalid"/> if it is another manager's.
    /// </returns>
    /// <remarks>It asks what the address is backed with, and no table: it needs no association.</remarks>
    public VcmmError TryTranslate(Iova address, Vcm other, out Iova translated)
    {
        ArgumentNullException.ThrowIfNull(other);
        translated = default;
        if (other.Manager != Manager) return VcmmError.Invalid;
        // What is behind the address, then where that is. The answer counts if the first is so still; unless somebody else builds the table it was so all the while.
        while (TryFindTarget(address, out Target target))
        {
            VcmmError error = other.TryFindLowest(target.Address, out translated);
            if (TryFindTarget(address, out Target now) && now == target) return error;
        }

        translated = default;
        return VcmmError.Fault;
    }

    /// <summary>The table that IOMMUs of <paramref name="format"/> walk for this region.</summary>
    /// <returns>False if no association has that format.</returns>
    public bool TryGetTable(TableFormat format, out IPageTable? table)
    {
        table = Array.Find(Volatile.Read(ref _tables), candidate => candidate.Format == format);
        return table is not null;
    }

    /// <summary>Ends the region.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while it has reservations, bounds or associations, <see cref="VcmmError.Invalid"/> once freed.
    /// </returns>
    public VcmmError TryFree()
    {
        lock (_associationGate)
        {
            return Exclusively(() =>
            {
                if (_freed) return VcmmError.Invalid;
                if (!_reservations.IsEmpty || _bounds.Count != 0 || _associations.Count != 0) return VcmmError.Busy;
                _freed = true;
                return VcmmError.None;
            });
        }
    }

    /// <summary>Ends the region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary>Where in physical memory an address leads at an instant of the call.</summary>
    private bool TryFindTarget(Iova address, out Target target)
    {
        if (Kind == VcmKind.Prebuilt)
        {
            bool isMapped = TryTranslate(address, out Translation translation) == VcmmError.None;
            target = new(translation.Address, null, 0, 0);
            return isMapped;
        }

        while (_reservations.Find(address, out uint generation) is { } state)
        {
            bool isBacked = state.Backings.TryFind(unchecked(address.Value - state.Range.First.Value), out PhysAddr found, out uint sequence);
            target = new(found, state, generation, sequence);
            // A state is used again: what was found counts if it is still that reservation's.
            if (Volatile.Read(ref state.Generation) == generation) return isBacked;
        }

        target = default;
        return false;
    }

    /// <summary>The lowest address at which the region maps physical memory.</summary>
    private VcmmError TryFindLowest(PhysAddr target, out Iova lowest)
    {
        var mappings = new List<Mapping>();
        Manager.TryFindMappings(target, mappings);
        mappings.RemoveAll(mapping => !mapping.Reservation.IsOf(this));
        lowest = mappings.Count == 0 ? default : mappings.Min(static mapping => mapping.Address);
        return mappings.Count == 0 ? VcmmError.NotFound : VcmmError.None;
    }

    /// <summary>The region's range.</summary>
    public override string ToString() => $"vcm {Range}";

    /// <summary>What an address leads to. Two that are the same, with a reservation, say that nothing has changed in between.</summary>
    /// <param name="Address">The physical address.</param>
    /// <param name="State">The reservation; null: a table that somebody else builds says so.</param>
    /// <param name="Generation">Which reservation.</param>
    /// <param name="Sequence">Of its backings.</param>
    private readonly record struct Target(PhysAddr Address, ReservationState? State, uint Generation, uint Sequence);
}
